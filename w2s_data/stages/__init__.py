"""The stages of a run; each reads the run directory, adds to it, and can be resumed."""

from __future__ import annotations

from w2s_data.stages.embedding import FeatureInput, Role, embed_stage
from w2s_data.stages.forecasting import forecast_stage
from w2s_data.stages.grouping import groups_stage
from w2s_data.stages.scoring import check_scored, score_stage, teach, weak_proba_of

__all__ = [
    "FeatureInput",
    "Role",
    "check_scored",
    "embed_stage",
    "forecast_stage",
    "groups_stage",
    "score_stage",
    "teach",
    "weak_proba_of",
]
