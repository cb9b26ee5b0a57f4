"""Trained students of a measurement, with the weights to use them afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from w2s_data.finetune.levels.adapters import JoinedModel, WholeModel
from w2s_data.finetune.levels.linear import HeadModel
from w2s_data.finetune.methods.base import Method
from w2s_data.finetune.objectives import Model, Weights
from w2s_data.finetune.settings import Tuning
from w2s_data.finetune.student import Student
from w2s_data.utils.typing import AnyArray


@dataclass(frozen=True)
class KeptStudent:
    """A trained student whose weights are read when it is asked for."""

    method: Method
    tuning: Tuning
    classes: AnyArray  # (C,)
    seeds: tuple[int, ...]  # of whole models the first alone
    l2: float  # the penalty
    weights: Callable[[int], Weights]  # of a seed
    device: str

    def load(self) -> Student:
        """Return the student, without history, diagnostics and controls."""
        seeds = [self.weights(seed) for seed in self.seeds]
        model: Model
        if self.tuning == "head":
            model = HeadModel.join(seeds)
        else:
            wholes = tuple(WholeModel.from_weights(own, self.device) for own in seeds)
            model = wholes[0] if len(wholes) == 1 else JoinedModel(wholes)
        return Student(
            method=self.method,
            tuning=self.tuning,
            classes=self.classes,
            model=model,
            seeds=self.seeds,
            history=pd.DataFrame(),
            diagnostics={},
            controls={},
            l2=self.l2,
        )
