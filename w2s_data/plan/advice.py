"""A plan: the value of each purchase, the best split of a budget, and when to stop."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from w2s_data.errors import InputError
from w2s_data.plan.curves import Curve, as_share
from w2s_data.utils.intervals import Estimate, tails
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import positive

FARTHEST = 8.0  # times the present sizes, beyond which nothing is forecast
GUESS = 2.0  # times the present sizes, beyond which a forecast is a guess
SPLITS = 41  # shares of the budget for gold labels that are tried
STEPS = 20  # of the budget, on the way to all of it
LEAST_GAIN = 1e-6  # accuracy, below which nothing is bought
CONTOUR = 25  # sizes on each axis of the contour
GOLD_LABELS, WEAK_LABELS = "gold labels", "weak labels"
OPTIONS = {
    "gold": "gold labels alone",
    "weak": "weak labels alone",
    "both": "gold and weak labels together",
}


@dataclass(frozen=True)
class Prices:
    """A budget and the price of one gold and one weak label, in one currency."""

    budget: float
    gold: float
    weak: float

    def __post_init__(self) -> None:
        for name, value in (("gold_cost", self.gold), ("weak_cost", self.weak)):
            if not positive.accepts(value):
                raise InputError(f"{name} must be a price above 0; got {value!r}")
        if not (positive.accepts(self.budget) and self.budget >= min(self.gold, self.weak)):
            raise InputError(
                f"budget must pay for at least one label, which costs "
                f"{min(self.gold, self.weak):g}; got {self.budget!r}"
            )


@dataclass(frozen=True)
class Purchase:
    """One thing to buy: how many, what it costs and the accuracy that it is expected to add."""

    name: str
    number: int | None  # labels; None for a model
    price: float | None  # None where it is unknown
    gain: Estimate
    guess: bool  # whether it lies beyond twice the present size

    @property
    def per_unit(self) -> Estimate | None:
        """Gain per unit of price."""
        if not self.price:
            return None
        value, low, high = (
            part / self.price for part in (self.gain.value, self.gain.low, self.gain.high)
        )
        return Estimate(value, low, high, self.gain.level)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, and the gain per unit of price."""
        per_unit = self.per_unit
        return vars(self) | {
            "gain": self.gain.to_dict(),
            "per_unit": None if per_unit is None else per_unit.to_dict(),
        }


@dataclass(frozen=True)
class Split:
    """A way to spend money on gold and weak labels, and the accuracy it leads to."""

    gold: int
    weak: int
    spent: float
    accuracy: Estimate
    gain: Estimate
    guess: bool

    def above(self, now: Estimate) -> Estimate:
        """Return the accuracy if that of now is right; its interval is that of the gain."""
        gain = self.gain
        value, low, high = (now.value + part for part in (gain.value, gain.low, gain.high))
        return as_share(Estimate(value, low, high, gain.level))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain types."""
        found = {"accuracy": self.accuracy.to_dict(), "gain": self.gain.to_dict()}
        return vars(self) | found


@dataclass(frozen=True)
class TeacherNow:
    """The teacher used as it is: its accuracy on the gold rows, and its lead over the student."""

    accuracy: Estimate
    lead: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Return both estimates as plain types."""
        return {"accuracy": self.accuracy.to_dict(), "lead": self.lead.to_dict()}


@dataclass(frozen=True, repr=False)
class Plan:
    """Advice on a budget; accuracies are those of `option`, the best way to train now.

    `buys` names what is advised: "labels", a model, or "" for nothing.
    """

    option: str
    n: int
    N: int
    prices: Prices
    now: Estimate
    purchases: tuple[Purchase, ...]
    exchange: Estimate  # weak labels that are worth one gold label; NaN where none are worth one
    split: Split
    stop: float | None  # spending after which no step is worth its doubt; None: not in the budget
    path: tuple[dict[str, Any], ...]
    contour: dict[str, Any]
    advice: str
    buys: str
    teacher: TeacherNow | None = None
    warnings: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain types."""
        return vars(self) | {
            "prices": vars(self.prices),
            "teacher": None if self.teacher is None else self.teacher.to_dict(),
            "now": self.now.to_dict(),
            "purchases": [purchase.to_dict() for purchase in self.purchases],
            "exchange": self.exchange.to_dict(),
            "split": self.split.to_dict(),
            "path": list(self.path),
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        return f"Plan({self.advice!r})"


@dataclass(frozen=True)
class Market:
    """Labels that money buys, and what they add by one curve."""

    curve: Curve
    prices: Prices
    level: float

    def sizes(self, gold_money: Any, weak_money: Any) -> tuple[FloatArray, FloatArray]:
        """Return how many gold and weak rows there are after spending, 8 times at most."""
        n = self.curve.n + np.floor(np.asarray(gold_money) / self.prices.gold + 1e-9)
        n_pool = self.curve.N + np.floor(np.asarray(weak_money) / self.prices.weak + 1e-9)
        return (
            np.minimum(n, np.floor(FARTHEST * self.curve.n)),
            np.minimum(n_pool, np.floor(FARTHEST * self.curve.N)),
        )

    def splits(self, money: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return sizes and mean errors (SPLITS,) of all ways to divide money, gold last."""
        shares = np.linspace(0, 1, SPLITS)
        n, n_pool = self.sizes(shares * money, (1 - shares) * money)
        return n, n_pool, self.curve.draws(n, n_pool).mean(axis=0)

    def best(self, money: float) -> Split:
        """Return the split of least mean error, of equal ones the cheapest; it may be nothing."""
        n, n_pool, errors = self.splits(money)
        now = float(self.curve.draws(self.curve.n, self.curve.N).mean())
        if errors.min() > now - LEAST_GAIN:
            return self.split(self.curve.n, self.curve.N)
        cost = self._cost(n, n_pool)
        best = min(range(SPLITS), key=lambda k: (round(float(errors[k]), 6), cost[k]))
        return self.split(float(n[best]), float(n_pool[best]))

    def split(self, n: float, n_pool: float) -> Split:
        """Describe one pair of sizes."""
        curve = self.curve
        return Split(
            gold=int(n - curve.n),
            weak=int(n_pool - curve.N),
            spent=float(self._cost(n, n_pool)),
            accuracy=curve.accuracy(n, n_pool, self.level),
            gain=curve.expected_gain(n, n_pool, self.level),
            guess=bool(max(n / curve.n, n_pool / curve.N) > GUESS),
        )

    def _cost(self, n: Any, n_pool: Any) -> Any:
        gold, weak = self.prices.gold, self.prices.weak
        return (n - self.curve.n) * gold + (n_pool - self.curve.N) * weak

    def labels(self, name: str) -> Purchase:
        """Spend all of the budget on one kind of label."""
        budget = self.prices.budget
        gold = name == GOLD_LABELS
        n, n_pool = self.sizes(budget if gold else 0.0, 0.0 if gold else budget)
        split = self.split(float(n), float(n_pool))
        return Purchase(name, split.gold + split.weak, split.spent, split.gain, split.guess)

    def exchange(self) -> Estimate:
        """Return how many weak labels lower the error as much as one gold label does now."""
        curve = self.curve
        by_gold = (1 - curve.pool_part) * curve.gold_rate / curve.n
        by_pool = curve.pool_part * curve.pool_rate / curve.N
        if not by_gold.any() or not by_pool.any():
            return Estimate(np.nan, level=self.level)
        rate = by_gold / np.maximum(by_pool, 1e-12)
        low, high = np.quantile(rate, tails(self.level))
        # A mean of ratios would be that of the few draws in which weak labels do nothing.
        return Estimate(float(np.median(rate)), float(low), float(high), self.level)

    def path(self) -> list[tuple[float, Split, Split, Split]]:
        """Return spending, and the best split, gold alone and weak alone that it pays for."""
        steps = []
        for money in np.linspace(0, self.prices.budget, STEPS + 1):
            only = (self.sizes(money, 0.0), self.sizes(0.0, money))
            gold, weak = (self.split(float(n), float(n_pool)) for n, n_pool in only)
            steps.append((float(money), self.best(float(money)), gold, weak))
        return steps

    def stop(self, path: list[tuple[float, Split, Split, Split]]) -> float | None:
        """Return the spending after which every step of the path gains less than its doubt.

        The doubt is the standard deviation of its draws.
        """
        curve, found = self.curve, None
        for (money, here, *_), (_, there, *_) in reversed(list(itertools.pairwise(path))):
            before, after = (
                curve.draws(curve.n + split.gold, curve.N + split.weak) for split in (here, there)
            )
            step = before - after
            if step.mean() > step.std():
                break
            found = money
        return found

    def contour(self) -> dict[str, Any]:
        """Return mean accuracies over both sizes, and the line that the budget reaches."""
        curve = self.curve
        n = np.geomspace(curve.n / 2, FARTHEST * curve.n, CONTOUR)
        n_pool = np.geomspace(curve.N / 2, FARTHEST * curve.N, CONTOUR)
        errors = curve.draws(n[None, :], n_pool[:, None]).mean(axis=0)
        line_n, line_pool, _ = self.splits(self.prices.budget)
        return {
            "n": np.round(n, 1).tolist(),
            "N": np.round(n_pool, 1).tolist(),
            "accuracy": np.round(1 - errors, 5).tolist(),
            "line": [
                {"n": float(a), "N": float(b)} for a, b in zip(line_n, line_pool, strict=True)
            ],
        }


def make_plan(
    option: str,
    curve: Curve,
    prices: Prices,
    models: Mapping[str, tuple[Estimate, float | None]],
    warnings: tuple[str, ...],
    level: float,
    teacher: TeacherNow | None = None,
) -> Plan:
    """Advise on a budget; `models` are the gains of other models and their prices."""
    market = Market(curve, prices, level)
    path = market.path()
    purchases = [market.labels(name) for name in (GOLD_LABELS, WEAK_LABELS)]
    purchases += [
        Purchase(name, None, price, gain, guess=False) for name, (gain, price) in models.items()
    ]
    split, stop, exchange = path[-1][1], market.stop(path), market.exchange()
    now = curve.accuracy(curve.n, curve.N, level)
    buys, advice = _advice(split, purchases, prices, option, teacher)
    return Plan(
        option=option,
        n=int(curve.n),
        N=int(curve.N),
        prices=prices,
        now=now,
        purchases=tuple(purchases),
        exchange=exchange,
        split=split,
        stop=stop,
        path=tuple(
            {
                "spent": money,
                "gold": best.gold,
                "weak": best.weak,
                **best.above(now).columns("best"),
                **gold.above(now).columns("gold_only"),
                **weak.above(now).columns("weak_only"),
            }
            for money, best, gold, weak in path
        ),
        contour=market.contour(),
        advice=advice,
        buys=buys,
        teacher=teacher,
        warnings=warnings,
    )


def _advice(
    split: Split,
    purchases: list[Purchase],
    prices: Prices,
    option: str,
    teacher: TeacherNow | None,
) -> tuple[str, str]:
    """Return what to buy ("labels", the name of a model or "") and one sentence about it."""
    affordable = [p for p in purchases[2:] if p.price is not None and p.price <= prices.budget]
    best = max(affordable, key=lambda p: p.gain.value, default=None)
    gains = [p.gain.value for p in (split, best) if p is not None]
    if teacher is not None and teacher.lead.low > 0 and teacher.lead.value >= max(gains):
        return "", (
            f"Keep the money and use the teacher: it is right on {teacher.accuracy.value:.1%} of "
            f"the gold rows, {_points(teacher.lead)} above {OPTIONS[option]}, and nothing that "
            "the budget buys is expected to add as much to a student."
        )
    if best is not None and best.gain.value > max(split.gain.value, 0):
        return best.name, (
            f"Buy {best.name} for {best.price:g}: it is expected to add "
            f"{_points(best.gain)}, more than labels for the whole budget do."
        )
    parts = [
        f"{number:,} {kind}"
        for number, kind in ((split.gold, "gold labels"), (split.weak, "weak labels"))
        if number
    ]
    if not parts or split.gain.value < 0.0005:
        return "", "Keep the money: no more labels are expected to raise the accuracy."
    end = "; beyond twice your present size this is a guess." if split.guess else "."
    return "labels", (
        f"Buy {' and '.join(parts)} for {split.spent:,.4g}: they are expected to add "
        f"{_points(split.gain)}{end}"
    )


def _points(gain: Estimate) -> str:
    low, high = 100 * gain.low, 100 * gain.high
    text = f"{100 * gain.value:.1f} points of accuracy ({low:.1f} to {high:.1f})"
    return text.replace("-", "\N{MINUS SIGN}")
