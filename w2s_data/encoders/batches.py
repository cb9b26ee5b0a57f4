"""Batches of items, handed to the devices one by one, each as large as memory allows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from w2s_data.compute.base import Advance
from w2s_data.compute.device import is_lost, is_out_of_memory, release_memory
from w2s_data.encoders.backbone import StateModel
from w2s_data.encoders.base import ItemError, describe
from w2s_data.errors import EncoderError, first_line
from w2s_data.utils.threads import one_torch_thread
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

logger = logging.getLogger("w2s_data")

# Raised by the code of a model that does not fit its weights or its items.
UNFIT = (IndexError, KeyError, TypeError, ValueError, AttributeError, NotImplementedError)


class Reading(NamedTuple):
    """Costs of some items, and the function that computes a batch of them."""

    costs: IntArray  # of each item (N,), in the unit of the budget
    compute: Callable[[StateModel, IntArray], FloatArray]  # model, rows (n,) -> vectors (n, D)
    cut: BoolArray | None = None  # items (N,) of which the model reads the beginning only
    limit: int | None = None  # of what is read of those, in the unit of the budget
    flat: BoolArray | None = None  # items (N,) without content, known once they are computed


class Budgeted(Protocol):
    """An encoder whose batches have a size that memory may limit."""

    budget_: int
    unit: ClassVar[str]

    def unfit(self, error: Exception) -> EncoderError:
        """Turn an error in a model's own code into one line."""


def rows_of_part(costs: IntArray, budget: int, part: int, n_parts: int) -> IntArray:
    """Return the rows of consecutive batches, at about equal cost per part."""
    costs = np.maximum(1, costs)
    order = np.argsort(-costs, kind="stable")
    # The batches of `Batches` follow from where they start: a part that starts where a batch does
    # is cut into the same batches, and gives the same bytes.
    starts = [0]
    while starts[-1] < len(order):
        starts.append(starts[-1] + max(1, budget // int(costs[order[starts[-1]]])))
    starts[-1] = len(order)
    paid = np.concatenate([[0], np.cumsum(costs[order])])[starts]
    limits = np.searchsorted(paid, paid[-1] * np.arange(n_parts + 1) / n_parts)
    return order[starts[limits[part]] : starts[limits[part + 1]]]


@contextmanager
def lanes(replicas: Sequence[StateModel]) -> Iterator[list[StateModel]]:
    """Yield one model per device, or per core of a CPU."""
    if replicas[0].device.type != "cpu":
        yield list(replicas)
        return
    with one_torch_thread() as cores:
        yield list(replicas) * (cores if len(replicas) == 1 else 1)


@dataclass
class Batches:
    """Rows of one call, handed to the devices batch by batch."""

    encoder: Budgeted
    items: list[Any]
    reading: Reading
    rows: IntArray
    advance: Advance
    vectors: FloatArray | None = None

    def __post_init__(self) -> None:
        self.costs = self.reading.costs[self.rows]
        # Places among the rows, costliest first: memory then runs out at once or not at all.
        self._order = np.argsort(-self.costs, kind="stable")
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Hand out no further batches."""
        self._stopped = True

    def run(self, backbone: StateModel) -> None:
        """Compute batches on one device until none is left, or one failed anywhere."""
        import torch

        on_cuda = backbone.device.type == "cuda"
        try:
            with (
                torch.inference_mode(),
                torch.cuda.device(backbone.device) if on_cuda else nullcontext(),
            ):
                while (batch := self._next()) is not None:
                    self._compute(backbone, batch)
        except BaseException:
            self.stop()
            raise

    def _next(self) -> IntArray | None:
        with self._lock:
            if self._stopped or not len(self._order):
                return None
            size = max(1, self.encoder.budget_ // self._cost(self._order))
            batch, self._order = self._order[:size], self._order[size:]
            return batch

    def _cost(self, places: IntArray) -> int:
        return max(1, int(self.costs[places[0]]))

    def _compute(self, backbone: StateModel, batch: IntArray) -> None:
        try:
            computed = self.reading.compute(backbone, self.rows[batch])
        except RuntimeError as error:
            failure = first_line(error)
            if not is_out_of_memory(error):
                if not is_lost(error):
                    raise
                raise EncoderError(
                    f"{backbone.device} failed ({failure}); finished features are kept, and "
                    "the same command resumes after them"
                ) from error
        except UNFIT as error:
            raise self.encoder.unfit(error) from error
        else:
            with self._lock:
                if self.vectors is None:
                    shape = (len(self.costs), computed.shape[1])
                    self.vectors = np.empty(shape, dtype=np.float32)
                self.vectors[batch] = computed
                self.advance(len(batch))
            return
        # Outside of the handler, since its traceback holds the tensors of the batch.
        release_memory(backbone.device)
        if len(batch) == 1:
            row = int(self.rows[batch[0]])
            raise ItemError([row], [describe(self.items[row])], f"does not fit alone: {failure}")
        self._return(batch)

    def _return(self, batch: IntArray) -> None:
        """Return a batch that was too large to the front of the queue."""
        encoder = self.encoder
        with self._lock:
            half = len(batch) * self._cost(batch) // 2
            if half < encoder.budget_:  # another device may have halved it already
                encoder.budget_ = half
                logger.warning("out of memory: halving the batch to %d %s", half, encoder.unit)
            self._order = np.concatenate([batch, self._order])
