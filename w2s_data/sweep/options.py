"""Choices of a sweep that its cells depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Over = Literal["overlap", "eta", "gold", "pool", "noise", "model", "rounds"]


@dataclass(frozen=True)
class SweepOptions:
    """The figure, and what its cells depend on."""

    over: Over
    group: str | None = None  # whose share is varied; by default the rarest of the labelled set
    eta_labelled: tuple[float, ...] = ()  # its shares in the labelled set, beside the present one
    draws: int = 3  # random training sets behind each number of a seed
    strong_models: tuple[str, ...] = ()
    weak_models: tuple[str, ...] = ()
