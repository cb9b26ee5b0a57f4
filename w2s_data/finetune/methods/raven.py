"""`raven`: learn the weight of each teacher together with the task."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import Batch, LabelObjective, Model, Objective
from w2s_data.finetune.pool import Pool
from w2s_data.finetune.task import Task
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray
from w2s_data.utils.validation import between, nonnegative, one_of
from w2s_data.utils.votes import abstains, mean_label, votes, voting_teachers

if TYPE_CHECKING:
    from torch import Tensor


# In nats: a teacher that is sure of all would otherwise begin with all the weight.
LEAST_ENTROPY = 0.05
SMALLEST_WEIGHT = 1e-6  # as published: a weight of 0 could never rise again
# `weight_rate` is that of a training of 1,000 steps. Weights travel by rate x steps, so that the
# rate must fall as the number of steps rises.
RATE_STEPS = 1000


@dataclass(frozen=True)
class Raven(Method):
    r"""Learn the student and simplex weights over M >= 2 teachers together.

    .. math:: \min_{\theta, w \in \Delta} \frac1N \sum_i
              \mathrm{CE}\Big(\frac{\sum_m w_m y_{im}}{\sum_m w_m}, p_\theta(x_i)\Big)

    Each step takes one gradient step on both, clamps the weights at 1e-6 and renormalises them. A
    teacher gains weight when its labels are easier to fit in strong features than the mixture's.
    During the first `easy` share of the steps the student trains only on points on which all
    teachers agree, and the weights stay equal.

    Parameters
    ----------
    weight_rate : float
        Learning rate of the weights in a training of 1,000 steps; scaled inversely with the number
        of steps. A third of the default hardly moves them, three times it makes them one-hot.
    easy : float
        Share of the training with agreed points only, in [0, 1); 0 skips it.
    hard : bool
        Compare hard labels. With probabilities the sharpest teacher fits best, often the worst
        (accuracy .66 against .76): use False only for teachers of matched temperature.
    per_sample : bool
        Learn weights for each point, (N, M), instead of one set for all. They move only when their
        point is drawn, by the same rate per pass over the pool.
    start : str
        "even", or "entropy": weights at the start in inverse proportion to a teacher's mean
        entropy (with `per_sample`, to that on the point).
    easy_by : str
        "group" or "source" lets each of `groups` or `sources` keep its share of the loss during the
        easy part, and trains on all points of one without agreement. With "none" the domain on
        which teachers agree most is learned first.

    Notes
    -----
    A teacher that abstains on a point has no part in its mixture. Diagnostics: `weights` (S, M), on
    the simplex, and `weight_path` (S, steps + 1, M), means over the points with `per_sample`, which
    adds `sample_weights` (S, N, M); `agreed`, share of points on which all teachers that vote
    agree. Controls: `mean_ensemble` (equal weights). History:
    `weight_0` ... `weight_(M-1)`.

    References
    ----------
    Jeon, Sobotka, Choi, Brbić, *Weak-to-Strong Generalization under Distribution Shifts*,
    NeurIPS 2025, section 4.
    """

    name = "raven"
    constraints: ClassVar = {
        "weight_rate": nonnegative,
        "easy": between(0, 1, closed="left"),
        "start": one_of("even", "entropy"),
        "easy_by": one_of("none", "group", "source"),
    }

    weight_rate: float = 0.01  # .003 is too slow, from .03 on the weights become one-hot
    easy: float = 0.3  # as published; optional on linear heads
    hard: bool = True
    per_sample: bool = False
    start: Literal["even", "entropy"] = "even"
    easy_by: Literal["none", "group", "source"] = "none"

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        pool = task.pool
        if pool.weak_proba.shape[1] == 1:
            warnings.warn(
                "raven: a single teacher leaves nothing to weight; training is naive",
                DegenerateDataWarning,
                stacklevel=3,
            )
        labels = task.labels(self.hard, per_teacher=True)
        agreed = agreed_rows(votes(labels))
        objective = _MixtureObjective(
            task.tensor(labels),
            task.tensor(~abstains(labels)),
            task.tensor(easy_weights(agreed, pool.sample_weight, self._parts(pool))),
            task.tensor(self._first_weights(pool.weak_proba)).clone(),
            self._rate(task),
            self.easy if agreed.any() else 0.0,
        )
        model = task.train(objective)
        path = objective.path()
        controls: dict[str, Model] = {}
        if task.settings.controls:
            even = LabelObjective(task.tensor(mean_label(labels)))
            controls["mean_ensemble"] = task.train(even, stage="mean ensemble")
        diagnostics = {"weights": path[:, -1], "weight_path": path, "agreed": agreed.mean()}
        if self.per_sample:
            diagnostics["sample_weights"] = objective.weights.cpu().numpy()
        return Outcome(model, diagnostics, controls)

    def _parts(self, pool: Pool) -> AnyArray:
        """Return the parts (N,) that each keep their share at the start: one, unless asked."""
        if self.easy_by == "none":
            return np.zeros(pool.n_rows)
        parts = pool.groups if self.easy_by == "group" else pool.sources
        if parts is None:
            raise InputError(
                f"raven: easy_by={self.easy_by!r} needs the {self.easy_by} of each row, and there "
                "is none"
            )
        return parts

    def _first_weights(self, weak_proba: FloatArray) -> FloatArray:
        """Return weights at the start: (1, M), or (N, M) for each point.

        A teacher that never votes has weight 0, so that it slows down none of the others.
        """
        n_rows, n_teachers, _ = weak_proba.shape
        voting = voting_teachers(weak_proba)
        weights: FloatArray = np.ones((n_rows if self.per_sample else 1, n_teachers))
        if self.start == "entropy":
            weights = inverse_entropy(weak_proba, self.per_sample)
        weights = weights * voting
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def _rate(self, task: Task) -> float:
        """Return the rate of a step, at which weights travel as far whatever the steps."""
        rate = self.weight_rate * RATE_STEPS / task.n_steps
        # A point's own weights move once in a pass over the pool, by their own gradient instead of
        # the mean over a batch.
        return (
            rate * max(1.0, task.pool.n_rows / task.settings.batch_size)
            if self.per_sample
            else rate
        )


def agreed_rows(cast: IntArray) -> BoolArray:
    """Select rows on which all teachers that vote agree, by votes (N, M) with -1 for none.

    >>> agreed_rows(np.array([[1, 1], [0, 1], [-1, 1], [-1, -1]])).tolist()
    [True, False, True, False]
    """
    top = cast.max(axis=1, keepdims=True)
    return np.asarray((top[:, 0] >= 0) & ((cast == top) | (cast < 0)).all(axis=1))


def easy_weights(agreed: BoolArray, weight: FloatArray, groups: AnyArray) -> FloatArray:
    """Weigh agreed rows (N,) so that the mean loss of each group keeps its size.

    >>> easy_weights(np.array([1, 0, 1, 0, 0]) > 0, np.ones(5), np.array([0, 0, 0, 0, 1]))
    array([2., 0., 2., 0., 1.])
    """
    codes = np.unique(groups.astype(str), return_inverse=True)[1]
    kept = np.bincount(codes, weight * agreed)[codes]
    share = np.divide(
        np.bincount(codes, weight)[codes], kept, out=np.ones(len(codes)), where=kept > 0
    )
    return np.where(agreed | (kept == 0), share, 0.0)


def inverse_entropy(weak_proba: FloatArray, per_row: bool) -> FloatArray:
    """Return weights on the simplex, (1, M) or (N, M), in inverse proportion to the entropy.

    The mean entropy of a teacher is that of the rows on which it votes.

    >>> proba = np.array([[[0.5, 0.5], [0.9, 0.1]], [[0.8, 0.2], [0.9, 0.1]]])
    >>> inverse_entropy(proba, per_row=False).round(2)
    array([[0.39, 0.61]])
    """
    logs = np.log(weak_proba, out=np.zeros_like(weak_proba), where=weak_proba > 0)
    entropy = -(weak_proba * logs).sum(axis=2)  # (N, M)
    if not per_row:
        voted = ~abstains(weak_proba)
        count = voted.sum(axis=0)
        highest = np.full(count.shape, np.log(weak_proba.shape[2]))
        entropy = np.divide((entropy * voted).sum(axis=0), count, out=highest, where=count > 0)[
            None
        ]
    inverse = 1 / np.maximum(entropy, LEAST_ENTROPY)
    return np.asarray(inverse / inverse.sum(axis=1, keepdims=True))


class _MixtureObjective(Objective):
    """Cross-entropy to a weighted mixture of labels, with learned weights (S, 1 or N, M)."""

    def __init__(
        self,
        labels: Tensor,
        voted: Tensor,
        easy_weights: Tensor,
        weights: Tensor,
        rate: float,
        easy: float,
    ) -> None:
        self.labels = labels  # (S, N, M, C)
        self.voted = voted  # (S, N, M), 0 where a teacher abstains
        self.easy_weights = easy_weights  # (S, N), of mean 1
        self.weights = weights
        self.rate = rate
        self.easy = easy
        self.voting = weights > 0
        self.per_sample = weights.shape[1] > 1
        self.gradient = weights.new_zeros(weights.shape)
        self._path = [weights.mean(1)]

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        import torch

        logs = logits.log_softmax(-1)
        by_teacher = -(batch.take(self.labels) * logs[:, :, None]).sum(-1)  # (S, B, M)
        voted = batch.take(self.voted)
        weights = voted * (batch.take(self.weights) if self.per_sample else self.weights)
        total = weights.sum(-1, keepdim=True).clamp(min=SMALLEST_WEIGHT)
        mixed = (by_teacher * weights / total).sum(-1)
        if self._is_easy(batch):
            # Points without agreement count 0; the others make up for them in the mean loss.
            return mixed * batch.take(self.easy_weights)
        # The mixture is renormalised, so the gradient of a weight is the excess of that teacher's
        # loss over the mixture's.
        excess = (voted * (by_teacher - mixed[..., None]) / total).detach()
        excess = excess * batch.weight[..., None]
        if self.per_sample:
            seeds = torch.arange(len(batch.rows), device=batch.rows.device)
            self.gradient.index_put_((seeds[:, None], batch.rows), excess, accumulate=True)
        else:
            self.gradient += excess.sum(1, keepdim=True) / batch.size
        return mixed

    def before_step(self) -> None:
        self.gradient.zero_()

    def after_step(self, batch: Batch) -> None:  # noqa: ARG002
        moved = (self.weights - self.rate * self.gradient).clamp(min=SMALLEST_WEIGHT)
        self.weights = moved * self.voting
        self.weights /= self.weights.sum(-1, keepdim=True)
        self._path.append(self.weights.mean(1))

    def record(self) -> dict[str, FloatArray]:
        return {f"weight_{m}": w.cpu().numpy() for m, w in enumerate(self._path[-1].T)}

    def sums(self) -> list[Tensor]:
        return [self.gradient]

    def state(self) -> dict[str, Tensor]:
        import torch

        return {"path": torch.stack(self._path), "weights": self.weights}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._path = list(state["path"].to(self.weights.device))
        self.weights = state["weights"].to(self.weights.device)

    def path(self) -> FloatArray:
        import torch

        return np.asarray(torch.stack(self._path, dim=1).cpu().numpy())

    def _is_easy(self, batch: Batch) -> bool:
        return batch.step < self.easy * batch.n_steps
