"""Fine-tuning the student by any of the published methods, and measuring what it gained.

Names are loaded on first use, so that importing the package imports no heavy library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from w2s_data.finetune.base import Method, TrainingError
    from w2s_data.finetune.gain import GainResult, measure_gain
    from w2s_data.finetune.levels.whole import Adaptation
    from w2s_data.finetune.methods import available_methods, make_method
    from w2s_data.finetune.student import Student, fit_student

_HOME = {
    "Adaptation": "levels.whole",
    "GainResult": "gain",
    "Method": "base",
    "Student": "student",
    "TrainingError": "base",
    "available_methods": "methods",
    "fit_student": "student",
    "make_method": "methods",
    "measure_gain": "gain",
}

__all__ = [
    "Adaptation",
    "GainResult",
    "Method",
    "Student",
    "TrainingError",
    "available_methods",
    "fit_student",
    "make_method",
    "measure_gain",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
