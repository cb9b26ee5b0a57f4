"""`trust`: train on the weak labels that gold rows say are most probably right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from w2s_data.finetune.filters import best_shares, train_filtered
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective
from w2s_data.finetune.task import Task, one_hot
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray
from w2s_data.utils.validation import between, one_of, whole
from w2s_data.utils.votes import chance, votes

MOST_ROUNDS = 100  # a chain settles after a few


@dataclass(frozen=True)
class Trust(Method):
    r"""Keep the weak labels of highest trust, learned from gold rows; then let the student teach.

    .. math:: \min_\theta \sum_{i \in K} \mathrm{CE}(\hat w_i, p_\theta(x_i)),\qquad
              K = \text{the share of highest } q_i(\hat w_i) \text{ of each class}

    with q the label posterior and :math:`\hat w_i` the most probable class by the teachers. In the
    next round the student's predictions of the pool take their place, all of it being judged again.

    Parameters
    ----------
    share : float
        Share of each predicted class that is kept, in (0, 1].
    rounds : int
        Students in the chain, each taught by the one before; 1 is the filter alone.
    with_gold : bool
        Train on the gold rows as well, each with the weight of a pool row.

    Notes
    -----
    Needs `gold`, and `posterior` or strong features to fit one to. The posterior is the same in all
    rounds. Rows on which all teachers abstain are left out of the first. Diagnostics, of the last
    round: `trust` (S, N), NaN without a label; `kept` (S, N), False on gold rows; `kept_share`
    (S,) of the pool, and with groups `group_share` beside `pool_group_share`. Controls, of the last
    round: `random_subset`, `teacher_confidence`; in a chain also `first_round`.

    References
    ----------
    Uzunoglu, Zhang, Khashabi, *Trust Functions: Near-Lossless Weak-to-Strong Generalization by
    Learning When to Trust the Weak Teacher*, ICML 2026. Their trust is a network on hidden states.
    """

    name = "trust"
    uses_gold = True
    own_targets = True
    constraints: ClassVar = {
        "share": between(0, 1, closed="right"),
        "rounds": whole(1, MOST_ROUNDS),
        "with_gold": one_of(True, False),
    }

    share: float = 0.6
    rounds: int = 1
    with_gold: bool = True

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        teacher = np.broadcast_to(task.labels(), (task.n_seeds, *task.posterior.shape))
        added, rounds = self._added(task), []
        for number in range(1, self.rounds):
            _, _, kept = self._choose(task, teacher)
            objective = LabelObjective(task.seed_tensor(_labels(task, teacher)))
            rounds.append(task.train(objective, stage=f"round {number}", rows=kept | added))
            teacher = task.pool_proba(rounds[-1])
        codes, trust, kept = self._choose(task, teacher)
        objective = LabelObjective(task.seed_tensor(_labels(task, teacher)))
        model, controls = train_filtered(task, kept, objective, codes, always=added)
        if rounds and task.settings.controls:
            controls["first_round"] = rounds[0]
        return Outcome(model, {"trust": trust, **task.describe_kept(kept)}, controls)

    def targets(self, task: Task) -> tuple[BoolArray, FloatArray]:
        """Return the rows of the first round and their labels."""
        teacher = task.labels()[None]
        *_, kept = self._choose(task, teacher)
        return kept[0] | self._added(task), _labels(task, teacher)[0]

    def _choose(self, task: Task, teacher: FloatArray) -> tuple[IntArray, FloatArray, BoolArray]:
        """Return codes, trust and whether it is kept of the labels of a teacher (S, N, C)."""
        codes = np.where(task.gold >= 0, -1, votes(teacher))
        trust = chance(task.posterior, codes)
        share = np.full(len(teacher), self.share)
        return codes, trust, best_shares(trust, share, codes, task.pool.n_classes)

    def _added(self, task: Task) -> BoolArray:
        """Return the gold rows (N,) that are trained on."""
        return np.asarray((task.gold >= 0) & self.with_gold)


def _labels(task: Task, teacher: FloatArray) -> FloatArray:
    """Return gold labels where there are any, else the teacher's (S, N, C), one-hot."""
    return np.where(task.gold[:, None] >= 0, task.gold_labels(), one_hot(teacher))
