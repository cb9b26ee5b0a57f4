"""Checks of what a label planner is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from w2s_data.errors import FeatureError, InputError, listing, unknown
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.plan.history import NEEDED
from w2s_data.plan.measuring import Task
from w2s_data.posterior.inputs import check_teachers, check_weak, checked_relabel
from w2s_data.posterior.views import Relabel
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import (
    check_feature_block,
    check_parameters,
    nonnegative,
    one_of,
    whole,
)

SIZES = {f"the number of {kind} rows in sizes": whole(1) for kind in ("gold", "pool")}


def check_sizes(sizes: Any, n: int, n_pool: int) -> tuple[int, int]:
    """Return the present numbers of gold and pool rows, by default those of the rows given."""
    if sizes is None:
        return n, n_pool
    if not isinstance(sizes, tuple | list) or len(sizes) != 2:
        raise InputError(f"sizes must be the numbers of gold and of pool rows; got {sizes!r}")
    check_parameters(dict(zip(SIZES, sizes, strict=True)), SIZES)
    return int(sizes[0]), int(sizes[1])


def check_plans(earlier: Any) -> None:
    """Raise InputError unless all are plans as `LabelPlanner.to_dict` returns them."""
    if not isinstance(earlier, Sequence) or not all(isinstance(p, Mapping) for p in earlier):
        raise InputError("earlier must be a list of plans as LabelPlanner.to_dict returned them")
    for number, plan in enumerate(earlier):
        if missing := [name for name in NEEDED if name not in plan]:
            raise InputError(
                f"plan {number} of earlier lacks {listing(missing)}: give plans as "
                "LabelPlanner.to_dict returned them"
            )


def check_prices(prices: Mapping[str, Any] | None, models: Iterable[str]) -> dict[str, Any]:
    """Return prices of other teachers and students by name; None is an unknown price."""
    found, names = dict(prices or {}), list(models)
    for name in found:
        if not names:
            raise InputError(
                f"prices name {name!r}, and `fit` was given no other teachers or students"
            )
        if name not in names:
            raise InputError(f"prices: {unknown('teacher or student', str(name), names)}")
    check_parameters(
        {f"the price of {name!r}": price for name, price in found.items()},
        {f"the price of {name!r}": nonnegative | one_of(None) for name in found},
    )
    return found


def take_features(matrix: FeatureMatrix, rows: IntArray, name: str) -> FloatArray:
    """Return rows of features as float64; raise FeatureError for values that are not finite."""
    taken = np.asarray(matrix.take(rows), np.float64)
    check_feature_block(taken, rows, name, nonzero=False)
    return taken


def sampled_relabel(relabel: Relabel, own: IntArray, pool: IntArray) -> Relabel:
    """Return a function that retrains a teacher on some of its `own` gold rows, and labels them."""

    def relabel_sample(rows: IntArray) -> tuple[FloatArray, FloatArray]:
        on_gold, on_pool = relabel(own[rows])
        return np.asarray(on_gold)[own], np.asarray(on_pool)[pool]

    return relabel_sample


class Others:
    """Tasks of other models on the same rows: `own` of the n gold rows and `pool` of the N."""

    def __init__(self, task: Task, n: int, n_pool: int, own: IntArray, pool: IntArray) -> None:
        self.task, self.n, self.n_pool, self.own, self.pool = task, n, n_pool, own, pool

    def teacher(self, name: str, given: Any) -> Task:
        """Return the task of another teacher; raise unless it labels all rows in these classes."""
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            raise InputError(
                f"teacher {name!r} must be (weak_proba of the pool, of the gold rows), and "
                "`relabel` as a third where it learned from them"
            )
        of_pool, of_gold, *learned = given
        on_pool, on_gold = f"weak_proba of {name}", f"gold weak_proba of {name}"
        weak = check_weak(of_pool, self.n_pool, on_pool)
        # It may be several teachers where the present one is one, in the same classes.
        n_classes = self.task.n_classes
        check_teachers(weak, (weak.shape[1], n_classes), on_pool, "the present labels")
        gold = check_weak(of_gold, self.n, on_gold)
        check_teachers(gold, weak.shape[1:], on_gold, "the pool")
        relabel = checked_relabel(learned[0], self.n, weak.shape) if learned else None
        return replace(
            self.task,
            weak_pool=weak[self.pool],
            weak_gold=gold[self.own],
            relabel=None if relabel is None else sampled_relabel(relabel, self.own, self.pool),
        )

    def student(self, name: str, given: Any) -> Task:
        """Return the task of another student; raise unless it has features of all rows."""
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise InputError(
                f"student {name!r} must be (strong features of the pool, of the gold rows)"
            )
        title = f"strong features of {name}"
        pool, gold = (as_feature_matrix(part, title) for part in given)
        for part, kind, n in ((pool, "pool", self.n_pool), (gold, "gold", self.n)):
            if part.shape[0] != n:
                raise InputError(
                    f"row counts disagree: there are {n} {kind} rows, {title} have "
                    f"{part.shape[0]} of them"
                )
        if pool.shape[1] != gold.shape[1]:
            raise FeatureError(
                f"{title} have {gold.shape[1]} columns on gold rows, {pool.shape[1]} in the pool: "
                "both must come from one encoder"
            )
        return replace(
            self.task,
            gold=take_features(gold, self.own, f"gold {title}"),
            pool=take_features(pool, self.pool, title),
        )
