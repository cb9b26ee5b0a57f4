"""From a run's artefacts to one plain dictionary: every number the report shows, and no drawing."""

from __future__ import annotations

import os
from typing import Any

from w2s_reports.artefacts import Artefacts, read_artefacts
from w2s_reports.summary import (
    data,
    discrepancy,
    examples,
    forecast,
    gain,
    groups,
    overlap,
    projection,
    provenance,
    selection,
    slices,
    verdict,
)

SCHEMA = 1


def summarize(run: str | os.PathLike[str] | Any) -> dict[str, Any]:
    """Summarise a scored run as plain JSON types.

    Parameters
    ----------
    run : path or object with a `path`
        The run directory.

    Returns
    -------
    dict
        Keys `schema`, `version`, `data`, `verdict`, `gain`, `forecast`, `reading`, `overlap`,
        `projection`, `sources`, `groups`, `selection`, `group_analysis`, `discrepancy`,
        `examples` and `provenance`. Shares and densities are in [0, 1]; an undefined number is
        None. A stage that was not run has a `hint` instead of numbers.

    Raises
    ------
    RunError
        If the directory is missing or was not scored.

    Examples
    --------
    >>> import tempfile
    >>> from w2s_data import LinearProbe, OverlapDetector, Run, load_dataset
    >>> from w2s_data.stages import embed_stage, score_stage
    >>> data = load_dataset("example:gaussian_overlap?n=200")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(f"{folder}/run", data)
    ...     features = embed_stage(run, data, {})
    ...     _ = score_stage(run, data, features, OverlapDetector(random_state=0), LinearProbe())
    ...     summary = summarize(run)
    >>> round(summary["overlap"]["density"]["value"], 2)
    0.28
    """
    return summarize_artefacts(read_artefacts(run))


def summarize_artefacts(artefacts: Artefacts) -> dict[str, Any]:
    """Build the summary, one function a section."""
    found = {
        "gain": gain.summarize_gain(artefacts),
        "forecast": forecast.summarize_forecast(artefacts),
        "reading": overlap.reading(artefacts),
        "selection": selection.summarize_selection(artefacts),
        "group_analysis": groups.summarize_groups(artefacts),
        "discrepancy": discrepancy.summarize_discrepancy(artefacts),
    }
    return {
        "schema": SCHEMA,
        "version": artefacts.manifest.get("version"),
        "data": data.data(artefacts),
        "verdict": verdict.give_verdict(found, artefacts.without("projection").outdated),
        **found,
        "overlap": overlap.overlap(artefacts),
        "projection": projection.projection(artefacts),
        "sources": slices.slices(artefacts, "by_source", "source"),
        "groups": slices.slices(artefacts, "by_group", "group"),
        "examples": examples.examples(artefacts),
        "provenance": provenance.provenance(artefacts),
    }
