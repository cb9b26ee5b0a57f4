"""Regular expressions of users."""

import re
import signal
import threading

import pytest

from w2s_data.errors import InputError
from w2s_data.teachers import patterns


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("good", ["good"]),
        ("a very\n good one", ["very\n good"]),
        ("goods and ungood", []),
        ("1", ["1"]),
        ("1.", ["1"]),
        ("1.5, 2.1, -1, 11", []),
        ("(c++)", ["c++"]),
    ],
)
def test_names_are_found_as_whole_words(text, found):
    words = patterns.whole_words(["good", "very good", "1", "c++"])
    assert re.findall(words, text) == found


def test_names_of_scripts_without_spaces_are_found_inside_text():
    assert re.findall(patterns.whole_words(["正面", "負面"]), "これは正面です") == ["正面"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_search_that_never_ends_is_refused(monkeypatch):
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    endless = patterns.compiled("(a+)+$", "map")
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(InputError, match=r"column 'reply': the pattern '\(a\+\)\+\$' takes over"):
        patterns.found_in(endless, ["aa", "a" * 60 + "b"], "column 'reply'")
    assert signal.getsignal(signal.SIGVTALRM) == before
    assert not any(signal.getitimer(signal.ITIMER_VIRTUAL))


def test_texts_are_searched_in_other_threads_too():
    found = []
    pattern = re.compile("b")
    thread = threading.Thread(target=lambda: found.append(patterns.found_in(pattern, "ab", "")))
    thread.start()
    thread.join()
    assert found[0].tolist() == [False, True]
