"""`crossfit`: train on the points on which teacher and out-of-fold student agree most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from w2s_data.errors import InputError
from w2s_data.finetune.filters import best_shares, train_filtered
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective
from w2s_data.finetune.task import Task
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray
from w2s_data.utils.validation import between, whole

MOST_TRAININGS = 100  # more folds or rounds would train for days and change nothing
PROBABILITY_FLOOR = 1e-6  # keeps the log-odds of a saturated teacher finite


@dataclass(frozen=True)
class CrossFit(Method):
    r"""Judge every label by a student that was not trained on it, and keep those it confirms.

    With c the class that the teacher predicts and l the log-odds of c against the rest, of the
    teacher and of a student cross-fitted over the pool, the score of a point is

    .. math:: s_i = \frac{l_i^T}{\mathrm{rms}(l^T)} + \frac{l_i^S}{\mathrm{rms}(l^S)}

    Inside each predicted class the best share of points is kept: clip(2 agreement - 1,
    `lowest_share`, `highest_share`), with agreement the share of points on which both predict the
    same class. The student is trained on their hard labels.

    Parameters
    ----------
    folds : int
        Folds over the pool, at least 2.
    rounds : int
        Number of selections: from the second on, the cross-fitted student is trained on the points
        kept so far. A second round adds about .3 points of accuracy.
    lowest_share, highest_share : float
        Limits of the kept share, in (0, 1]. With a good teacher raise the lowest share to 0.8:
        there a small choice costs about a point.

    Notes
    -----
    Part of the gain is regularisation: on many classes a stronger penalty gains as much. The
    rest is the lead over the control `l2_x10`, and can be no more than `beyond_l2_x10` (S,), the
    share of the pool that the two label differently. Further diagnostics: `cross_fitted`
    (S, N, C), out-of-fold probabilities; `agreement` (S,); `score` (S, N); `kept` (S, N),
    `kept_share` (S,), and with groups `group_share` beside `pool_group_share`. Controls: `l2_x10`
    (all points, soft labels, ten times the penalty), `random_subset`, `teacher_confidence`.
    """

    name = "crossfit"
    constraints: ClassVar = {
        "folds": whole(2, MOST_TRAININGS),
        "rounds": whole(1, MOST_TRAININGS),
        "lowest_share": between(0, 1, closed="right"),
        "highest_share": between(0, 1, closed="right"),
    }

    folds: int = 5
    rounds: int = 1
    # With these limits it gained 1.5 points (pool 2,000) and 2.7 (pool 400) over all points.
    lowest_share: float = 0.4
    highest_share: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lowest_share > self.highest_share:
            raise InputError(
                f"crossfit: lowest_share must be in (0, highest_share]; got {self.lowest_share!r}"
            )

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        teacher = task.labels()
        codes = teacher.argmax(axis=1)
        objective = LabelObjective(task.tensor(teacher))
        hard = LabelObjective(task.tensor(task.labels(hard=True)))
        kept: BoolArray | None = None
        for number in range(self.rounds):
            cross_fitted = task.cross_fit(hard if number else objective, self.folds, rows=kept)
            agreement = (cross_fitted.argmax(axis=2) == codes).mean(axis=1)
            share = np.clip(2 * agreement - 1, self.lowest_share, self.highest_share)
            score = scaled(log_odds(teacher[None], codes)) + scaled(log_odds(cross_fitted, codes))
            every = np.broadcast_to(task.predicted, score.shape)
            kept = best_shares(score, share, every, task.pool.n_classes)
        assert kept is not None
        model, controls = train_filtered(task, kept, hard, task.predicted)
        diagnostics = {
            "cross_fitted": cross_fitted,
            "agreement": agreement,
            "score": score,
            **task.describe_kept(kept),
        }
        if task.settings.controls:
            # Ten times the penalty gains as much on many classes: the choice must beat it.
            stronger = task.train(objective, stage="l2_x10", penalty=10.0)
            controls["l2_x10"] = stronger
            own, other = (task.pool_proba(each).argmax(axis=2) for each in (model, stronger))
            diagnostics["beyond_l2_x10"] = (own != other).mean(axis=1)
        return Outcome(model, diagnostics, controls)


def log_odds(proba: FloatArray, codes: IntArray) -> FloatArray:
    """Return the log-odds (S, N) of one class per row, from probabilities (S, N, C)."""
    own = np.take_along_axis(proba, codes[None, :, None], axis=2)[..., 0].astype(np.float64)
    own = np.clip(own, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return np.log(own) - np.log1p(-own)


def scaled(values: FloatArray) -> FloatArray:
    """Divide each row by its root mean square; zero where all values are."""
    size = np.sqrt((values**2).mean(axis=1, keepdims=True))
    return np.asarray(np.divide(values, size, out=np.zeros_like(values), where=size > 0))
