"""Files of a run by name, each with the models of its content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.errors import unknown
from w2s_data.summaries.forecasting import (
    DiscrepancySummary,
    ForecastSummary,
    ValueForecastSummary,
)
from w2s_data.summaries.grouping import GroupsSummary, SpuriousSummary
from w2s_data.summaries.labelling import (
    NextSummary,
    RelabelledSummary,
    RoundsSummary,
    TeachersSummary,
)
from w2s_data.summaries.planning import PlanSummary
from w2s_data.summaries.scoring import (
    OverlapSummary,
    PosteriorSummary,
    ReliabilitySummary,
)
from w2s_data.summaries.selecting import ProjectionSummary, SelectionSummary, SweepSummary
from w2s_data.summaries.shifting import ShiftSummary
from w2s_data.summaries.training import GainSummary
from w2s_data.summaries.value_scoring import ValueOverlapSummary, ValuePosteriorSummary
from w2s_data.summaries.value_training import ValueGainSummary

# By the file's name without its suffix, in the order of the stages. The second of two models is for
# labels that are values.
MODELS: Mapping[str, tuple[type[Any], ...]] = {
    "teachers": (TeachersSummary,),
    "overlap": (OverlapSummary, ValueOverlapSummary),
    "posterior": (PosteriorSummary, ValuePosteriorSummary),
    "reliability": (ReliabilitySummary,),
    "shift": (ShiftSummary,),
    "forecast": (ForecastSummary, ValueForecastSummary),
    "discrepancy": (DiscrepancySummary,),
    "selection": (SelectionSummary,),
    "gain": (GainSummary, ValueGainSummary),
    "groups": (GroupsSummary,),
    "spurious": (SpuriousSummary,),
    "next": (NextSummary,),
    "plan": (PlanSummary,),
    "relabelled": (RelabelledSummary,),
    "sweep": (SweepSummary,),
    "projection": (ProjectionSummary,),
    "rounds": (RoundsSummary,),
}


def models_of(name: str) -> tuple[type[Any], ...]:
    """Return the models of a file, named without its suffix; KeyError lists the valid names.

    >>> [model.__name__ for model in models_of("gain")]
    ['GainSummary', 'ValueGainSummary']
    """
    if name not in MODELS:
        raise KeyError(unknown("summary", name, list(MODELS)))
    return MODELS[name]


def model_of(name: str, content: Mapping[str, Any]) -> type[Any]:
    """Return the model that a file's content follows.

    >>> model_of("gain", {"task": "regression"}).__name__
    'ValueGainSummary'
    """
    return models_of(name)[-1 if content.get("task") == "regression" else 0]


def name_of(model: type[Any]) -> str:
    """Return the name, without its suffix, of the file that a model describes.

    >>> name_of(GainSummary)
    'gain'
    """
    for name, models in MODELS.items():
        if model in models:
            return name
    raise KeyError(f"{model.__name__} is not the model of a summary")
