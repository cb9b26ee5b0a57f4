"""All sections of a run whose labels are values, under the same names as for classes."""

from __future__ import annotations

from typing import Any

from w2s_data.stages.graph import NEXT, PLAN, SELECT
from w2s_data.utils.stage import Stage
from w2s_reports.artefacts import Artefacts
from w2s_reports.summary import (
    forecast,
    overlap,
    plan,
    projection,
    provenance,
    selection,
    shift,
    sources,
    sweeps,
)
from w2s_reports.summary.labels import summarize_labels
from w2s_reports.summary.values.examples import value_examples
from w2s_reports.summary.values.fit import summarize_fit
from w2s_reports.summary.values.forecast import summarize_forecast
from w2s_reports.summary.values.gain import summarize_gain
from w2s_reports.summary.values.groups import summarize_groups
from w2s_reports.summary.values.posterior import summarize_posterior
from w2s_reports.summary.values.teachers import summarize_teachers
from w2s_reports.summary.values.verdict import give_verdict


def value_sections(artefacts: Artefacts) -> dict[str, Any]:
    """Build the sections of one run whose labels are values."""
    gain = summarize_gain(artefacts)
    sections = {
        "gain": gain,
        "forecast": summarize_forecast(artefacts),
        "fit": summarize_fit(artefacts),
        "posterior": summarize_posterior(artefacts),
        "reading": overlap.reading(artefacts),
        "teachers": summarize_teachers(artefacts),
        "overlap": overlap.overlap(artefacts),
        "projection": projection.projection(artefacts),
        "sources": sources.summarize_sources(artefacts),
        "groups": sources.slices(artefacts, "group"),
        "selection": _applied(SELECT) or selection.summarize_selection(artefacts),
        "group_analysis": summarize_groups(artefacts),
        "discrepancy": forecast.summarize_discrepancy(artefacts, gain),
        "plan": _applied(PLAN) or plan.summarize_plan(artefacts),
        "labels": _applied(NEXT) or summarize_labels(artefacts),
        "shift": shift.summarize_shift(artefacts),
        "sweeps": sweeps.summarize_sweeps(artefacts),
        "examples": value_examples(artefacts),
        "provenance": provenance.provenance(artefacts),
    }
    facts = {
        "version": artefacts.manifest.get("version"),
        "data": provenance.describe_data(artefacts),
    }
    known = facts | sections
    verdict = give_verdict(known, artefacts.outdated_results, artefacts.path)
    return facts | {"verdict": verdict} | sections


def _applied(stage: Stage) -> dict[str, Any] | None:
    """Return the reason why a stage does not apply to values, as a section; None if it does."""
    return {"hint": f"Not for values: {stage.no_values}."} if stage.no_values else None
