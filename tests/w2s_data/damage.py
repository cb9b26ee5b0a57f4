"""Ways in which a file can be damaged, for the tests of its reader."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

# More where somebody looks for what a few examples miss.
EXAMPLES = int(os.environ.get("W2S_DAMAGE_EXAMPLES", "25"))
thorough = settings(max_examples=EXAMPLES)
DEEP = 5000  # beyond the recursion limit of Python and of the parsers in C

_WRONG = st.one_of(
    st.sampled_from(
        [None, True, -1, 0, 2**70, 1.5, "", "x", "\x1b[31m", "../../etc", [], {}, [[]]]
    ),
    st.text(max_size=5),
    st.lists(st.integers(-2, 3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(-2, 3), max_size=2),
)


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Cut a file, change bits or blocks of it, or replace it."""
    kind = draw(st.sampled_from(["cut", "bits", "block", "other", "longer"]))
    at = draw(st.integers(0, max(0, len(content) - 1)))
    if kind == "cut":
        return content[:at]
    if kind == "bits":
        changed = bytearray(content)
        for place in draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
            changed[place] ^= 1 << draw(st.integers(0, 7))
        return bytes(changed)
    if kind == "block":
        block = draw(st.binary(min_size=1, max_size=64))
        return content[:at] + block + content[at + len(block) :]
    if kind == "longer":
        return content + draw(st.binary(min_size=1, max_size=64))
    return draw(st.binary(max_size=200))


@st.composite
def damaged_json(draw: st.DrawFn, content: bytes) -> bytes:
    """Drop a value of a JSON file, give it another type, or nest it deeply."""
    value = json.loads(content)
    place = draw(st.sampled_from(list(_places(value))))
    kind = draw(st.sampled_from(["drop", "type", "type", "type", "deep"]))
    if kind == "deep":
        marker = "\x00deep"
        text = json.dumps(_changed(value, place, marker))
        return text.replace(json.dumps(marker), "[" * DEEP + "]" * DEEP).encode()
    if kind == "drop" and place:
        return json.dumps(_dropped(value, place)).encode()
    return json.dumps(_changed(value, place, draw(_WRONG))).encode()


def _places(value: Any, place: tuple[Any, ...] = ()) -> Any:
    yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*place, key))


def _changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copied = value.copy()
    copied[place[0]] = _changed(value[place[0]], place[1:], new)
    return copied


def _dropped(value: Any, place: tuple[Any, ...]) -> Any:
    copied = value.copy()
    if len(place) == 1:
        del copied[place[0]]
    else:
        copied[place[0]] = _dropped(value[place[0]], place[1:])
    return copied
