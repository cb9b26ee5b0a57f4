"""Methods, references and groups of the measured gain as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import percent
from w2s_reports.markdown.tables import escape, points, share, table


def gain(found: Mapping[str, Any]) -> list[str]:
    """Methods ranked, references, groups."""
    if found["hint"]:
        return ["## Gain", found["hint"]]
    level = percent(found["confidence"], 0)
    references = [
        f"- {name}: {escape(found[key]['reason']) or share(found[key])}"
        for name, key in (
            ("Teacher", "teacher"),
            ("Ceiling", "ceiling"),
            ("Labelled items only", "labelled_only"),
        )
    ]
    parts = ["## Gain"]
    if found["methods"]:
        header = ["Method", "Rank", f"Gain, points ({level})", f"Accuracy ({level})"]
        header += ["Gap recovered", "Lead over best control, points"]
        rows = [
            [
                escape(m["name"]),
                m["rank_group"],
                points(m["gain"]),
                share(m["accuracy"]),
                "undefined" if m["pgr"]["value"] is None else percent(m["pgr"]["value"], 0),
                f"{points(m['lead'])} over {escape(m['lead']['control'])}" if m["lead"] else "",
            ]
            for m in found["methods"]
        ]
        parts.append(table(header, rows))
    parts.append("\n".join(references))
    parts += [escape(reason) for reason in found["reasons"]]
    if found["groups"]:
        header = ["Group", "Gain, points", "Teacher", "Student"]
        rows = [
            [escape(g["name"]), points(g["gain"]), share(g["teacher"]), share(g["accuracy"])]
            for g in found["groups"]
        ]
        parts += [f"### {escape(found['groups'][0]['best'])} by group", table(header, rows)]
    parts += [f"Failed: {escape(f['name'])}: {escape(f['reason'])}" for f in found["failures"]]
    return parts
