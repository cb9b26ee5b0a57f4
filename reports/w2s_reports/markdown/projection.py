"""The map of the strong features in one line of Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import count
from w2s_reports.markdown.tables import escape


def projection(found: Mapping[str, Any]) -> list[str]:
    """How the map on the page may be read, or the command that adds it."""
    if found["hint"]:
        return [found["hint"]]
    said = [*found["readings"].values(), *([found["reason"]] if found["reason"] else [])]
    n, of = count(found["n"]), count(found["n_scored"])
    return [f"Map of {n} of {of} scored points, seed {found['seed']}. {escape(' '.join(said))}"]
