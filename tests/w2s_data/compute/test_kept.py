"""Blocks that an ended stage has finished are taken up, whatever was computed before."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from w2s_data.compute.base import LocalEngine
from w2s_data.compute.kept import KeepingEngine

BLOCKS = [np.arange(size, dtype=np.float32) for size in (4, 3, 5, 1)]


class Work:
    """Doubles blocks, remembers them, and fails at one of them."""

    def __init__(self, failing: int = -1) -> None:
        self.failing = failing
        self.sizes: list[int] = []

    def __call__(self, state: Any, block: Any, advance: Any) -> Any:  # noqa: ARG002
        if len(block) == self.failing:
            raise KeyboardInterrupt
        self.sizes.append(len(block))
        advance(len(block))
        return 2 * block, block.astype(np.int64)


def mapped(folder: Path, work: Any, blocks: Iterable[Any] = BLOCKS) -> tuple[list[Any], int]:
    """Results, and the units of progress."""
    units: list[int] = []
    found = list(KeepingEngine(LocalEngine(), folder).map_blocks(work, None, blocks, units.append))
    return found, sum(units)


def check(found: list[Any]) -> None:
    assert [number for number, _ in found] == [0, 1, 2, 3]
    for (_, (doubled, same)), block in zip(found, BLOCKS, strict=True):
        np.testing.assert_array_equal(doubled, 2 * block)
        assert doubled.dtype == np.float32
        assert same.dtype == np.int64


def test_an_ended_call_goes_on_after_its_last_block(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        mapped(tmp_path / "blocks", Work(failing=5))
    work = Work()
    found, units = mapped(tmp_path / "blocks", work)
    check(found)
    assert (work.sizes, units) == ([5, 1], 13)
    again, units = mapped(tmp_path / "blocks", rest := Work())
    check(again)
    assert (rest.sizes, units) == ([], 13)


@pytest.mark.parametrize("lost", [[0], [1, 2], [3], [0, 2], [0, 1, 2, 3]])
def test_blocks_that_are_lost_or_damaged_are_computed_again(tmp_path, lost):
    mapped(tmp_path, Work())
    for number in lost:
        file = tmp_path / f"0-{number:06d}.npz"
        if number % 2:
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:100])
    found, units = mapped(tmp_path, work := Work())
    check(found)
    assert (work.sizes, units) == ([len(BLOCKS[number]) for number in lost], 13)


def test_every_call_has_blocks_of_its_own(tmp_path):
    for _ in range(2):
        engine = KeepingEngine(LocalEngine(), tmp_path)
        first = list(engine.map_blocks(Work(), None, BLOCKS))
        second = list(engine.map_blocks(Work(), None, BLOCKS[::-1]))
        check(first)
        assert [len(same) for _, (_, same) in second] == [1, 5, 3, 4]


def test_a_call_without_blocks_has_no_results(tmp_path):
    assert mapped(tmp_path / "blocks", Work(), []) == ([], 0)
    assert not (tmp_path / "blocks").exists()
