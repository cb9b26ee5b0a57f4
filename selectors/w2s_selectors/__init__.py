"""w2s-selectors: which data source to query next, within a budget.

Public names are loaded on first use, so that `import w2s_selectors` imports no heavy library.
"""

from __future__ import annotations

import importlib
from typing import Any

from w2s_data._version import __version__

_HOME: dict[str, str] = {}

__all__ = ["__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
