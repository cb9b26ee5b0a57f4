"""Blocks on their way to a device: order, content, and errors of the thread that reads them."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from w2s_data.errors import StoreError
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.overlap.transfer import device_blocks

CPU = torch.device("cpu")


@pytest.mark.parametrize("writeable", [True, False])
def test_blocks_arrive_in_order_and_whole(rng, writeable):
    array = rng.normal(size=(23, 3)).astype(np.float32)
    array.setflags(write=writeable)
    found = list(device_blocks(ArrayFeatures(array), CPU, max_bytes=4 * 3 * 5))
    assert [rows.start for rows, _, _ in found] == [0, 5, 10, 15, 20]
    assert all(np.array_equal(block, moved.numpy()) for _, block, moved in found)
    assert np.array_equal(np.concatenate([moved.numpy() for _, _, moved in found]), array)


class Damaged(ArrayFeatures):
    """Features whose third block cannot be read."""

    def blocks(self, max_bytes=0):
        for number, found in enumerate(super().blocks(max_bytes)):
            if number == 2:
                raise StoreError("shard 2 is damaged")
            yield found


def test_an_error_while_reading_comes_after_the_blocks_before_it():
    blocks = device_blocks(Damaged(np.zeros((20, 2), np.float32)), CPU, 4 * 2 * 5)
    assert [next(blocks)[0].start for _ in range(2)] == [0, 5]
    with pytest.raises(StoreError, match="shard 2 is damaged"):
        next(blocks)


def test_the_reader_ends_with_its_consumer():
    blocks = device_blocks(ArrayFeatures(np.zeros((20, 2), np.float32)), CPU, 4 * 2 * 5)
    next(blocks)
    blocks.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("read-ahead")]
