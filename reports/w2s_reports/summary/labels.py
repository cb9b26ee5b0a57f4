"""Labels of persons: the rounds so far, the rows to label next, and the labels to train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_data.stages.graph import GAIN, GAIN_SUMMARY, NEXT, NEXT_SUMMARY, RELABELLED_SUMMARY, SCORE
from w2s_data.stages.rounds import accuracies_at_test, accuracies_of_pool
from w2s_data.utils.stage import ROUNDS
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, percent, plain, significant
from w2s_reports.summary.parts import estimate, texts

MOST_STUDENTS = 3  # columns of a table of rounds, beside these
ACCURACIES = ("posterior", "weak_labels", "teacher", "labelled_only")


def summarize_labels(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize rounds and the next rows, or name the command that chooses them."""
    rounds = _rounds(artefacts)
    # A choice by earlier labels has served: its table was filled in, or is no longer the best.
    chosen = None if NEXT.name in artefacts.outdated else artefacts.later.get(NEXT_SUMMARY)
    relabelled = artefacts.later.get(RELABELLED_SUMMARY)
    known = rounds or chosen is not None or relabelled is not None
    return {
        "hint": None if known else NEXT.hint(),
        "next_hint": NEXT.hint(),
        "rounds": rounds,
        "students": _students(rounds, -1 if artefacts.is_regression else 1),
        "level": next((r["level"] for r in reversed(rounds) if r["level"] is not None), None),
        "next": None if chosen is None else _next(chosen),
        "relabelled": None if relabelled is None else _relabelled(relabelled),
    }


def _rounds(artefacts: Artefacts) -> list[dict[str, Any]]:
    """Return one record per round; the last has the results that the run has now."""
    recorded = (artefacts.later.get(ROUNDS) or {}).get("rounds") or ()
    rounds = [_round(number, known) for number, known in enumerate(recorded)]
    if rounds:
        rounds[-1] |= _results(_present(artefacts))
    return rounds


def _round(number: int, known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "number": number,
        "table": known["table"],
        "added": len(known["labels"]),
        "n_labelled": plain(known["n_labelled"]),
        **_results(known["results"] or {}),
    }


def _present(artefacts: Artefacts) -> dict[str, Any]:
    """Return the accuracies of the run as it is; none of a stage that is out of date."""
    posterior = artefacts.overlap.get("posterior")
    gain = artefacts.later.get(GAIN_SUMMARY)
    results: dict[str, Any] = {}
    if posterior is not None and SCORE.name not in artefacts.outdated:
        results |= accuracies_of_pool(posterior)
    if gain is not None and GAIN.name not in artefacts.outdated:
        results |= accuracies_at_test(gain)
    return results


def _results(found: Mapping[str, Any]) -> dict[str, Any]:
    students = {str(name): estimate(e) for name, e in (found.get("students") or {}).items()}
    accuracies = {name: estimate(found.get(name)) for name in ACCURACIES}
    levels = [e["level"] for e in (*accuracies.values(), *students.values()) if e["level"]]
    return {**accuracies, "by_student": students, "level": levels[0] if levels else None}


def _students(rounds: Sequence[Mapping[str, Any]], sign: int) -> list[str]:
    """Return the students with a column: the best of the latest round that has any.

    `sign` is 1 for accuracies and -1 for errors.
    """
    measured = [known["by_student"] for known in rounds if known["by_student"]]
    if not measured:
        return []
    students = [name for name in measured[-1] if name not in ACCURACIES]  # a method may be one
    best = sorted(students, key=lambda name: -sign * (measured[-1][name]["value"] or 0))
    return best[:MOST_STUDENTS]


def _next(result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "reading": _reading(result),
        **{name: plain(result[name]) for name in ("round", "n", "n_pool", "doubt", "pool_doubt")},
        "by_class": _counts(result["by_class"]),
        "by_source": _counts(result["by_source"]),
        "warnings": texts(result["warnings"]),
    }


def _reading(result: Mapping[str, Any]) -> str:
    if result.get("purpose") == "shift":
        return _reading_of_shift(result)
    if not result["by_posterior"]:
        return (
            "The run has no gold labels to learn from, so the rows are drawn at random: they also "
            "measure how good the weak labels are."
        )
    if result.get("task") == "regression":
        return (
            f"The posterior's values are off by {significant(result['doubt'])} in these rows, by "
            f"their own standard errors, and by {significant(result['pool_doubt'])} in the pool. "
            "Each stands for rows like it, so they are no random sample: an error measured on them "
            "is too large."
        )
    return (
        f"The posterior's guess is wrong in {percent(result['doubt'], 0)} of these rows, by its "
        f"own account, and in {percent(result['pool_doubt'], 0)} of the pool. Each stands for rows "
        "like it, so they are no random sample: an accuracy measured on them is too low."
    )


def _reading_of_shift(result: Mapping[str, Any]) -> str:
    """Say what the labelled rows are worth for the pool, before and after."""
    found = result["shift"]
    if not result["n"]:
        return f"No item is chosen, as there is no shift to make up for: {found['reason']}"
    before, after = found["before"], found["after"]
    text = (
        f"For the pool the {count(result['n_labelled'])} labelled items are worth about "
        f"{count(round(before['effective_size']))}, and {percent(before['uncovered'], 0)} of it is "
        f"of kinds that they lack. With labels of these {count(result['n'])}, all of them should "
        f"be worth about {count(round(after['effective_size']))} and lack "
        f"{percent(after['uncovered'], 0)}"
    )
    if found["n_needed"] is None:
        text += ", too little for a forecast to hold surely: label more"
    return f"{text}. This is simulated with the density ratio, and counts as a guess."


def _counts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": str(row["name"]), "chosen": plain(row["chosen"]), "pool": plain(row["pool"])}
        for row in rows
    ]


def _relabelled(result: Mapping[str, Any]) -> dict[str, Any]:
    reasons = [{"why": str(row["why"]), "n": plain(row["n"])} for row in result["by_reason"]]
    return {"n": plain(result["n"]), "weight": plain(result["total_weight"]), "by_reason": reasons}
