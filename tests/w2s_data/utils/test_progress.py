"""Bars: one of their own, one in a display that several share, or none."""

from __future__ import annotations

from w2s_data.utils.progress import progress, shared_bars


def test_bars_appear_in_a_shared_display_while_they_run():
    with shared_bars() as display:
        with progress("score", total=10, enabled=True) as advance:
            advance(4)
            [task] = display.tasks
            assert (task.description, task.completed, task.total) == ("score", 4, 10)
        assert not display.tasks
        with progress("score", total=10, enabled=False) as advance:
            advance(4)
            assert not display.tasks


def test_a_bar_of_its_own(capsys):
    with progress("score", total=10, enabled=True) as advance:
        advance(10)
    out, err = capsys.readouterr()
    assert not out
    assert "score" in err
    assert "10/10" in err
