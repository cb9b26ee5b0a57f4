"""Trust as the objective: buy where weak labels are right and new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from w2s_data.errors import InputError
from w2s_data.posterior import LabelPosterior
from w2s_data.utils.intervals import LEVEL, student_interval
from w2s_data.utils.io import digest_parts
from w2s_data.utils.typing import BoolArray, FloatArray
from w2s_data.utils.votes import abstains, chance, votes
from w2s_selectors.objectives.base import Acquired, Judge, Judgement, Task
from w2s_selectors.objectives.kernel import N_FOURIER, FourierMap
from w2s_selectors.objectives.screen import Screen, ScreenJudge, slices, spend_greedily

GROWTH = 0.5  # share of new points after which the posterior is fitted again: seconds each
WIDTH = 0.5  # of the kernel: at the median itself, near-duplicates are hardly told from others
Gold = tuple[Any, Any, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Trust(Screen):
    r"""`Screen`, and among the rest the source whose items are probably right and new.

    An item is worth its trust t, the chance that its weak label is right, times its novelty:

    .. math:: v_i = t_i \, \frac{2 \langle \phi_i, \mu - m \rangle + \|m\|^2}{\|\mu\|^2}, \qquad
        m = \frac{\sum_j t_j \phi_j}{\sum_j t_j}

    with :math:`\phi_i` the item in the feature space of a Gaussian kernel (256 random Fourier
    features of 64 principal components, half the median width), m the mean of all that was bought
    of sources that are not stopped, and :math:`\mu` that of the target, or without one
    the even mixture of these sources. Novelty is 1 where what was bought lies like the target, more
    where it lacks items, and less, even below 0, where it has enough of them. The sum of all v is
    the effective number of right labels,

    .. math:: \Big(1 - \frac{\|m - \mu\|^2}{\|\mu\|^2}\Big) \sum_j t_j,

    whose slope v is. A source is worth the mean of its items per unit of cost.

    Trust comes with the items (`trust` of `TableSource`, of a `Batch`, of a scored run). An item
    whose weak model abstains is worth nothing. Trust believes a source of confident noise, whose
    labels nobody has checked; the screen does not.

    Parameters
    ----------
    gold : (strong_features (n, D), weak_proba (n, C), labels (n,)), optional
        Gold rows, for items that come without trust: a `LabelPosterior` of these rows and of all
        that is acquired gives it to them, fitted again whenever there are half as many more. Rows
        from which the teacher learned must be cross-fitted.

    Examples
    --------
    >>> Trust(), Trust().policy
    (Trust(), 'round_robin')
    """

    name: ClassVar[str] = "trust"
    reward: ClassVar[str] = "trust"
    gold: Gold | None = None

    def __post_init__(self) -> None:
        if self.gold is not None and (not isinstance(self.gold, tuple) or len(self.gold) != 3):
            raise InputError("gold must be (strong_features, weak_proba, labels) of the gold rows")

    def start(self, task: Task) -> Judge:
        """Judge by the trust that comes with the items, or that gold rows give them."""
        return TrustJudge(task, self.gold)

    def __repr__(self) -> str:
        # It identifies a selection in its checkpoint: by content, without all its numbers.
        if self.gold is None:
            return "Trust()"
        parts = [np.ascontiguousarray(part, dtype=np.float64).tobytes() for part in self.gold]
        return f"Trust(gold={len(self.gold[2])} rows {digest_parts(parts)[:12]})"


class TrustJudge(ScreenJudge):
    """Label consistency, trust, and trusted kernel means by source."""

    def __init__(self, task: Task, gold: Gold | None) -> None:
        super().__init__(task, match=False)
        self._gold = gold
        self._posterior: LabelPosterior | None = None

    def __call__(self, acquired: Acquired) -> Judgement:
        if self._gold is not None and len(acquired) >= (1 + GROWTH) * self._n_fitted:
            self._fit(acquired, self._gold)
        return super().__call__(acquired)

    @property
    def _n_fitted(self) -> int:
        return 0 if self._posterior is None else len(self._posterior.trust_)

    def _fit(self, acquired: Acquired, gold: Gold) -> None:
        """Fit the posterior on all that is acquired, and sum the trust of earlier points again."""
        self._posterior = LabelPosterior(random_state=self._task.seed % 2**32).fit(
            acquired.strong_features, acquired.weak_proba, gold=gold, progress=False
        )
        if self._n_seen:
            self._clear()
            for rows in slices(0, self._n_seen):
                self._sum(acquired, rows, self._project(acquired.strong_features.take(rows)))

    def _begin(self, acquired: Acquired) -> None:
        components = self._start(acquired, self._task.target)
        self._map = FourierMap(components, self._rng, WIDTH)
        self._target: FloatArray | None = None
        if self._task.target is not None:
            self._target = self._map(components).mean(axis=0)
        self._clear()

    def _clear(self) -> None:
        n_sources = self._task.n_sources
        self._sums, self._trusted = (np.zeros((n_sources, N_FOURIER)) for _ in range(2))
        self._moments = np.zeros((n_sources, 3))  # sums of 1, t and t^2

    def _add(self, acquired: Acquired, rows: slice, components: FloatArray) -> None:
        super()._add(acquired, rows, components)
        self._sum(acquired, rows, components)

    def _sum(self, acquired: Acquired, rows: slice, components: FloatArray) -> None:
        source, trust = acquired.source[rows], self._trust(acquired, rows, self._n_fitted)
        mapped = self._map(components)
        np.add.at(self._sums, source, mapped)
        np.add.at(self._trusted, source, trust[:, None] * mapped)
        np.add.at(self._moments, source, np.column_stack([np.ones(len(trust)), trust, trust**2]))

    def _trust(self, acquired: Acquired, rows: slice, n_fitted: int) -> FloatArray:
        """Return the trust of some points; 0 where no weak label can be right.

        The posterior learned from the first `n_fitted` points.
        """
        trust, proba = acquired.trust[rows], acquired.weak_proba[rows]
        unknown = np.isnan(trust) & ~abstains(proba)
        if unknown.any():
            if self._posterior is None:
                first = int(acquired.source[rows][unknown][0])
                name = self._task.names[first] if self._task.names else first
                raise InputError(
                    "objective 'trust' requires the chance that each weak label is right, and "
                    f"source {name!r} delivers items without it: give it trust, or pass "
                    "objective=Trust(gold=(strong_features, weak_proba, labels))"
                )
            own = _joined_trust(self._posterior, acquired, rows, n_fitted)
            trust = np.where(unknown, own, trust)
        return np.nan_to_num(trust)

    def _judgement(self) -> Judgement:
        judged = super()._judgement()
        self._aside = self._set_aside(judged.stopped)
        n, total, squares = self._moments.T
        known = n > 0
        mean = np.where(known, total / np.maximum(n, 1), np.nan)
        variance = np.maximum(squares / np.maximum(n, 1) - mean**2, 0)
        error = np.sqrt(variance / np.maximum(n - 1, 1))
        low, high = np.clip(student_interval(mean, error, np.inf, LEVEL), 0, 1)
        return replace(
            judged,
            rewards=mean,
            low=low,
            high=high,
            successes=None,
            trials=None,
            gains=self._worth(np.zeros(len(n))) / self._task.costs,
        )

    def _worth(self, planned: FloatArray) -> FloatArray:
        """Return the mean worth (K,) of an item of each source; NaN without a point.

        `planned` (K,) points are bought before, and lie like those that their source has brought.
        """
        n, total = self._moments[:, 0], self._moments[:, 1]
        means = self._trusted / np.maximum(n, 1)[:, None]
        shares = total / np.maximum(n, 1)
        bought = np.where(self._counted, n, 0) + planned
        mean = bought @ means / np.maximum(bought @ shares, 1e-12)
        target = self._wanted()
        worth = 2 * means @ (target - mean) + shares * (mean @ mean)
        return np.where(n > 0, worth / (target @ target), np.nan)

    @property
    def _counted(self) -> BoolArray:
        return np.asarray(~np.isin(np.arange(self._task.n_sources), self._aside))

    def _wanted(self) -> FloatArray:
        """Return the mean of the target, or of an even mixture of the sources that count."""
        if self._target is not None:
            return self._target
        n = self._moments[:, 0]
        mixed = self._counted & (n > 0)
        # With every source set aside, nothing is worth anything; any mixture will do.
        mixed = mixed if mixed.any() else n > 0
        return np.asarray((self._sums[mixed] / n[mixed, None]).mean(axis=0))

    def values(self, sets: Sequence[Acquired]) -> list[float]:
        """Return the effective right labels of each set; those of stopped sources count nothing."""
        return [self._value(each.without(self._aside)) for each in sets]

    def _value(self, acquired: Acquired) -> float:
        summed, weight, target = np.zeros(N_FOURIER), 0.0, self._wanted()
        for rows in slices(0, len(acquired)):
            mapped = self._map(self._project(acquired.strong_features.take(rows)))
            trust = self._trust(acquired, rows, 0)
            summed, weight = summed + trust @ mapped, weight + float(trust.sum())
        slope = 2 * summed @ target - summed @ summed / max(weight, 1e-12)
        return float(slope / (target @ target))

    def planned(self, room: FloatArray, budget: float, units: FloatArray) -> FloatArray | None:
        """Return the items (K,) that the greedy choice would buy next, at most `room`."""
        return spend_greedily(lambda items, _: self._worth(items) / units, room, budget, units)


def _joined_trust(
    posterior: LabelPosterior, acquired: Acquired, rows: slice, n_fitted: int
) -> FloatArray:
    """Return the trust that a posterior has in the weak labels of some points."""
    # Out of fold: a student that has seen a label believes it.
    fitted = posterior.trust_[rows.start : min(rows.stop, n_fitted)]
    new = slice(rows.start + len(fitted), rows.stop)
    if new.start == new.stop:
        return np.asarray(fitted)
    proba = acquired.weak_proba[new]
    joined = posterior.predict_proba(acquired.strong_features.take(new), proba)
    return np.append(fitted, chance(joined, votes(proba)))
