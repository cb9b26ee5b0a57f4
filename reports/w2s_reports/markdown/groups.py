"""Groups, associations and advice as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import count, number
from w2s_reports.markdown.slices import slices
from w2s_reports.markdown.tables import escape, plain_number, quoted, share, table


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
            count(row["n_duplicates"]),
            count(row["n_leaking"]),
        ]
        for row in found["rows"]
    ]
    header = ["Group", "Items", "Of the labelled", "Of the pool", "Overlap density"]
    header += ["Weak accuracy", *(["Student accuracy"] if found["student"] else ())]
    header += ["Calibration error", "Near-duplicates", "Leaking"]
    predicted = found["prediction"]
    parts = ["## Groups", *quoted([*found["warnings"], *predicted["warnings"]])]
    parts += [escape(found["lead"]), table(header, rows)]
    advice = [row["text"] for row in predicted["advice"]] or [predicted["reading"]]
    parts.append("\n".join(f"- {escape(text)}" for text in advice))
    if found["association"]:
        rows = [
            [f"{row['split']}, {row['labels']}", count(row["n"]), plain_number(row["cramers_v"])]
            for row in found["association"]
        ]
        parts.append(table(["Group and label", "Items", "Cramér's V"], rows))
    return parts
