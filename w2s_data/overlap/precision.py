"""Products of points with anchors in one of several precisions, and the choice among them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Literal, get_args

from w2s_data.compute.base import Engine
from w2s_data.compute.device import fast_dtype, resolve_device
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")

Precision = Literal["auto", "float32", "tf32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FASTEST_FIRST = ("int8", "bfloat16", "tf32", "float32")
# Multiplications up to which "auto" stays exact: a fifth of a second of one core in float32.
FEW_PRODUCTS = 10_000_000_000
LARGEST_INT8 = 127  # symmetric: -128 would have no positive counterpart


def choose_precision(
    wanted: str, device: str | torch.device, n_products: int = 0, engine: Engine | None = None
) -> str:
    """Return the precision in which a device multiplies; one that it lacks is said in the log.

    "auto" stays in float32 for few multiplications, whatever the device.
    """
    import torch

    place: torch.device
    if engine is None or engine.name == "local":
        place = resolve_device(device)
    else:  # whose workers may have a device that this process lacks
        place = torch.device(engine.place(str(device)))
    if wanted == "auto":
        first = "float32" if n_products <= FEW_PRODUCTS else "int8"
        return next(name for name in _down_from(first) if _is_fast(name, place))
    if wanted not in FASTEST_FIRST:  # float64, of the published algorithm
        return wanted
    chosen = next(name for name in _down_from(wanted) if _is_fast(name, place))
    if chosen != wanted:
        logger.warning(
            "%s has no fast products in %s: alignments are computed in %s",
            "this CPU" if place.type == "cpu" else f"device {place.type}",
            wanted,
            chosen,
        )
    return chosen


def _down_from(name: str) -> tuple[str, ...]:
    return FASTEST_FIRST[FASTEST_FIRST.index(name) :]


def _is_fast(name: str, place: torch.device) -> bool:
    """Return whether a device has instructions for products in a precision."""
    import torch

    if name == "int8":
        # Without VNNI a CPU saturates sums of pairs at 16 bits, which are then wrong.
        return place.type == "cpu" and torch.cpu._is_vnni_supported()
    if name == "bfloat16":
        return fast_dtype(place) == torch.bfloat16
    return name == "float32" or place.type == "cuda"


class Products:
    """Products of points of length one with a set of anchors, on a device.

    Factors are rounded to `precision`; sums are float32, and int32 of int8.
    """

    def __init__(self, anchors: FloatArray, place: torch.device, precision: str) -> None:
        import torch

        exact = torch.float64 if precision == "float64" else torch.float32
        self.kind = {"bfloat16": torch.bfloat16}.get(precision, exact)
        self.bank = torch.as_tensor(anchors, device=place).to(self.kind).T.contiguous()

    def __call__(self, points: torch.Tensor, out: torch.Tensor) -> Cosines:
        """Multiply points (n, D); `out` is (n, A) of `out_kind`."""
        import torch

        return Cosines(torch.mm(points.to(self.kind), self.bank, out=out))

    @property
    def out_kind(self) -> torch.dtype:
        """Type of the products."""
        return self.kind

    @property
    def n_anchors(self) -> int:
        """Number of anchors A."""
        return self.bank.shape[1]


class Int8Products(Products):
    r"""Products in int8, of which a CPU with VNNI does four in the time of one in float32.

    .. math:: x^\top h = x^\top m + u_x u \,\lfloor x / u_x \rceil^\top \lfloor (h - m) / u \rceil

    Here m is the mean of the anchors, u and u_x a 127th of the largest absolute number in all
    anchors less m and in the point. Anchors of one encoder share a direction, whose product stays
    in float32: that halves the error.
    """

    def __init__(self, anchors: FloatArray, place: torch.device) -> None:
        import torch

        known = torch.as_tensor(anchors, dtype=torch.float32, device=place)
        self.centre = known.mean(dim=0)
        rest = known - self.centre
        # Above 0 also where all anchors are one.
        self.unit = (rest.abs().amax() / LARGEST_INT8).clamp_min(1e-6)
        self.kind = torch.int8
        self.bank = (rest / self.unit).round_().to(torch.int8).T.contiguous()

    def __call__(self, points: torch.Tensor, out: torch.Tensor) -> Cosines:
        """Multiply points (n, D); `out` is (n, A) of int32."""
        import torch

        unit = points.abs().amax(dim=1, keepdim=True) / LARGEST_INT8
        whole = (points / unit).round_().to(torch.int8)
        unit *= self.unit
        offset = torch.mv(points, self.centre)[:, None] / unit
        return Cosines(torch._int_mm(whole, self.bank, out=out), offset, unit[:, 0])

    @property
    def out_kind(self) -> torch.dtype:
        """Type of the products."""
        import torch

        return torch.int32


class Cosines:
    """Cosines (n, A): products, what is added to each row, and the unit of both."""

    def __init__(
        self,
        products: torch.Tensor,
        offset: torch.Tensor | None = None,
        unit: torch.Tensor | None = None,
    ) -> None:
        self.products = products
        self.offset = offset
        self.unit = unit

    def __len__(self) -> int:
        return self.products.shape[0]

    def pieces(self, n_rows: int, buffer: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield absolute cosines of so many rows at a time, which overwrite products or a buffer.

        They are in units.
        """
        import torch

        offsets = _split(self.offset, n_rows)
        for values in torch.split(self.products, n_rows):
            found = values
            if values.dtype != buffer.dtype:
                found = buffer[: values.shape[0]].copy_(values)
            offset = next(offsets)
            if offset is not None:
                found += offset
            yield found.abs_()

    def absolute(
        self, rows: slice | torch.Tensor, columns: slice, kind: torch.dtype
    ) -> torch.Tensor:
        """Return absolute cosines of some rows and columns, in units."""
        values = self.products[rows, columns].to(kind)
        if self.offset is not None:
            values = values + self.offset[rows]
        return values.abs()


def _split(values: torch.Tensor | None, n_rows: int) -> Iterator[torch.Tensor | None]:
    import torch

    return repeat(None) if values is None else iter(torch.split(values, n_rows))
