"""The base class of methods, and the result of training by one."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from w2s_data.errors import InputError
from w2s_data.finetune.objectives import Model
from w2s_data.finetune.task import Task
from w2s_data.utils.typing import BoolArray, FloatArray
from w2s_data.utils.validation import Constraint, check_parameters

# A student beside the controls that is told by gold labels of the pool what its method has to find
# out: how far the idea can go, and no simpler rival.
ORACLE = "oracle"


@dataclass(frozen=True)
class Outcome:
    """Result of `Method.fit`."""

    model: Model
    diagnostics: Mapping[str, Any] = field(default_factory=dict)  # described by the method
    controls: Mapping[str, Model] = field(default_factory=dict)  # simpler students to compare with


@dataclass(frozen=True)
class Recipe:
    """An immutable record of a method's parameters, which are checked.

    A subclass is a frozen dataclass with a `name`, and `constraints` of its parameters.
    """

    name: ClassVar[str]
    uses_gold: ClassVar[bool] = False
    constraints: ClassVar[Mapping[str, Constraint]] = {}

    def __post_init__(self) -> None:
        try:
            check_parameters(self, self.constraints)
        except InputError as error:
            # Several methods may be made in one call: the message says which one is wrong.
            raise InputError(f"{self.name}: {error}") from None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


@dataclass(frozen=True)
class Method(Recipe, ABC):
    """A way to train a student, by its `fit`.

    The pseudo-labels have shape (N, M, C); methods for one teacher use their mean over the M. A
    method that `uses_gold` labels finds them in `task.gold`, and is given the rows that have one.
    """

    # Whether its `targets` are others than the weak labels of the pool.
    own_targets: ClassVar[bool] = False
    # Whether its labels are right as far as gold labels can make them: then nothing is gained by an
    # end before the optimum, which heads are trained to.
    trusted: ClassVar[bool] = False

    @abstractmethod
    def fit(self, task: Task) -> Outcome:
        """Train on a task."""

    def targets(self, task: Task) -> tuple[BoolArray, FloatArray]:
        """Return which rows (N,) it trains on and their labels (N, C), to choose a penalty for."""
        return task.pool.sample_weight > 0, task.labels()
