"""One function per figure: numbers in, Plotly specification, caption and text alternative out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.stages.graph import TRACE
from w2s_reports.artefacts import Artefacts
from w2s_reports.figures import (
    comparison,
    discrepancy,
    gain,
    groups,
    overlap,
    plan,
    posterior,
    projection,
    selection,
    sweeps,
    verdict,
)
from w2s_reports.figures.base import Figure
from w2s_reports.figures.values import value_figures

__all__ = ["Figure", "build_figures"]


def build_figures(
    artefacts: Artefacts, summary: Mapping[str, Any], points: Mapping[str, Any]
) -> dict[str, Figure]:
    """Build every figure of a run, by name; one that would be empty is left out."""
    trace = artefacts.later.get(TRACE)
    of_labels = value_figures if artefacts.is_regression else _class_figures
    made = (
        *comparison.side_by_side(summary["comparison"]),
        *of_labels(artefacts, summary),
        overlap.confidence_curve(artefacts, summary["overlap"]),
        overlap.alignment_curve(artefacts, summary["overlap"]),
        projection.point_map(artefacts, points, summary),
        groups.densities(summary["sources"], summary["overlap"], artefacts.sureness),
        selection.rounds(summary["selection"], trace),
        selection.posteriors(summary["selection"], trace),
        selection.allocation(summary["selection"]),
        selection.overlap_found(summary["selection"]),
        selection.regret(summary["selection"]),
        groups.shares(summary["group_analysis"]),
        groups.predicted_gain(summary["group_analysis"]),
        discrepancy.spectra(summary["discrepancy"]),
        discrepancy.correlations(summary["discrepancy"]),
        discrepancy.risks(summary["discrepancy"]),
        discrepancy.recovery(summary["discrepancy"]),
        plan.spending(summary["plan"]),
        plan.labels(summary["plan"]),
        *sweeps.figures(summary["sweeps"]),
    )
    return {figure.name: figure for figure in made if figure is not None}


def _class_figures(_: Artefacts, summary: Mapping[str, Any]) -> list[Figure | None]:
    """Build the figures that are about classes."""
    return [
        verdict.accuracies(summary["forecast"], summary["gain"]),
        gain.ranking(summary["gain"]),
        gain.controls(summary["gain"]),
        gain.weights(summary["gain"]),
        posterior.reliability(summary["posterior"]),
    ]
