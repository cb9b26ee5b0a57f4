"""Variance and error of ridgeless regression over gold and weak values, in regimes of d_sw.

Dong et al. (arXiv 2502.05075) tell three regimes apart by the subspaces V_w and V_s that teacher
and student use: nearly equal, partly shared, nearly orthogonal. Each is made here from one's own
features: the weak ones' canonical directions are divided by how far the strong ones see them, so
that the three teachers have as many dimensions each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from w2s_data.discrepancy.components import principal_components
from w2s_data.discrepancy.equivalents import expected_risks
from w2s_data.discrepancy.moments import total_moments
from w2s_data.discrepancy.target import TargetParts, target_parts
from w2s_data.discrepancy.theory import ROLES
from w2s_data.errors import InputError
from w2s_data.features.matrix import as_feature_matrix, sampled
from w2s_data.probes.ridge import RidgeProbe
from w2s_data.sweep.options import SweepOptions
from w2s_data.sweep.result import (
    Line,
    SweepResult,
    facts_of,
    line_of,
    ratio_over_seeds,
    series,
)
from w2s_data.sweep.world import Cell
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

OWN = "all directions"
EQUAL, PARTIAL, ORTHOGONAL = "the most shared", "some of each", "the least shared"
MODELS = dict(zip(ROLES, ("teacher", "student", "gold alone", "ceiling"), strict=True))
VARIANCE, ERROR = "variance", "error"
N_SIZES = 5
PER_DIMENSION = 4  # gold rows for each dimension that a model may have at the largest size
ABOVE = 1.5  # rows for each dimension at the smallest size: nearer to 1 one draw rules the mean
POPULATION, PER_POPULATION = 2000, 10  # gold rows that stand for all, and for each dimension
AXES = {"gold": "gold values", "pool": "weak values"}
LEFT = "student's part of the teacher's variance"


@dataclass(frozen=True)
class ValueWorld:
    """Rows of a run whose labels are values.

    Attributes
    ----------
    strong, weak : float array (R, D_s), (R, D_w)
    targets : float array (R,)
        Gold values, NaN where unknown; known on labelled and test rows. Variances and errors are
        shares of their variance if they are standardised.
    splits : array (R,) of "labelled", "pool" and "test"
    entropy : int
        Root of all random numbers.
    """

    strong: FloatArray
    weak: FloatArray
    targets: FloatArray
    splits: AnyArray
    entropy: int = 0

    @property
    def knows_pool(self) -> bool:
        """Whether all pool rows have a gold value, which a ceiling needs."""
        return bool(np.isfinite(self.targets[self.splits == "pool"]).all())

    def rows(self, split: str) -> IntArray:
        """Return the rows of a split."""
        return np.flatnonzero(self.splits == split)

    def halves(self, seed: int) -> list[tuple[IntArray, IntArray]]:
        """Draw two labelled sets and two pools without a common row.

        Where gold values of the pool are known, both labelled sets have the size of the run's;
        else each is a half of it.
        """
        rng = np.random.default_rng(np.random.SeedSequence(self.entropy, spawn_key=(seed,)))
        labelled, pool = self.rows("labelled"), self.rows("pool")
        n = len(labelled)
        if self.knows_pool:
            both = rng.permutation(np.concatenate([labelled, pool]))
            sets, rest = [both[:n], both[n : 2 * n]], both[2 * n :]
        else:
            sets, rest = np.array_split(rng.permutation(labelled), 2), rng.permutation(pool)
        return list(zip(sets, np.array_split(rest, 2), strict=True))


@dataclass(frozen=True)
class Regimes:
    """Whitened strong features, and the weak features of every regime."""

    strong: FloatArray
    weak: Mapping[str, FloatArray]

    @classmethod
    def of(cls, world: ValueWorld, n_gold: int) -> Regimes:
        """Reduce both sides to principal components that the gold rows determine."""
        moments, origin = total_moments(
            as_feature_matrix(world.strong), as_feature_matrix(world.weak)
        )
        most = n_gold // PER_DIMENSION
        own = []
        cuts = (slice(0, moments.d_s), slice(moments.d_s, None))
        for part, cut, given in zip(
            principal_components(moments, origin), cuts, (world.strong, world.weak), strict=True
        ):
            mean = origin[cut] + moments.total[cut] / moments.n
            own.append((given - mean) @ part.whitening(max(1, min(part.rank, most))))
        strong, weak = own
        # On rows that train nothing: those on which directions are chosen look uncorrelated there.
        chosen = world.rows("test")
        if len(chosen) <= strong.shape[1] + weak.shape[1]:
            chosen = np.arange(len(strong))
        return cls(strong, {OWN: weak} | _divided(strong, weak, chosen))


def _divided(strong: FloatArray, weak: FloatArray, rows: IntArray) -> dict[str, FloatArray]:
    """Divide canonical weak directions by their correlation with the strong features."""
    d = weak.shape[1]
    if d < 3:  # each regime has a third of the directions
        return {}
    # In orthonormal coordinates of the strong side the right singular vectors of the weak columns
    # are the canonical directions, by falling correlation; those of none come last.
    whole, own = (side[rows] - side[rows].mean(axis=0) for side in (strong, weak))
    basis, (weak_basis, triangle) = np.linalg.qr(whole)[0], np.linalg.qr(own)
    turned = np.linalg.svd(basis.T @ weak_basis, full_matrices=True)[2].T
    directions = np.linalg.solve(triangle, turned)
    canonical, k = weak @ directions, d // 3
    picked = {
        EQUAL: np.arange(k),
        PARTIAL: np.linspace(0, d - 1, k).round().astype(int),
        ORTHOGONAL: np.arange(d - k, d),
    }
    return {name: canonical[:, columns] for name, columns in picked.items()}


def sizes(first: float, last: int) -> list[int]:
    """Return sizes evenly spaced in their logarithm, up to the last.

    >>> sizes(20, 320)
    [20, 40, 80, 160, 320]
    """
    return sorted({round(x) for x in np.geomspace(min(first, last), last, N_SIZES)})


def measure(world: ValueWorld, seed: int, options: SweepOptions) -> Cell:
    """Fit all models twice, on rows of their own, in every regime and at every size.

    Half the squared difference of the two is the variance, whatever the target; the error is that
    to gold values less what no linear model of both features can tell.
    """
    halves, cell = world.halves(seed), Cell()
    n, N = min(len(gold) for gold, _ in halves), min(len(pool) for _, pool in halves)
    regimes = Regimes.of(world, n)
    known = np.flatnonzero(np.isfinite(world.targets) & (world.splits != "test"))
    d_s, d_w = regimes.strong.shape[1], regimes.weak[OWN].shape[1]
    least = {"gold": ABOVE * max(d_s, d_w) + 3, "pool": ABOVE * d_s + 3}[options.over]
    most = {"gold": n, "pool": N}[options.over]
    if most < 1.5 * least or 2 * d_s > N:
        raise InputError(
            f"{most} {AXES[options.over]} make no curve of {d_s} strong and {d_w} weak dimensions: "
            f"at least {int(1.5 * least) + 1} are needed"
        )
    for name, weak in regimes.weak.items():
        floor = _floor(world, regimes.strong, weak, known)
        # The theory is the same for every draw, so the first one is enough.
        theory = _Theory.of(world, regimes.strong, weak, known) if seed == 0 else None
        for size in sizes(least, most):
            rows = {"gold": (size, N), "pool": (n, size)}[options.over]
            cut = [(gold[: rows[0]], pool[: rows[1]]) for gold, pool in halves]
            numbers = {"measured": _measured(world, regimes.strong, weak, cut, floor)}
            if theory is not None:
                numbers["predicted"] = theory.told(*rows)
            for kind, found in numbers.items():
                for role, own in found.items():
                    for unit in (VARIANCE, ERROR):
                        cell.add(_key(name, MODELS[role], unit, kind), size, own[unit])
        if theory is not None:
            parts = theory.parts
            cell.facts |= {f"d_w, {name}": parts.d_w, f"d_sw, {name}": parts.d_sw, "d_s": d_s}
    return cell


def _key(panel: str, model: str, unit: str, kind: str) -> str:
    return " | ".join((panel, model, unit, kind))


@dataclass(frozen=True)
class _Theory:
    """Expectations for ridgeless regression on a regime's features."""

    strong: FloatArray  # of the rows with a gold value that are no test rows
    weak: FloatArray
    targets: FloatArray
    parts: TargetParts

    @classmethod
    def of(
        cls, world: ValueWorld, strong: FloatArray, weak: FloatArray, known: IntArray
    ) -> _Theory:
        parts = target_parts(strong[known], weak[known], world.targets[known])
        rows = sampled(known, POPULATION, np.random.default_rng(world.entropy))
        return cls(strong[rows], weak[rows], world.targets[rows], parts)

    def told(self, n: int, N: int) -> dict[str, dict[str, float]]:
        """Return variance and error of every model."""
        parts = self.parts
        bias = dict.fromkeys(ROLES, parts.rho_s)
        bias |= {"teacher": parts.rho_w, "student": parts.rho_s + parts.c2}
        variance = self._variance(n, N)
        if variance is None:
            risks = parts.risks(n, N)
            variance = {role: getattr(risks, role) - bias[role] for role in ROLES}
        return {role: {VARIANCE: v, ERROR: v + bias[role]} for role, v in variance.items()}

    def _variance(self, n: int, N: int) -> dict[str, float] | None:
        """Return the variances on these features; None where rows are too few to stand for all."""
        if len(self.targets) < PER_POPULATION * (self.strong.shape[1] + self.weak.shape[1]):
            return None
        try:
            found = expected_risks(self.strong, self.weak, self.targets, n=n, N=N).variance
        except InputError:
            return None
        return {role: getattr(found, role) for role in ROLES}


def _floor(world: ValueWorld, strong: FloatArray, weak: FloatArray, known: IntArray) -> float:
    """Return the squared error on the test rows of the best linear model of both features."""
    both, test = np.hstack([strong, weak]), world.rows("test")
    outputs = fitted(both[known], world.targets[known], both[test])
    error = float(np.mean((outputs - world.targets[test]) ** 2))
    # Less the part that it owes to its own rows.
    return float(error / (1 + (both.shape[1] + 1) / len(known)))


def _measured(
    world: ValueWorld,
    strong: FloatArray,
    weak: FloatArray,
    halves: Sequence[tuple[IntArray, IntArray]],
    floor: float,
) -> dict[str, dict[str, float]]:
    """Return variance and error of every model that can be trained."""
    y, test = world.targets, world.rows("test")
    outputs: dict[str, list[FloatArray]] = {}
    for gold, pool in halves:
        to = np.concatenate([test, pool])
        teacher = fitted(weak[gold], y[gold], weak[to])
        own = {
            "teacher": teacher[: len(test)],
            "student": fitted(strong[pool], teacher[len(test) :], strong[test]),
            "sft": fitted(strong[gold], y[gold], strong[test]),
        }
        if world.knows_pool:
            both = np.concatenate([gold, pool])
            own["ceiling"] = fitted(strong[both], y[both], strong[test])
        for role, values in own.items():
            outputs.setdefault(role, []).append(values)
    return {
        role: {
            VARIANCE: float(np.mean((one - other) ** 2) / 2),
            ERROR: float(np.mean([(one - y[test]) ** 2, (other - y[test]) ** 2])) - floor,
        }
        for role, (one, other) in outputs.items()
    }


def fitted(x: FloatArray, y: FloatArray, to: FloatArray) -> FloatArray:
    """Return outputs of ridgeless regression with an intercept at other rows."""
    return np.asarray(RidgeProbe(penalty=0).fit(x, y).predict(to))


def read(cells: Sequence[Cell], options: SweepOptions, level: float) -> SweepResult:
    """Average the seeds, panel by panel."""
    names = dict.fromkeys(line for cell in cells for line, _, _ in cell.points)
    lines = []
    for name in names:
        panel, model, unit, kind = name.split(" | ")
        line = line_of(cells, name, "measured" if kind == "measured" else "predicted", unit, level)
        label = model if kind == "measured" else f"{model} by the theory"
        points = (
            line.points
            if unit == ERROR
            else tuple(replace(point, value=_at_least_0(point.value)) for point in line.points)
        )
        lines.append(Line(label, line.kind, unit, points, panel))
    facts = facts_of(cells, level)
    panels = list(dict.fromkeys(line.panel for line in lines))
    for panel in panels:
        facts[f"{LEFT}, {panel}"] = _left(cells, panel, "measured", level)
        facts[f"{LEFT} by the theory, {panel}"] = _left(cells, panel, "predicted", level)
    said = "; ".join(_said(panel, facts) for panel in panels)
    return SweepResult(
        options.over,
        AXES[options.over],
        tuple(lines),
        facts,
        len(cells),
        f"Of its teacher's variance the student keeps, at the largest size, {said}.",
    )


def _at_least_0(value: Estimate) -> Estimate:
    """Cut an interval at 0, which no variance is below."""
    return replace(value, low=float(np.maximum(value.low, 0.0)))


def _left(cells: Sequence[Cell], panel: str, kind: str, level: float) -> Estimate:
    """Return the part of the teacher's variance that the student has, at the largest size."""
    last = []
    for role in ("student", "teacher"):
        by_size = series(cells, _key(panel, MODELS[role], VARIANCE, kind))
        last.append(np.array(by_size[max(x for x in by_size if x is not None)]))
    scale = last[1].mean()
    return _at_least_0(ratio_over_seeds(last[0] / scale, last[1] / scale, level))


def _said(panel: str, facts: Mapping[str, Estimate]) -> str:
    shared, of = (facts[f"{name}, {panel}"].value for name in ("d_sw", "d_w"))
    kept, told = facts[f"{LEFT}, {panel}"], facts[f"{LEFT} by the theory, {panel}"]
    return (
        f"with {panel} (d_sw {shared:.1f} of {of:.0f}) {kept.value:.0%} ({kept.low:.0%} to "
        f"{kept.high:.0%}; the theory says {told.value:.0%})"
    )
