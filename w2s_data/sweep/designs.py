"""The sweeps by name, and `sweep`, which measures one of them seed by seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np

from w2s_data.compute.base import Advance, Engine, LocalEngine
from w2s_data.errors import InputError, listing
from w2s_data.sweep import models, noise, overlap, regimes, rounds, shares, sizes
from w2s_data.sweep.options import Over, SweepOptions
from w2s_data.sweep.regimes import ValueWorld
from w2s_data.sweep.result import SweepResult
from w2s_data.sweep.world import Cell, World
from w2s_data.utils.constants import LEVEL
from w2s_data.utils.progress import no_advance


@dataclass(frozen=True)
class Design:
    """How one figure is measured, seed by seed, and read in the end."""

    measure: Callable[[Any, int, SweepOptions], Cell]
    read: Callable[[Sequence[Cell], SweepOptions, float], SweepResult]


DESIGNS: dict[str, Design] = {
    "overlap": Design(overlap.measure, overlap.read),
    "eta": Design(shares.measure, shares.read),
    "gold": Design(sizes.measure, sizes.read),
    "pool": Design(sizes.measure, sizes.read),
    "noise": Design(noise.measure, noise.read),
    "model": Design(models.measure, models.read),
    "rounds": Design(rounds.measure, rounds.read),
}
assert set(DESIGNS) == set(get_args(Over))
OF_VALUES: dict[str, Design] = {
    over: Design(regimes.measure, regimes.read) for over in regimes.AXES
}


def design_of(world: World | ValueWorld, over: str) -> Design:
    """Return how a figure is measured on classes or on values; raise if there is none."""
    designs = OF_VALUES if isinstance(world, ValueWorld) else DESIGNS
    if over not in designs:
        raise InputError(f"over must be {listing(designs)} where labels are values; got {over!r}")
    return designs[over]


def sweep(
    world: World | ValueWorld,
    options: SweepOptions,
    *,
    seeds: int = 5,
    level: float = LEVEL,
    engine: Engine | None = None,
    advance: Advance = no_advance,
) -> SweepResult:
    """Measure one of the published figures.

    Parameters
    ----------
    world : World, or ValueWorld where labels are values
    options : SweepOptions
        Quantity that is varied, and how.
    seeds : int
        Draws of labelled set and pool; each is a cell of the work.
    engine : Engine, optional
        Maps the cells; a `KeepingEngine` keeps finished ones.
    advance : function of an int
        Called with the number of finished cells.

    Raises
    ------
    InputError
        If there are too few points, or no groups for "eta"; says what is needed.

    Examples
    --------
    >>> from w2s_data import LinearProbe
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 2, 900)
    >>> strong = rng.normal(size=(900, 6)) + labels[:, None]
    >>> weak = strong[:, :2] + rng.normal(size=(900, 2))
    >>> splits = np.repeat(["labelled", "pool", "test"], [100, 500, 300])
    >>> probe = LinearProbe(l2=0.01, device="cpu")
    >>> world = World(strong, weak, np.full((900, 2), 0.5), labels, splits, probe, probe)
    >>> result = sweep(world, SweepOptions("noise", draws=1), seeds=2)
    >>> result["student"].values()[0] > result["student"].values()[-1]
    np.True_
    """
    chosen = engine or LocalEngine()
    numbers = range(seeds)
    mapped = chosen.map_blocks(_measured, (world, options), numbers, advance, device="cpu")
    # Zipped from the left: the folder of an engine may hold the cells of more seeds.
    cells = [_cell(result) for _, (_, result) in zip(numbers, mapped, strict=False)]
    return design_of(world, options.over).read(cells, options, level)


def _measured(
    state: tuple[World | ValueWorld, SweepOptions], seed: int, advance: Advance
) -> tuple[np.ndarray[Any, Any], ...]:
    """Measure a cell, and return it as an array of one row, which an engine can keep."""
    world, options = state
    cell = design_of(world, options.over).measure(world, seed, options)
    advance(1)
    return (np.array([json.dumps(asdict(cell))]),)


def _cell(result: tuple[np.ndarray[Any, Any], ...]) -> Cell:
    record = json.loads(str(result[0][0]))
    return Cell([(line, x, value) for line, x, value in record["points"]], record["facts"])
