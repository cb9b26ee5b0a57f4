"""The first screen: what the advice costs, its biggest risk, and the next step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from w2s_reports.artefacts import place_of
from w2s_reports.formats import count, price
from w2s_reports.summary.options import capitalized
from w2s_reports.summary.risks import LEVELS, RULE, rank_risks
from w2s_reports.summary.steps import rank_steps

Row = Mapping[str, Any]


def brief(
    result: Row,
    headline: Row | None,
    worth: Row,
    *,
    outdated: Mapping[str, str],
    path: Path,
    noun: str = "labels",
) -> dict[str, Any]:
    """Return cost, risks and steps of the advice that a headline gives.

    `worth` is what the advised option gains over the teacher; `noun` what is learned from, labels
    or values.
    """
    warnings, more = rank_risks(result, outdated, headline)
    advised = headline and headline["advised"]
    return {
        "cost": _cost(advised, result, noun) if advised else None,
        "warnings": warnings,
        "levels": LEVELS,
        "rule": RULE,
        "more": more,
        "steps": rank_steps(result, headline, outdated, place_of(path), worth),
    }


def _cost(option: str, result: Row, noun: str = "labels") -> str:
    """Say what an option takes: labels that are there, training, and money where prices are known.

    `noun` is what is learned from: labels, or values.
    """
    gain, plan = result["gain"], result["plan"]
    if option == "teacher":
        return f"Nothing to train: the weak {noun} are used as they are."
    sizes = [(gain.get("n_labelled"), gain.get("n_pool"))]
    sizes += [(result["forecast"].get("n"), result["forecast"].get("N"))]
    n, pool = next((pair for pair in sizes if None not in pair), (0, 0))
    parts = []
    if option in ("gold", "both"):
        parts.append(f"the {count(n)} gold {noun} of the labelled split")
    if option in ("weak", "both"):
        parts.append(f"weak {noun} of {count(pool)} pool items")
    text = f"{capitalized(' and '.join(parts))}, and training"
    if not gain["hint"] and gain["tuning"] == "head":
        text += " a small head on stored features"
    if not plan["hint"]:
        prices = plan["prices"]
        spent = (option != "weak") * n * prices["gold"] + (option != "gold") * pool * prices["weak"]
        text += f"; at the prices of the plan, {price(spent)} for the {noun}"
    return f"{text}."
