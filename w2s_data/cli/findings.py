"""What a stage found, in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def features_found(shapes: dict[str, tuple[int, int]]) -> str:
    """Items and dimensions.

    >>> features_found({"weak": (1797, 9), "strong": (1797, 64)})
    '1,797 items; weak features of 9 dimensions, strong of 64'
    """
    [n, *_] = [n for n, _ in shapes.values()]
    (first, d), *others = [(role, d) for role, (_, d) in shapes.items()]
    more = "".join(f", {role} of {d:,}" for role, d in others)
    return f"{n:,} items; {first} features of {d:,} dimensions{more}"


def overlap_found(summary: dict[str, Any]) -> str:
    """The overlap density and its interval."""
    from w2s_reports.formats import interval, percent

    density = summary["density"]
    spread = interval(density["low"], density["high"])
    said = f"overlap density {percent(density['value'])}{f' ({spread})' if spread else ''}"
    return f"{said} of {summary['n_scored']:,} pool items"


def forecast_found(summary: dict[str, Any]) -> str:
    """The expected gain and the chance that there is one."""
    return (
        f"expected gain {_points(summary['gain'])}, "
        f"chance that there is one {summary['chance_w2s_helps']:.2f}"
    )


def groups_found(summary: dict[str, Any]) -> str:
    """How many groups there are, which are minorities, and how many items leak."""
    how = "given" if summary["discovery"] == "given" else "discovered"
    said = f"{len(summary['groups'])} groups {how}"
    if summary["minority"]:
        said += f", minorities: {', '.join(str(name) for name in summary['minority'])}"
    leaking = sum(record["n_leaking"] or 0 for record in summary["groups"])
    return said + (f"; {leaking:,} items leak between splits" if leaking else "")


def selection_found(summary: dict[str, Any]) -> str:
    """What was bought, and which sources were stopped."""
    n_sources = len(summary["sources"])
    stopped = ", ".join(summary["stopped"])
    said = f"{summary['items']:,} items from {n_sources} sources in {summary['rounds']} rounds"
    return f"{said}; stopped: {stopped}" if stopped else f"{said}; none stopped"


def gain_found(summary: dict[str, Any]) -> str:
    """The gain of the method that gained most."""
    methods = [student for student in summary["students"] if not student["control_of"]]
    if not methods:
        return "no method could be trained"
    best = max(methods, key=lambda student: student["gains"]["accuracy"]["value"])
    which = f"the best of {len(methods)} methods" if len(methods) > 1 else "the one method"
    return f"{_points(best['gains']['accuracy'])} by {best['name']}, {which}"


def verdict_found(verdict: dict[str, Any]) -> str:
    """The verdict and what it rests on."""
    from w2s_reports.markdown.verdict import evidence

    head = verdict["headline"]
    return verdict["hint"] if head is None else f"{head['words']}: {evidence(head)}"


def _points(found: dict[str, Any]) -> str:
    from w2s_reports.formats import signed, signed_interval

    spread = signed_interval(found["low"], found["high"])
    return f"{signed(found['value'])} points{f' ({spread})' if spread else ''}"


FINDINGS: dict[str, Callable[[dict[str, Any]], str]] = {
    "embed": features_found,
    "score": overlap_found,
    "forecast": forecast_found,
    "groups": groups_found,
    "select": selection_found,
    "gain": gain_found,
}
