"""From a run's artefacts to one plain dictionary: every number the report shows, and no drawing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.artefacts import Artefacts, parsing_results, read_artefacts, stage_artefacts
from w2s_reports.gate import check, parse
from w2s_reports.summary import (
    comparison,
    examples,
    forecast,
    gain,
    groups,
    labels,
    overlap,
    plan,
    posterior,
    projection,
    provenance,
    selection,
    shift,
    sources,
    sweeps,
    teachers,
    verdict,
)
from w2s_reports.summary.values.sections import value_sections

# Raised whenever a key of the summary changes its meaning.
SCHEMA = 1


def summarize(
    run: str | os.PathLike[str] | Any,
    *,
    baseline: str | os.PathLike[str] | Any = None,
    fail_on: Sequence[str] = (),
) -> dict[str, Any]:
    """Summarize a run as plain JSON types, whichever of its stages are finished.

    Parameters
    ----------
    run : path, object with a `path`, or Artefacts
        The run directory, or its content if it was read before.
    baseline : path or object with a `path`, optional
        Another run, to stand beside this one.
    fail_on : sequence of str
        Conditions to check, such as "density<0.2"; see `w2s_reports.gate`.

    Returns
    -------
    dict
        Keys `schema`, `version`, `data`, `verdict`, `gain`, `forecast`, `posterior`, `reading`,
        `teachers` (None for a single teacher), `overlap`, `projection`, `sources`, `groups`,
        `selection`, `group_analysis`, `discrepancy`, `plan`, `labels`, `shift`, `sweeps` (None
        without one), `examples`, `provenance`, `comparison` (None without a baseline) and `gate`.
        Shares and densities are in [0, 1]; an undefined number is None. A stage that was not run
        has a `hint`, the command that adds it, instead of numbers.

    Raises
    ------
    RunError
        If there is no run, or its tables disagree.
    GateError
        If a condition cannot be read, or names a metric that does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from w2s_data import Run, load_dataset
    >>> from w2s_data.stages import score_stage
    >>> data = load_dataset("example:gaussian_overlap?n=200")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(f"{folder}/run", data)
    ...     _ = score_stage(run)
    ...     summary = summarize(run)
    >>> round(summary["overlap"]["density"]["value"], 2)
    0.28
    """
    artefacts = run if isinstance(run, Artefacts) else read_artefacts(run)
    conditions = [parse(text) for text in ([fail_on] if isinstance(fail_on, str) else fail_on)]
    summary = _sections(artefacts)
    compared = None
    if baseline is not None:
        compared = comparison.compare(summary, _sections(read_artefacts(baseline)))
    gate = [outcome.to_dict() for outcome in check(conditions, summary)]
    return {**summary, "comparison": compared, "gate": gate}


def summarize_stage(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Summarize what one stage returned, in the sections that the report has on it.

    No file is read, so that parts that need a table (examples, seeds, curves) are empty.
    """
    return _sections(stage_artefacts(name, result))


def _sections(artefacts: Artefacts) -> dict[str, Any]:
    """Build the sections of one run; RunError if a file is not as this version writes it."""
    with parsing_results(artefacts.path):
        if artefacts.is_regression:
            return {"schema": SCHEMA, **value_sections(artefacts)}
        measured = gain.summarize_gain(artefacts)
        sections = {
            "gain": measured,
            "forecast": forecast.summarize_forecast(artefacts),
            "posterior": posterior.summarize_posterior(artefacts),
            "reading": overlap.reading(artefacts),
            "teachers": teachers.summarize_teachers(artefacts),
            "overlap": overlap.overlap(artefacts),
            "projection": projection.projection(artefacts),
            "sources": sources.summarize_sources(artefacts),
            "groups": sources.slices(artefacts, "group"),
            "selection": selection.summarize_selection(artefacts),
            "group_analysis": groups.summarize_groups(artefacts, measured),
            "discrepancy": forecast.summarize_discrepancy(artefacts, measured),
            "plan": plan.summarize_plan(artefacts),
            "labels": labels.summarize_labels(artefacts),
            "shift": shift.summarize_shift(artefacts),
            "sweeps": sweeps.summarize_sweeps(artefacts),
            "examples": examples.examples(artefacts),
            "provenance": provenance.provenance(artefacts),
        }
        facts = {
            "schema": SCHEMA,
            "version": artefacts.manifest.get("version"),
            "data": provenance.describe_data(artefacts),
        }
        known = facts | sections
        outdated = artefacts.outdated_results
        # The advice is made last, of all other sections, and read first.
        return facts | {"verdict": verdict.give_verdict(known, outdated, artefacts.path)} | sections
