"""The stages of a run; each reads the run directory, adds to it, and can be resumed."""

from __future__ import annotations

from w2s_data.stages.embedding import ROLES, FeatureInput, Role, embed_stage, stored_features
from w2s_data.stages.forecasting import forecast_stage
from w2s_data.stages.grouping import groups_stage
from w2s_data.stages.scoring import (
    check_scored,
    is_scored,
    score_stage,
    teach,
    teachers_of,
    weak_proba_of,
)
from w2s_data.stages.training import gain_stage, methods_from

__all__ = [
    "ROLES",
    "FeatureInput",
    "Role",
    "check_scored",
    "embed_stage",
    "forecast_stage",
    "gain_stage",
    "groups_stage",
    "is_scored",
    "methods_from",
    "score_stage",
    "stored_features",
    "teach",
    "teachers_of",
    "weak_proba_of",
]
