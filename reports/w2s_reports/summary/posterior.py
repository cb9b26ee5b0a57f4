"""Gold and weak labels joined: whom to trust, and which weak labels are probably wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from w2s_data.posterior.accuracy import BY_CALIBRATION, BY_POOL
from w2s_data.stages.graph import SCORE
from w2s_data.stages.posterior import DOUBTFUL, is_joining_worse
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, format_estimate, name_of, percent, plain
from w2s_reports.items import shown_once
from w2s_reports.summary.parts import estimate, texts

DOUBTFUL_SHOWN = 24  # four pages of six cards
FEWEST_CHECKED = 30  # pool items with a gold label from which a check by them is worth a sentence
AGAIN = f"`{SCORE.command}` adds the chance that each weak label is right."
COUNTS = ("n_gold", "n_pool", "n_known", "n_doubtful", "n_abstained")
NONE_WRONG = (
    "The weak labels alone are right more often than those joined with the gold labels, so that "
    "none of them is called wrong."
)
# Assumptions behind the intervals of the accuracies.
LIMITS = {
    BY_CALIBRATION: (
        "Intervals are for pool items like the gold ones: where the gold items were chosen "
        "otherwise (the easy ones, another source), neither the posterior nor its intervals hold."
    ),
    BY_POOL: (
        "Intervals are for this pool, wherever the gold items come from, if its labelled items are "
        "a random sample of it."
    ),
}


def summarize_posterior(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize views, accuracies and reliability; `hint` says why there are none."""
    written = artefacts.overlap.get("posterior")
    if written is None:
        return {"hint": AGAIN, "reading": "", "warnings": []}
    if written["unknown"]:
        return {"hint": f"None here: {written['unknown']}.", "reading": "", "warnings": []}
    level = written["level"]
    result: dict[str, Any] = {
        "hint": None,
        **{name: written[name] for name in COUNTS},
        "accuracy_by": written["accuracy_by"],
        "level": level,
        "equal_weights": bool(written["equal_weights"]),
        **{name: estimate(written[name]) for name in ("accuracy", "weak_accuracy", "lead")},
        "calibration_error": plain(written["calibration_error"]),
        "views": [
            {"name": name_of(name), "weight": plain(weight), "about": _about(str(name))}
            for name, weight in written["weights"].items()
        ],
        "reliability": [
            {
                "n": int(row["n"]),
                "confidence": plain(row["confidence"]),
                "accuracy": estimate(_side(row), level),
            }
            for row in written["reliability"]
        ],
        "rows": _rows(written),
        "limits": LIMITS[written["accuracy_by"]],
        **{name: texts(written.get(name)) for name in ("warnings", "notes")},
    }
    voted = estimate(written.get("voted_accuracy"))
    if voted["value"] is not None:  # some items have no weak label
        result["voted_accuracy"] = voted
        result["limits"] += " Weak labels are judged on the items that they label."
    if is_joining_worse(written):
        result |= {"none_wrong": NONE_WRONG, "n_doubtful": 0}
    return result | {"reading": _reading(result), "trusted": _trusted(result)}


def find_doubtful(artefacts: Artefacts) -> dict[str, Any]:
    """List the weak labels of the pool that are more probably wrong than right, worst first."""
    scored = artefacts.scored()
    hint = None
    if "trust" not in scored or not scored["trust"].notna().any():
        hint = summarize_posterior(artefacts)["hint"] or AGAIN
    elif is_joining_worse(artefacts.overlap.get("posterior") or {}):
        hint = NONE_WRONG
    if hint is not None:
        return {"hint": hint, "n": 0, "below": DOUBTFUL, "items": []}
    doubtful = scored.loc[scored["trust"] < DOUBTFUL]
    order = doubtful["trust"].sort_values(kind="stable").index
    return {
        "hint": None,
        "n": len(doubtful),
        "below": DOUBTFUL,
        "reading": _of_doubtful(doubtful, int(scored["trust"].notna().sum())),
        "items": shown_once(artefacts, order, DOUBTFUL_SHOWN),
    }


def _about(name: str) -> str:
    known = {
        "gold labels": "a model of the gold labels alone, on strong features",
        "class means": "the nearest mean of a class of the gold labels, in strong features",
        "student": "a student of the weak labels alone, on strong features",
    }
    return known.get(name, "weak labels")


def _side(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the accuracy of a bin of the reliability curve in the shape of an estimate."""
    return {"value": row["accuracy"], "low": row["accuracy_low"], "high": row["accuracy_high"]}


def _reading(result: Mapping[str, Any]) -> str:
    """Compare the labels of the posterior with the weak labels in one sentence or two."""
    own, weak, lead = (result[name] for name in ("accuracy", "weak_accuracy", "lead"))
    if result["n_known"] == result["n_pool"]:
        return _counted(result)
    voted = result.get("voted_accuracy")
    where = f"the {count(_n_voted(result))} items of the pool with a weak label"
    text = (
        f"Joined with the gold labels of {count(result['n_gold'])} different items, the labels of "
        f"{where if voted else 'the pool'} are expected to be right on "
        f"{format_estimate(voted or own)}"
    )
    if weak["value"] is not None:
        text += f", the weak labels alone on {format_estimate(weak)}"
    if lead["value"] is not None:
        text += f": a lead of {format_estimate(lead, 'points')} points, {_how_sure(lead)}"
    if voted:
        text += (
            f". Those of all {count(result['n_pool'])} items, with or without a weak label, are "
            f"expected to be right on {format_estimate(own)}"
        )
    return f"{text}. {_measured(result)}"


def _counted(result: Mapping[str, Any]) -> str:
    """Compare the labels where all gold labels of the pool are known: nothing is estimated."""
    own, weak = (result[name]["value"] for name in ("accuracy", "weak_accuracy"))
    text = (
        f"All {count(result['n_pool'])} gold labels of the pool are known: joined with "
        f"{count(result['n_gold'])} gold labels, its labels are right on {percent(own)}"
    )
    if voted := result.get("voted_accuracy"):
        return (
            f"{text}; on the {count(_n_voted(result))} items with a weak label they are right on "
            f"{percent(voted['value'])}, the weak labels alone on {percent(weak)}."
        )
    return f"{text}." if weak is None else f"{text}, the weak labels alone on {percent(weak)}."


def _n_voted(result: Mapping[str, Any]) -> int:
    """Count the items of the pool that have a weak label."""
    return int(result["n_pool"] - result["n_abstained"])


def _measured(result: Mapping[str, Any]) -> str:
    """Say how the accuracies were measured."""
    if result["accuracy_by"] == BY_POOL:
        return (
            "Estimated for the whole pool from the "
            f"{count(result['n_known'])} of its items whose gold label is known and from the "
            "stated probabilities of all others (prediction-powered inference), so that these "
            "numbers differ a little from those of the known items alone."
        )
    return "By the posterior's calibration on the held-out gold labels."


def _rows(written: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the accuracies on the pool by who answers, as far as they are known."""
    teachers = written["teacher_accuracies"]
    named = {
        "Gold and weak labels together": written["accuracy"],
        "The same, of items with a weak label": written.get("voted_accuracy"),
        "Weak labels alone": written["weak_accuracy"],
        # A single teacher is the weak labels.
        **({name_of(name): teachers[name] for name in teachers} if len(teachers) > 1 else {}),
        "A student of the weak labels": written["student_accuracy"],
    }
    rows: list[dict[str, Any]] = [
        {"name": name, "accuracy": estimate(value)} for name, value in named.items()
    ]
    return [row for row in rows if row["accuracy"]["value"] is not None]


def _how_sure(lead: Mapping[str, Any]) -> str:
    if None in (lead["low"], lead["high"]) or lead["low"] <= 0 <= lead["high"]:
        return "which may be chance"
    return "more than chance explains" if lead["low"] > 0 else "worse than chance explains"


def _trusted(result: Mapping[str, Any]) -> str:
    """Say whom the posterior trusts, and how many weak labels it doubts."""
    n = _n_voted(result)
    doubted = "All weak models abstain on every pool item."
    if "none_wrong" in result:
        doubted = result["none_wrong"]
    elif n:
        doubted = f"{_doubted(result['n_doubtful'], n)} (trust below {DOUBTFUL:g})."
    weights = {view["name"]: view["weight"] for view in result["views"]}
    if result["equal_weights"] or not any(weights.values()):
        return doubted
    most = max(weights, key=lambda name: weights[name])
    return f"The largest weight is that of {most} ({weights[most]:.2f}). {doubted}"


def _of_doubtful(doubtful: Any, n: int) -> str:
    text = f"{_doubted(len(doubtful), n)}, by gold and weak labels together."
    if len(doubtful) > 1:
        text += " Those come first of which this is surest."
    answers = doubtful["weak_correct"].dropna().to_numpy(bool) if "weak_correct" in doubtful else ()
    if len(answers) >= FEWEST_CHECKED:
        wrong = 1 - float(np.mean(answers))
        text += (
            f" Of the {count(len(answers))} whose gold label is known, {percent(wrong)} are wrong "
            "indeed."
        )
    return text


def _doubted(few: int, n: int) -> str:
    verb = "is" if few == 1 else "are"
    number = (
        f"{count(few)} of {count(n)} weak labels ({percent(few / n)})" if few else "No weak label"
    )
    return f"{number} {verb if few else 'is'} more probably wrong than right"
