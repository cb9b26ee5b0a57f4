"""Each source beside the others as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from w2s_reports.formats import count, number, number_interval, price
from w2s_reports.markdown.tables import escape, table, with_interval

Row = Mapping[str, Any]


def sources(found: Mapping[str, Any]) -> list[str]:
    """The reading, the table of what is known, and what to do."""
    if found["hint"]:
        return ["## Sources", found["hint"]]
    rows = found["rows"]
    columns = {
        header: spell
        for header, (name, spell) in _COLUMNS.items()
        if any(row[name] is not None for row in rows)
    }
    body = [[escape(r["name"]), count(r["n"]), *(s(r) for s in columns.values())] for r in rows]
    parts = ["## Sources"]
    if found["reading"]:
        parts.append(escape(" ".join(found["reading"])))
    parts.append(table(["Source", "Points", *columns], body))
    if found["advice"]:
        parts.append("\n".join(f"- {escape(said)}" for said in found["advice"]))
    return [*parts, *found["missing"]]


def _share(name: str) -> tuple[str, Callable[[Row], str]]:
    return name, lambda row: with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _per_cost(row: Row) -> str:
    limits = number_interval(row["per_cost_low"], row["per_cost_high"], 2)
    return number(row["per_cost"], 2) + (f" ({limits})" if limits else "")


_COLUMNS: dict[str, tuple[str, Callable[[Row], str]]] = {
    "Overlap density": _share("density"),
    "Confident": _share("confident"),
    "Weak accuracy": _share("weak_accuracy"),
    "Weak accuracy if confident": _share("confident_accuracy"),
    "Reliability": _share("reliability"),
    "Near-duplicates": ("n_duplicates", lambda row: count(row["n_duplicates"])),
    "Leaking": ("n_leaking", lambda row: count(row["n_leaking"])),
    "Cost": ("cost", lambda row: price(row["cost"])),
    "Overlap per cost": ("per_cost", _per_cost),
}
