"""w2s-reports: what a person looks at after a run.

Public names are loaded on first use, so that importing the package imports no heavy library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from w2s_reports.report import Report, build_report
    from w2s_reports.summary import summarize

_HOME = {"Report": "report", "build_report": "report", "summarize": "summary"}

__all__ = ["Report", "build_report", "summarize"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
