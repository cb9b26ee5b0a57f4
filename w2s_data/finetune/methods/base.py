"""TODO."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from w2s_data.errors import InputError

if TYPE_CHECKING:
    from w2s_data.finetune.task import Task
from w2s_data.finetune.objectives import Model


@dataclass(frozen=True)
class Outcome:
    """What a method leaves.

    Attributes
    ----------
    model : Model
    diagnostics : dict
        Arrays and numbers; what they are is said by the method.
    controls : dict of Model
        The simpler students beside which the model has to be seen.
    """

    model: Model
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    controls: Mapping[str, Model] = field(default_factory=dict)


@dataclass(frozen=True)
class Method(ABC):
    """A way to train a student: an immutable record of its parameters."""

    name: ClassVar[str]

    @abstractmethod
    def fit(self, task: Task) -> Outcome:
        """Train on a task."""

    def parameters(self) -> dict[str, Any]:
        """The parameters by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def _check_range(self, name: str, low: float, high: float, *, above: bool = False) -> None:
        """Refuse a parameter outside [low, high], or (low, high] with `above`."""
        value = getattr(self, name)
        good = isinstance(value, int | float) and low <= value <= high
        if not good or (above and value == low):
            limits = f"{'(' if above else '['}{low:g}, {high:g}]"
            raise InputError(f"{self.name}: {name} must be in {limits}; got {value!r}")
