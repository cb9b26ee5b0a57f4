"""Rounds of labelling: take in filled tables, and keep what the run had measured before each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.filled import Filled, Label, Labelling, add_labels, read_filled
from w2s_data.errors import InputError, listing
from w2s_data.run import Run
from w2s_data.stages.graph import GAIN, GAIN_SUMMARY, POSTERIOR_SUMMARY, SCORE

LEAST_POOL = 2  # rows that scoring needs, since a label posterior of one is not defined
CHOSEN = "were chosen because the models doubt them"
logger = logging.getLogger("w2s_data")


def labelled_by(
    dataset: W2SDataset,
    tables: Sequence[Any],
    run: Run | None,
    *,
    base: str,
    memory: str | None = None,
) -> tuple[W2SDataset, Labelling]:
    """Add the labels that a run took in before, and those of new tables.

    Each table with a label that is new makes a round; the accuracies that the run has are kept with
    the round before it.

    Parameters
    ----------
    dataset : W2SDataset
        With or without the labels of earlier rounds.
    tables : sequence of paths or DataFrames
    run : Run or None
        The run that is there for this data set.
    base : str
        Fingerprint of the data set before any round.
    memory : str, optional
        Limit, a quarter of which a table may take.

    Raises
    ------
    InputError
        If a table does not fit the data set, contradicts an earlier label, or leaves too few rows
        in the pool.
    """
    rounds = [] if run is None else list(run.labelling().rounds)
    for known in rounds[1:]:
        dataset, _ = add_labels(dataset, Filled(known["table"], known["labels"]))
    n_earlier, n_pool = len(rounds), len(dataset.rows("pool"))
    for table in tables:
        filled = read_filled(table, labels_of(dataset), MemoryLimit.parse(memory))
        before = len(dataset.rows("labelled"))
        dataset, new = add_labels(dataset, filled)
        if not new:
            logger.info("%s: the run has all its labels", filled.name)
            continue
        if not rounds:
            rounds.append(_entry(Filled(None, {}), {}, before))
        if run is not None and rounds[-1]["results"] is None:
            rounds[-1] = rounds[-1] | {"results": measured(run)}
        rounds.append(_entry(filled, new, before + len(new)))
    # A run that took them in could not be scored again, and has no way back.
    if len(rounds) > n_earlier and (left := len(dataset.rows("pool"))) < LEAST_POOL:
        names = listing(known["table"] for known in rounds[n_earlier:] if known["labels"])
        raise InputError(
            f"{names} would leave {left} of the {n_pool:,} rows of the pool without a label, and "
            f"scoring needs {LEAST_POOL} or more: leave the label of {LEAST_POOL} rows empty"
        )
    return _with_note(dataset, rounds), Labelling(base, tuple(rounds))


def labels_of(dataset: W2SDataset) -> tuple[str, ...] | None:
    """Return the classes that a filled table may hold, None where it holds values."""
    return None if dataset.is_regression else dataset.class_names


def _entry(filled: Filled, new: Mapping[str, Label], n_labelled: int) -> dict[str, Any]:
    return {
        "table": filled.name,
        "labels": dict(new),
        "n_chosen": min(filled.n_chosen, len(new)),
        "drawn": sorted(filled.drawn & new.keys()),
        "n_labelled": n_labelled,
        "results": None,
    }


def _with_note(dataset: W2SDataset, rounds: Sequence[Mapping[str, Any]]) -> W2SDataset:
    """Return the data set with a warning about labelled rows that were not drawn at random."""
    n_chosen = sum(known["n_chosen"] for known in rounds)
    notes = tuple(note for note in dataset.notes if CHOSEN not in note)
    if not n_chosen:
        return dataset  # itself, since its fingerprint is known and long to compute
    numbers, off = ("errors", "high") if dataset.is_regression else ("accuracies", "low")
    note = (
        f"warning: {n_chosen:,} of the {rounds[-1]['n_labelled']:,} labelled rows {CHOSEN}: a "
        f"forecast, whose {numbers} are those of the labelled rows, is too {off} for the pool; "
        "test rows are not concerned"
    )
    return replace(dataset, notes=(*notes, note))


def measured(run: Run) -> dict[str, Any] | None:
    """Return the accuracies that a run has measured with its present labels; None without any."""
    results: dict[str, Any] = {}
    stages = run.manifest["stages"]
    if run.follows(SCORE) and POSTERIOR_SUMMARY in stages[SCORE.name]["files"]:
        results |= accuracies_of_pool(run.read_summary(POSTERIOR_SUMMARY))
    if run.follows(GAIN):
        results |= accuracies_at_test(run.read_summary(GAIN_SUMMARY))
    return results or None


def accuracies_of_pool(posterior: Mapping[str, Any]) -> dict[str, Any]:
    """Return the accuracies on the pool of the posterior and of the weak labels, if known.

    Where labels are values they are mean squared errors.
    """
    measure = "mse" if posterior.get("task") == "regression" else "accuracy"
    names = {"posterior": measure, "weak_labels": f"weak_{measure}"}
    return {name: posterior[key] for name, key in names.items() if key in posterior}


def accuracies_at_test(gain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the accuracies on the test items: teacher, gold labels alone, methods' students.

    Where labels are values they are mean squared errors.
    """
    if gain.get("task") == "regression":
        errors = {name: gain[name].get("mse") for name in ("teacher", "labelled_only")}
        return {**errors, "students": {m["name"]: m["mse"] for m in gain["methods"]}}
    level = {"level": gain["level"]}
    students = [s for s in gain["students"] if not s["control_of"]]
    found = {s["name"]: s["scores"]["accuracy"] | level for s in students}
    results: dict[str, Any] = {"students": found}
    for name in ("teacher", "labelled_only"):
        accuracy = gain[name]["scores"].get("accuracy")
        results[name] = None if accuracy is None else accuracy | level
    return results
