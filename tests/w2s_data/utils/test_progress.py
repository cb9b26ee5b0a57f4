"""Bars: one of their own, one in a display that several share, or none."""

from __future__ import annotations

import logging
from types import SimpleNamespace

from w2s_data.utils import progress as module
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


def test_a_bar_inside_another_shares_its_display(capsys):
    with progress("gain", total=2, enabled=True) as outer:
        with progress("naive", total=10, enabled=True) as inner:
            inner(10, "loss 0.31")
        outer(2)
    err = capsys.readouterr().err
    assert "gain" in err
    assert "2/2" in err


def test_a_line_a_minute_without_a_terminal(caplog, monkeypatch):
    clock = iter([0.0, 10.0, 30.0, 70.0, 100.0, 130.0])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with (
        caplog.at_level(logging.INFO, logger="w2s_data"),
        progress("naive", total=1000, unit="steps") as advance,
    ):
        advance(400)  # of an earlier run
        for _ in range(4):
            advance(100, "loss 0.31")
    assert [record.getMessage() for record in caplog.records] == [
        "naive: 600 of 1,000 steps, loss 0.31, 2 min left",
        "naive: 800 of 1,000 steps, loss 0.31, 60 s left",
    ]
