"""Six small runs say the same as when they were recorded; see `record.py`."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TOLERANCE = 1e-6
SHOWN = 15
MISSING = "(nothing)"


def _module() -> Any:
    """`record.py`, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("golden_record", HERE / "record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


record = _module()


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each scalar of nested JSON with its path; of a list also its length."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path} / {key}" if path else key)
    elif isinstance(value, list):
        yield f"{path} / length", len(value)
        for i, inner in enumerate(value):
            yield from leaves(inner, f"{path} / {i}")
    else:
        yield path, value


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(path: str, old: Any, new: Any, exact: bool) -> bool:
    """Whether a value is as recorded; without `exact`, as far as another machine can tell."""
    if is_number(old) and is_number(new):
        close = math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return close or not exact
    if not exact and path.endswith(" / sha"):
        return True
    if not exact and isinstance(old, str) and isinstance(new, str):
        return bool(re.sub(r"\d+", "#", old) == re.sub(r"\d+", "#", new))
    return type(old) is type(new) and bool(old == new)


def differences(old: Any, new: Any, exact: bool) -> list[str]:
    """The paths whose values differ, with both values."""
    before, after = dict(leaves(old)), dict(leaves(new))
    found = []
    for path in dict.fromkeys([*before, *after]):
        pair = before.get(path, MISSING), after.get(path, MISSING)
        if not same(path, *pair, exact):
            found.append(f"{path}: was {pair[0]!r}, is {pair[1]!r}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", list(record.RUNS))
def test_a_run_says_what_it_said(name: str, tmp_path: Path) -> None:
    old = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    new = json.loads(record.laid_out(record.take(name, tmp_path)))
    found = differences(old["said"], new["said"], old["fingerprint"] == new["fingerprint"])
    shown = "\n".join(found[:SHOWN])
    assert not found, f"{len(found)} differences, of which the first:\n{shown}"


def test_differences_name_what_changed() -> None:
    old = {"a": 1.0, "b": ["x 1.25", 2], "c": {"sha": "0f"}, "d": None}
    close = {"a": 1.0 + 1e-9, "b": ["x 1.25", 2], "c": {"sha": "0f"}, "d": None}
    assert differences(old, close, exact=True) == []
    other = {"a": 1.1, "b": ["x 1.75", 2], "c": {"sha": "1e"}, "d": None}
    assert len(differences(old, other, exact=True)) == 3
    assert differences(old, other, exact=False) == []
    assert differences(old, {**old, "d": 0}, exact=False) == ["d: was None, is 0"]
    assert differences({"a": 1}, {}, exact=False) == ["a: was 1, is '(nothing)'"]
