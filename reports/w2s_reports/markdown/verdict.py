"""The verdict as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.formats import percent, signed, signed_interval
from w2s_reports.gate import Outcome
from w2s_reports.markdown.tables import escape, quoted


def verdict(found: Mapping[str, Any]) -> list[str]:
    """Warnings, headline and sentences."""
    parts = ["## Verdict"]
    parts += quoted(f"{warning['about']}: {warning['text']}" for warning in found["warnings"])
    if found["hint"]:
        parts.append(found["hint"])
    if found["headline"]:
        parts.append(f"**{found['headline']['words']}**: {evidence(found['headline'])}")
    if found["sentences"]:
        parts.append("\n".join(f"- {escape(sentence)}" for sentence in found["sentences"]))
    parts += [f"{r['about'].capitalize()}: {escape(r['text'])}" for r in found["readings"]]
    return [*parts, *found["add"]]


def gate(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What became of each condition, one a line."""
    if not found:
        return []
    lines = [f"- {escape(str(Outcome(**outcome)))}" for outcome in found]
    return ["### Gate", "\n".join(lines)]


def evidence(head: Mapping[str, Any]) -> str:
    """What a headline rests on, in a line."""
    limits = signed_interval(head["low"], head["high"])
    spread = f", {percent(head['level'], 0)} interval {limits}" if limits else ""
    why = f"; {head['why']}" if head["why"] else ""
    return f"{head['kind']} gain {signed(head['value'])} points{spread}{why}"
