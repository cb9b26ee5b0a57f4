"""The summary as Markdown, pleasant in a terminal and in a pull-request comment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from w2s_reports.formats import count, day, duration, interval, number, number_interval, percent

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&!])")


def escape(text: Any) -> str:
    """Text that Markdown shows as it is: one line, no markup, no HTML.

    >>> escape("a|b <b>*c*</b>")
    'a\\\\|b \\\\<b\\\\>\\\\*c\\\\*\\\\</b\\\\>'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def to_markdown(summary: Mapping[str, Any]) -> str:
    """Headings, the sentence, the tables."""
    parts = [
        _header(summary["data"]),
        *_reading(summary["reading"]),
        *_overlap(summary["overlap"]),
        *_slices("Sources", "Source", summary["sources"]),
        *_slices("Groups", "Group", summary["groups"]),
        *_examples(summary["examples"]),
        *_provenance(summary),
    ]
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """An aligned Markdown table: the first column to the left, all others to the right.

    >>> print(table(["Source", "n"], [["web", "12"]]))
    | Source |   n |
    | :----- | --: |
    | web    |  12 |
    """
    lines = [list(header), *map(list, body)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(header))]

    def row(cells: Sequence[str]) -> str:
        pairs = zip(cells, widths, strict=True)
        aligned = [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(pairs)]
        return f"| {' | '.join(aligned)} |"

    rule = [":" + "-" * (w - 1) if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([row(lines[0]), row(rule), *map(row, lines[1:])])


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    spread = interval(low, high)
    return f"{percent(value)} ({spread})" if spread else percent(value)


def _header(data: Mapping[str, Any]) -> str:
    classes = f"{count(data['n_classes'])} classes · " if data["n_classes"] else ""
    return (
        f"# Overlap report: {escape(data['name'])}\n\n"
        f"{count(data['n_items'])} items · {count(data['n_scored'])} scored"
        f" · {classes}{escape(day(data['created']))}"
    )


def _reading(reading: Mapping[str, Any]) -> list[str]:
    parts = ["## Reading"]
    parts += [f"> **Warning:** {escape(warning)}" for warning in reading["warnings"]]
    parts.append(escape(reading["sentence"]))
    parts.append("\n".join(f"- {escape(advice)}" for advice in reading["advice"]))
    return parts


def _overlap(overlap: Mapping[str, Any]) -> list[str]:
    density, level = overlap["density"], percent(overlap["level"], 0)
    parts = [
        "## Overlap",
        f"Overlap density **{percent(density['value'])}**"
        + (f", {level} interval {s}" if (s := interval(density["low"], density["high"])) else ""),
        table(
            ["Region", "Points", "Share", f"{level} interval", "Weak label right"],
            [
                [
                    r["key"],
                    count(r["n"]),
                    percent(r["share"]),
                    interval(r["low"], r["high"]),
                    _with_interval(**_bounds(r["weak_accuracy"])),
                ]
                for r in overlap["regions"]
            ],
        ),
        table(
            ["Threshold", "Value", f"{level} interval"],
            [
                [name, number(t["value"]), number_interval(t["low"], t["high"])]
                for name in ("confidence", "alignment")
                for t in (overlap[f"{name}_threshold"],)
            ],
        ),
    ]
    for key, words in (
        ("weak_accuracy", "all scored points"),
        ("confident_accuracy", "the confident points"),
    ):
        if overlap[key]:
            right = _with_interval(**_bounds(overlap[key]))
            parts.append(f"Weak accuracy on {words}: {right}")
    return parts


def _bounds(estimate: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: (estimate or {}).get(name) for name in ("value", "low", "high")}


def _slices(title: str, column: str, slices: Mapping[str, Any]) -> list[str]:
    if not slices["rows"]:
        return [f"## {title}", slices["hint"]]
    rows = [
        [
            escape(row["name"]),
            count(row["n"]),
            _with_interval(row["density"], row["density_low"], row["density_high"]),
            percent(row["easy_only"]),
            percent(row["hard_only"]),
            _with_interval(
                row["weak_accuracy"], row["weak_accuracy_low"], row["weak_accuracy_high"]
            ),
        ]
        for row in slices["rows"]
    ]
    header = [column, "Points", "Overlap density", "Easy-only", "Hard-only", "Weak accuracy"]
    return [f"## {title}", table(header, rows)]


def _examples(examples: Sequence[Mapping[str, Any]], limit: int = 3) -> list[str]:
    parts = ["## Examples"]
    for region in examples:
        if region["items"]:
            rows = [
                [
                    escape((item["text"] or item["id"])[:80]),
                    escape(item["label"] or "–"),
                    escape(item["weak_label"] or "–"),
                    number(item["confidence"]),
                    number(item["alignment"]),
                ]
                for item in region["items"][:limit]
            ]
            header = ["Item", "Label", "Weak label", "Confidence", "Alignment"]
            parts += [f"### {region['region']}, {region['order']}", table(header, rows)]
    return parts if len(parts) > 1 else []


def _provenance(summary: Mapping[str, Any]) -> list[str]:
    provenance = summary["provenance"]
    facts = {
        "data": summary["data"]["fingerprint"],
        **{f"{role} model": _listed(spec) for role, spec in provenance["models"].items()},
        "seed": provenance["seed"],
        "device": provenance["device"],
        "settings": _listed(provenance["settings"]),
        **{stage["name"]: duration(stage["seconds"]) for stage in provenance["stages"]},
        "w2s-data": summary["version"],
        **provenance["versions"],
    }
    rows = [f"- {escape(k)}: {escape(v)}" for k, v in facts.items() if v not in (None, "")]
    return ["## Provenance", "\n".join(rows)] if rows else []


def _listed(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())
