"""Groups, associations and advice as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.formats import count, number
from w2s_reports.markdown.slices import slices
from w2s_reports.markdown.tables import escape, plain_number, points, quoted, share, table


def groups(found: Mapping[str, Any], scored: Mapping[str, Any]) -> list[str]:
    """The groups' table, associations and advice; the overlap alone where that was not run."""
    if found["hint"]:
        return [*slices("Groups", "Group", scored), found["hint"]]
    rows = [
        [
            escape(row["name"]),
            count(row["n"]),
            share(row["eta_labelled"]),
            share(row["eta_pool"]),
            share(row["overlap_density"]),
            share(row["weak_accuracy"]),
            *([share(row["student_accuracy"])] if found["student"] else ()),
            number(row["calibration_error"]["value"]),
            share(row["purity"]),
            count(row["n_duplicates"]),
            count(row["n_leaking"]),
        ]
        for row in found["rows"]
    ]
    header = ["Group", "Items", "Of the labelled", "Of the pool", "Overlap density"]
    header += ["Weak accuracy", *(["Student accuracy"] if found["student"] else ())]
    header += ["Calibration error", "Reliability", "Near-duplicates", "Leaking"]
    predicted = found["prediction"]
    parts = ["## Groups", *quoted([*found["warnings"], *predicted["warnings"]])]
    parts += [escape(found["lead"]), *_worst(found["worst"]), table(header, rows)]
    advice = [row["text"] for row in predicted["advice"]] or [predicted["reading"]]
    parts.append("\n".join(f"- {escape(text)}" for text in advice))
    if found["association"]:
        rows = [
            [f"{row['split']}, {row['labels']}", count(row["n"]), plain_number(row["cramers_v"])]
            for row in found["association"]
        ]
        parts.append(table(["Group and label", "Items", "Cramér's V"], rows))
    return parts


def _worst(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a measure: the groups that are clearly worst by it, and what to do."""
    lines = []
    for measure in found:
        spell = points if measure["unit"] == "points" else share
        whole = {"value": measure["whole"], "low": None, "high": None}
        said = ", ".join(f"{escape(row['name'])} {spell(row)}" for row in measure["groups"])
        if measure["n_clear"] > len(measure["groups"]):
            said += f" and {measure['n_clear'] - len(measure['groups'])} more"
        said = said or f"no group of {count(measure['n'])} clearly"
        if measure["whole"] is not None:
            said += f"; on the whole {spell(whole)}"
        lines.append(f"- {escape(measure['title'])}: {said}. {escape(measure['advice'])}".rstrip())
    return ["\n".join(lines)] if lines else []
