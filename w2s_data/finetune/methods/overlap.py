"""`overlap`: train on the points that the overlap detector selects."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from w2s_data.data.regions import Region
from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.finetune.filters import best_rows, class_sizes, share_count, train_filtered
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective
from w2s_data.finetune.task import DETECTOR, Task
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.utils.typing import BoolArray
from w2s_data.utils.validation import between, one_of


@dataclass(frozen=True)
class Overlap(Method):
    r"""Keep the points that carry both an easy and a hard pattern, or prefer them.

    .. math:: \min_\theta \sum_i v_i\, \mathrm{CE}(y_i, p_\theta(x_i)),\qquad
              v_i = 1 \text{ on the chosen points},\ v_i = \mathtt{rest} \text{ elsewhere}

    `OverlapDetector` scores the pool with the strong features and the teachers' mean. Most of the
    gain of such a choice comes from the teacher's confidence: compare it with that control.

    Parameters
    ----------
    by : {"region", "confidence", "alignment"}
        Choose the overlap region, or the `share` of points with the most confident weak label or
        the strongest alignment with the hard-only points.
    floor : float
        Least share of each class, in [0, 1]: where the region holds less of a class that the
        teachers predict, the next best points by alignment fill it up. At 0 classes may vanish.
    share : float
        Share of each class that is chosen unless `by` is "region", in (0, 1]; 0.3 to 0.7 is usual.
    rest : float
        Weight of the other points, in [0, 1]; 0 drops them.
    hard : bool
        Train on the most probable class instead of the probabilities.

    Notes
    -----
    Diagnostics: `kept` (S, N), `kept_share` (S,), and with groups `group_share` beside
    `pool_group_share`. Controls, as many of each class: `random_subset`, `teacher_confidence`. If
    the detector finds no overlap point, all points are kept, with a `DegenerateDataWarning`.

    References
    ----------
    Shin, Cooper, Sala, *Weak-to-Strong Generalization Through the Data-Centric Lens*, ICLR 2025.
    """

    name = "overlap"
    constraints: ClassVar = {
        "by": one_of("region", "confidence", "alignment"),
        "floor": between(0, 1),
        "share": between(0, 1, closed="right"),
        "rest": between(0, 1),
    }

    by: Literal["region", "confidence", "alignment"] = "region"
    # On ten classes the region alone lost 7 points against all points; with .3 it gained 1.
    floor: float = 0.3
    share: float = 0.5
    rest: float = 0.0
    hard: bool = False

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        if task.pool.features is None:
            raise InputError("overlap: strong features are needed; pass features")
        kept = np.stack([self._choose(task, rng) for rng in task.rngs(DETECTOR)])
        objective = LabelObjective(task.tensor(task.labels(self.hard)))
        model, controls = train_filtered(task, kept, objective, task.predicted, rest=self.rest)
        return Outcome(model, task.describe_kept(kept), controls)

    def _choose(self, task: Task, rng: np.random.Generator) -> BoolArray:
        """Select rows (N,) for one seed."""
        # A detector per seed: its anchors are a random sample, so that seeds may differ. Only the
        # thresholds' regions are needed, not the density, which resamples and mixture are for.
        detector = OverlapDetector(
            quantify="count", n_resamples=0, device=task.settings.device, random_state=rng
        )
        detector.fit(task.pool.features, task.labels())
        confidence, alignment = detector.confidence_, detector.alignment_
        # Hard-only points have no alignment: they come last, the most confident of them first.
        score = np.where(np.isnan(alignment), confidence - 2, alignment)
        if self.by == "confidence":
            score = confidence
        codes, n_classes = task.predicted, task.pool.n_classes
        count = share_count(self.share, class_sizes(codes, n_classes))
        if self.by == "region":
            region = detector.regions_ == Region.OVERLAP
            # The region is where alignment is highest, so that a longer list begins with it.
            own = class_sizes(codes[region], n_classes)
            least = np.rint(self.floor * class_sizes(codes, n_classes)).astype(np.int64)
            count = np.maximum(own, least) if region.any() else np.zeros(n_classes, np.int64)
        chosen = best_rows(score, count, codes)
        if chosen.any():
            return chosen
        warnings.warn(
            "overlap: the detector finds no overlap point; training on all points",
            DegenerateDataWarning,
            stacklevel=4,
        )
        return np.ones(task.pool.n_rows, dtype=bool)
