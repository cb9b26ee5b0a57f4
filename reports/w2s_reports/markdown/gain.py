"""Methods, references and groups of the measured gain as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.formats import percent
from w2s_reports.markdown.diagnostics import diagnostics
from w2s_reports.markdown.tables import escape, points, share, table


def gain(found: Mapping[str, Any]) -> list[str]:
    """Methods ranked, references, groups."""
    if found["hint"]:
        return ["## Gain", found["hint"]]
    level = percent(found["level"], 0)
    references = [
        f"- {name}: {escape(found[key]['reason']) or share(found[key])}"
        for name, key in (
            ("Teacher", "teacher"),
            ("Ceiling", "ceiling"),
            ("Labelled items only", "labelled_only"),
        )
    ]
    parts = ["## Gain"]
    if found["findings"]:
        parts.append("\n".join(f"- {escape(finding)}" for finding in found["findings"]))
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
        parts += _controls(found["methods"])
        parts.append("\n".join(f"- {m['name']}: {m['text']}" for m in found["meanings"]))
    parts.append("\n".join(references))
    parts += [escape(reason) for reason in found["reasons"]]
    if found["groups"]:
        header = ["Group", "Gain, points", "Teacher", "Student"]
        rows = [
            [escape(g["name"]), points(g["gain"]), share(g["teacher"]), share(g["accuracy"])]
            for g in found["groups"]
        ]
        parts += [f"### {escape(found['groups'][0]['best'])} by group", table(header, rows)]
        methods = found["groups"][0]["gains"]
        if len(methods) > 1:
            header = ["Gain by group, points", *(escape(e["name"]) for e in methods)]
            rows = [[escape(g["name"]), *(points(e) for e in g["gains"])] for g in found["groups"]]
            parts.append(table(header, rows))
    parts += diagnostics(found["diagnostics"])
    parts += [f"Failed: {escape(f['name'])}: {escape(f['reason'])}" for f in found["failures"]]
    return parts


def _controls(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        [
            escape(m["name"]),
            escape(c["name"]),
            points(c["gain"]),
            share(c["accuracy"]),
            points(c["lead"]),
        ]
        for m in methods
        for c in m["controls"]
    ]
    header = ["Method", "Control", "Gain, points", "Accuracy", "The method's lead, points"]
    return [table(header, rows)] if rows else []
