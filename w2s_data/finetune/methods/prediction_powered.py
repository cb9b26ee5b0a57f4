"""`prediction_powered`: gold labels, and weak ones whose bias the gold rows take out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from w2s_data.finetune.loop import PROBABILITY_FLOOR
from w2s_data.finetune.losses import signed_cross_entropy
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective, Model
from w2s_data.finetune.task import Task
from w2s_data.utils.typing import BoolArray, FloatArray
from w2s_data.utils.validation import between, one_of, whole

# Tried by "auto". With 50 or 200 gold rows of text .1 to .25 were best at a penalty of 1, and 0 at
# one of .1.
POWERS = (0.0, 0.1, 0.3, 1.0)
MOST_FOLDS = 100


@dataclass(frozen=True)
class PredictionPowered(Method):
    r"""Train on gold labels, with a term of the weak ones whose bias the gold rows take out.

    .. math:: \min_\theta\; L_{gold}(y) + \lambda \big( L_{pool}(w) - L_{gold}(w) \big)

    with L the mean cross-entropy over gold or pool rows. Whatever the teacher and lambda, its
    expectation is the loss of gold labels; a good teacher makes its variance smaller.

    Parameters
    ----------
    power : float or "auto"
        lambda, in [0, 1]; 0 trains on the gold labels alone. "auto" takes the one of least
        cross-entropy on gold rows out of fold, among `POWERS`; of equals the smallest.
    folds : int
        Folds of the gold rows for "auto".
    hard : bool
        Train on the most probable weak class instead of the probabilities.

    Notes
    -----
    Needs `gold`. With few gold rows and many features the correction has a large variance of its
    own, and a small lambda is best. For heads the loss is convex and, with a penalty, bounded
    below. For whole models it is not bounded, since doubting the wrong weak label of a gold row
    always lowers it: train them for a few epochs. A row on which all teachers abstain counts as
    uniform in both terms. Diagnostics: `power` (S,). It has no control but `labelled_only`, which
    is lambda 0.

    References
    ----------
    Shoham et al., *Prediction-Powered Semi-Supervised Learning with Online Power Tuning*, NeurIPS
    2025, which tunes lambda by steps on the variance of the gradient while it trains.
    """

    name = "prediction_powered"
    uses_gold = True
    own_targets = True
    constraints: ClassVar = {
        "power": one_of("auto") | between(0, 1),
        "folds": whole(2, MOST_FOLDS),
    }

    power: float | Literal["auto"] = "auto"
    folds: int = 3
    hard: bool = False

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        weak, is_gold = task.labels(self.hard), task.gold >= 0
        if self.power == "auto":
            known = np.where(task.pool.sample_weight > 0, task.gold, -1)
            losses = [self._loss(task, weak, held) for held in task.held_out(known, self.folds)]
            power = np.array(POWERS)[np.sum(losses, axis=0).argmin(axis=0)]
        else:
            power = np.full(task.n_seeds, float(self.power))
        every = np.broadcast_to(is_gold, (task.n_seeds, len(is_gold)))
        model = _train(task, weak, every, power, "student")
        return Outcome(model, {"power": power})

    def targets(self, task: Task) -> tuple[BoolArray, FloatArray]:
        """Return the gold rows and their labels, which the loss is about whatever the power."""
        return task.gold >= 0, task.gold_labels()

    def _loss(self, task: Task, weak: FloatArray, held_out: BoolArray) -> FloatArray:
        """Return the loss of every power (P, S) on gold rows (S, N) that did not train."""
        gold, used = task.gold_labels(), (task.gold >= 0) & ~held_out
        own = held_out * task.pool.sample_weight
        losses = np.empty((len(POWERS), task.n_seeds))
        for i, power in enumerate(POWERS):
            powers = np.full(task.n_seeds, power)
            proba = task.pool_proba(_train(task, weak, used, powers, f"power {power:g}"))
            chance = (proba * gold).sum(axis=2)
            losses[i] = -(own * np.log(np.maximum(chance, PROBABILITY_FLOOR))).sum(axis=1)
        return losses


def _train(
    task: Task, weak: FloatArray, is_gold: BoolArray, power: FloatArray, stage: str
) -> Model:
    """Train on these gold rows (S, N) and, where the power (S,) is above 0, on the pool too."""
    pool, weight = task.gold < 0, task.pool.sample_weight
    labels, rows = powered_labels(task.gold_labels(), weak, is_gold, pool, weight, power)
    objective = LabelObjective(task.seed_tensor(labels), signed_cross_entropy)
    return task.train(objective, stage=stage, rows=rows)


def powered_labels(
    gold: FloatArray,
    weak: FloatArray,
    is_gold: BoolArray,
    is_pool: BoolArray,
    weight: FloatArray,
    power: FloatArray,
) -> tuple[FloatArray, BoolArray]:
    """Return signed labels (S, N, C) whose mean cross-entropy is the loss, and the rows (S, N).

    Gold and weak labels are (N, C), gold rows (S, N), pool rows and weights (N,), powers (S,). The
    mean is over the rows that are returned, by their weights.
    """
    rows = is_gold | (is_pool & (power[:, None] > 0))
    of_gold = is_gold / (is_gold @ weight)[:, None]
    of_pool = is_pool / (is_pool @ weight)
    # Cross-entropy is linear in the label: a row's two losses are one, with a label of any sign.
    of_weak = power[:, None] * (of_pool - of_gold)
    signed = of_gold[..., None] * gold + of_weak[..., None] * weak
    return signed * (rows @ weight)[:, None, None], rows
