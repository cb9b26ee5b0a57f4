"""The map of the strong features in one line of Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.markdown.tables import escape


def projection(found: Mapping[str, Any]) -> list[str]:
    """How the map on the page may be read, or the command that adds it."""
    if found["hint"]:
        return [found["hint"]]
    said = [*found["readings"].values(), *([found["reason"]] if found["reason"] else [])]
    return [f"Map of the strong features (seed {found['seed']}): {escape(' '.join(said))}"]
