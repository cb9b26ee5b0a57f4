"""Weak labels of new rows, the chance that they are right, and the rows' regions.

The run keeps no teacher, posterior or detector: they are fitted again to its own items, with the
settings and the seed of its scores, and so are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.regions import Region
from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.posterior import LabelPosterior
from w2s_data.run import Run
from w2s_data.stages.embedding import load_features, required
from w2s_data.stages.graph import SCORE
from w2s_data.stages.posterior import fit_posterior
from w2s_data.stages.scoring import gold_of_types
from w2s_data.stages.weak_labels import WeakLabels
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.votes import chance, mean_label, votes
from w2s_data.utils.warnings import collect_warnings


@dataclass(frozen=True)
class Rescorer:
    """Scores of new rows by what the run's own items were scored with."""

    weak_proba: FloatArray  # (N, C) or (N, M, C) of the new rows
    detector: OverlapDetector
    posterior: LabelPosterior | None
    class_names: tuple[str, ...]

    def columns(self, part: slice, strong: FeatureMatrix | FloatArray) -> dict[str, Any]:
        """Return columns of the table for some rows and their strong features."""
        weak = self.weak_proba[part]
        said = mean_label(weak)
        names, regions = pd.Index(self.class_names), pd.Index([region.label for region in Region])
        scores = self.detector.score_points(strong, said)
        codes = votes(said)
        found: dict[str, Any] = {"weak_label": pd.Categorical.from_codes(codes, names)}
        if self.posterior is not None:
            proba = self.posterior.predict_proba(strong, weak)
            found["vote"] = pd.Categorical.from_codes(proba.argmax(axis=1), names)
            found["trust"] = chance(proba, codes)
        return found | {"region": pd.Categorical.from_codes(scores.regions, regions)}


def make_rescorer(run: Run, own: WeakLabels, weak: FloatArray, compute: Compute) -> Rescorer:
    """Fit posterior and detector as the run did, for `weak` labels of new rows.

    Raise InputError if the new rows have weak labels of other models than the run.
    """
    known = run.dataset()
    recorded = run.manifest["stages"][SCORE.name]["settings"]
    strong = required(load_features(run, compute), "strong")
    if weak.shape[1:] != own.proba.shape[1:]:
        raise InputError(
            f"the weak labels of new rows have shape {weak.shape[1:]} each, those of the run "
            f"{own.proba.shape[1:]}: they are of other weak models"
        )
    with collect_warnings(DegenerateDataWarning):
        detector = OverlapDetector(**recorded["detector"])
        pool = known.rows("pool")
        averaged = own.mean
        detector.fit(
            *(FeatureView(strong, pool), averaged[pool]),
            gold=gold_of_types(known, strong, averaged, detector),
            engine=compute.engine,
        )
        known_names = LabelPosterior().get_params()
        params = {n: v for n, v in recorded["posterior"].items() if n in known_names}
        joined = fit_posterior(LabelPosterior(**params), known, strong, own, compute)
    return Rescorer(weak, detector, joined.fitted, known.class_names)
