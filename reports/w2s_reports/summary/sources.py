"""Sources side by side: overlap, confidence, weak labels, near-duplicates, cost."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from w2s_data.stages.graph import GROUPS, GROUPS_SUMMARY, SCORE, SELECT, SELECTION
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import (
    MINUS,
    format_estimate,
    has_interval,
    name_of,
    number,
    percent,
    plain,
    price,
)
from w2s_reports.summary.groups import are_prompts
from w2s_reports.summary.parts import estimate, from_columns, named

Row = Mapping[str, Any]
MANY_COPIES = 0.02  # share of a source's items with a near-duplicate from which it is text
FEWEST_RANKED = 4  # sources of which a rank correlation is worth a word
FEW_RANKED = 8  # of which it is still vague
MANY_SOURCES = 20  # from which some lie apart by chance alone
ALIKE, UNLIKE = 0.8, 0.3  # Spearman's correlation of two rankings that agree, that do not
DENSITY_ALONE = "Density alone is no reason to buy: one-sided and noisy sources have much of it."
TO_GROUP = f"`{GROUPS.command}` adds reliability and near-duplicates of each source."
TO_COST = (
    f"`{SELECT.with_options(budget='N', costs='SOURCE=COST')}` adds what an item costs, and how "
    "much overlap that buys."
)


def slices(artefacts: Artefacts, role: str) -> dict[str, Any]:
    """Summarize the overlap in each source or group."""
    overlap = artefacts.overlap
    rows = [
        {
            "name": name_of(row.get("name")) or "(none)",
            "n": int(row.get("n") or 0),
            "density": from_columns(row, "density", overlap.get("level")),
            **{name: plain(row.get(name)) for name in ("hard_only", "easy_only")},
            "weak_accuracy": from_columns(row, "weak_accuracy", overlap.get("level")),
            "weak_mse": estimate(row.get("weak_mse")),
        }
        for row in overlap.get(f"by_{role}") or []
    ]
    command = SCORE.with_options("DATA", **{role: "COLUMN"})
    missing = f"No {role} column was given; `{command}` compares {role}s."
    if not artefacts.is_scored:
        missing = f"`{SCORE.command}` adds the overlap of each {role}."
    return {"rows": rows, "hint": None if rows else missing}


def summarize_sources(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize each source, compare them, and name the commands that add missing numbers."""
    result = slices(artefacts, "source")
    written = {name_of(row.get("name")): row for row in artefacts.overlap.get("by_source") or ()}
    groups = artefacts.later.get(GROUPS_SUMMARY) or {}
    analysed = {name_of(row["source"]): row for row in groups.get("sources") or ()}
    costs = _costs(artefacts.later.get(SELECTION))
    of_prompts = are_prompts(groups)
    rows = [
        _row(
            row,
            written.get(row["name"], {}),
            artefacts.overlap.get("level"),
            analysed.get(row["name"], {}),
            costs.get(row["name"]),
        )
        for row in result["rows"]
    ]
    whole = {
        name: estimate(artefacts.overlap.get(name))["value"]
        for name in ("density", "weak_accuracy")
    }
    agreement = _agreement(rows)
    # There is no selection where labels are values.
    known = ((TO_GROUP, analysed), (TO_COST, costs or artefacts.is_regression))
    missing = [text for text, numbers in known if not numbers]
    return {
        "hint": result["hint"],
        "rows": rows,
        "agreement": agreement,
        "reading": _reading(rows, whole, agreement, artefacts.sureness),
        "advice": _advice(rows, whole, of_prompts) if len(rows) > 1 else [],
        "missing": missing if rows else [],
    }


def _costs(selection: Row | None) -> dict[str | None, float]:
    """Return the cost of an item by source; empty if all cost 1, the default."""
    costs = {
        name_of(row["source"]): float(row["cost"])
        for row in (selection or {}).get("sources") or ()
        if row.get("cost") is not None
    }
    # A cost of 1 for all is the default of the selection, not information.
    return costs if set(costs.values()) - {1.0} else {}


def _row(
    row: Row, written: Row, level: float | None, analysed: Row, cost: float | None
) -> dict[str, Any]:
    """Collect the numbers of one source; None is unknown."""
    density = row["density"]
    bought = {
        key: None if cost is None or density[key] is None else density[key] / cost
        for key in ("value", "low", "high")
    }
    return {
        **row,
        **{
            name: from_columns(written, name, level) for name in ("confident", "confident_accuracy")
        },
        "reliability": estimate(analysed.get("purity")),
        **{name: plain(analysed.get(name)) for name in ("n_duplicates", "n_leaking")},
        "n_items": plain(analysed.get("n")),
        "cost": cost,
        "per_cost": estimate(bought, level),
    }


def _agreement(rows: Sequence[Row]) -> float | None:
    """Compute Spearman's correlation of overlap density and share of confident points."""
    from scipy.stats import rankdata

    pairs = [(r["density"]["value"], r["confident"]["value"]) for r in rows]
    known = np.array([pair for pair in pairs if None not in pair], dtype=np.float64)
    if len(known) < FEWEST_RANKED:
        return None
    ranks = np.column_stack([rankdata(column) for column in known.T])
    # With a constant ranking the correlation is 0 / 0.
    if (ranks == ranks[0]).all(axis=0).any():
        return None  # one of them puts all sources on a level
    return float(np.corrcoef(ranks.T)[0, 1])


def apart(rows: Sequence[Row], name: str, whole: float | None) -> tuple[list[Row], list[Row]]:
    """Select rows whose interval is above, and below a value; the furthest first."""
    if whole is None:
        return [], []
    known = [row for row in rows if has_interval(row[name])]
    above = [row for row in known if row[name]["low"] > whole]
    below = [row for row in known if row[name]["high"] < whole]
    return (
        sorted(above, key=lambda row: -row[name]["low"]),
        sorted(below, key=lambda row: row[name]["high"]),
    )


def _reading(rows: Sequence[Row], whole: Row, agreement: float | None, sureness: str) -> list[str]:
    """Describe which sources differ, and whether overlap adds to confidence."""
    if len(rows) < 2:
        return []
    density = whole["density"]
    text = []
    if density is not None:
        more, fewer = apart(rows, "density", density)
        text.append(_who_lies_apart(more, fewer, density, len(rows)))
        if len(rows) >= MANY_SOURCES and more + fewer:
            text.append(
                f"About {max(1, round(0.05 * len(rows)))} of {len(rows)} sources would differ this "
                "much by chance alone."
            )
    return text + _against_confidence(rows, agreement, sureness)


def _who_lies_apart(more: Sequence[Row], fewer: Sequence[Row], density: float, n: int) -> str:
    spell = functools.partial(_said, column="density")
    whole = f"the whole ({percent(density)})"
    if not more and not fewer:
        return f"No source holds clearly more or less overlap than {whole}: treat all {n} as equal."
    parts = []
    if more:
        parts.append(f"Clearly more overlap than {whole}: {named(more, spell)}")
    if fewer:
        lead = "clearly less" if more else f"Clearly less overlap than {whole}"
        parts.append(f"{lead}: {named(fewer, spell)}")
    rest = n - len(more) - len(fewer)
    if rest:
        others = "the other one does" if rest == 1 else f"the other {rest} do"
        parts.append(f"{others} not differ significantly")
    return "; ".join(parts) + "."


def _said(row: Row, column: str) -> str:
    unit = "density" if column == "density" else "share"
    return f"{row['name']} {format_estimate(row[column], unit)}"


def _against_confidence(rows: Sequence[Row], agreement: float | None, sureness: str) -> list[str]:
    """Compare the ranking by density with that by margin, or confidence where labels are values."""
    known = [
        row for row in rows if None not in (row["density"]["value"], row["confident"]["value"])
    ]
    if len(known) < 2:
        return []
    if agreement is None:
        first, other = (max(known, key=_column(name))["name"] for name in ("density", "confident"))
        if first == other:
            return [f"The {sureness} alone puts the same source first: {first}."]
        return [f"Overlap density puts {first} first, the {sureness} alone {other}."]
    only = "only " if len(known) < FEW_RANKED else ""
    how = f"(Spearman {number(agreement, 2)} over {only}{len(known)} sources)".replace("-", MINUS)
    if agreement >= ALIKE:
        return [
            f"Ranked by the {sureness} alone the sources come in much the same order {how}: here "
            f"overlap density says little that the {sureness} does not say."
        ]
    if agreement > UNLIKE:
        return [
            f"Ranked by the {sureness} alone the order of the sources is similar only partly {how}."
        ]
    return [
        f"Ranked by the {sureness} alone the sources come in another order {how}: overlap density "
        f"says something else than the {sureness}."
    ]


def _column(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]["value"]


def _advice(rows: Sequence[Row], whole: Row, of_prompts: bool) -> list[str]:
    """Advise on sources with wrong labels, near-duplicates, and much overlap for their cost.

    Pairs with like prompts are not paid for twice, as their responses differ.
    """
    text = []
    _, wrong = apart(rows, "weak_accuracy", whole["weak_accuracy"])
    if wrong:
        spell = functools.partial(_said, column="weak_accuracy")
        text.append(
            f"Look first at where weak labels are wrong more often than on the whole "
            f"({percent(whole['weak_accuracy'])}): {named(wrong, spell)}."
        )
    copied = [row for row in rows if _copies(row) >= MANY_COPIES and not of_prompts]
    if copied:
        copied.sort(key=lambda row: -_copies(row))
        spelled = named(copied, lambda row: f"{row['name']} {percent(_copies(row))}")
        text.append(f"Remove near-duplicates, which are paid for twice: {spelled} of the items.")
    leaking = sum(row["n_leaking"] or 0 for row in rows)
    if leaking and of_prompts:
        text.append(f"Put the {leaking:,} pairs that share a prompt across splits into one split.")
    elif leaking:
        text.append(f"Put the {leaking:,} leaking items into one split with their near-duplicates.")
    return text + _best_value(rows, wrong)


def _best_value(rows: Sequence[Row], wrong: Sequence[Row]) -> list[str]:
    """Name the source with most overlap per cost, leaving out those with wrong labels."""
    # Cheap overlap with wrong labels is no bargain.
    priced = [row for row in rows if row["per_cost"]["value"] is not None]
    sound = [row for row in priced if row not in wrong]
    if not sound:
        return []
    first, best = (max(result, key=_column("per_cost")) for result in (priced, sound))
    text = (
        f"Per unit of cost, {best['name']} brings most overlap: "
        f"{number(best['per_cost']['value'], 2)} points for 1, at {price(best['cost'])} an item"
    )
    if first is not best:
        bought = number(first["per_cost"]["value"], 2)
        text += f" ({first['name']} {bought}, but with the worse weak labels)"
    return [f"{text}."]


def _copies(row: Row) -> float:
    """Return the share of the items with a near-duplicate."""
    return (row["n_duplicates"] or 0) / row["n_items"] if row["n_items"] else 0.0
