"""Whole models that predict a value: a head of one output on standardised targets."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

from w2s_data.finetune.losses import huber_loss
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import ValueObjective
from w2s_data.finetune.task import Task
from w2s_data.utils.validation import one_of, positive

ValueLoss = Literal["squared", "huber"]


@dataclass(frozen=True)
class FitValues(Method):
    r"""Train on the values (N, 1, 1) of the pool, which have mean 0 and spread 1.

    Parameters
    ----------
    loss : {"squared", "huber"}
        See `losses.squared_error` and `losses.huber_loss`.
    delta : float
        Residual from which Huber's loss is linear, in units of the standardised target. With 1.345
        it is 95 % as efficient as the squared error on normal residuals of standard deviation 1.
    """

    name = "values"
    constraints = {"loss": one_of("squared", "huber"), "delta": positive}  # noqa: RUF012

    loss: ValueLoss = "squared"
    delta: float = 1.345

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        return Outcome(task.train(self.objective(task)))

    def objective(self, task: Task) -> ValueObjective:
        """Return the loss between the student's values and those of the pool."""
        values = task.tensor(task.pool.weak_proba[:, 0])
        if self.loss == "squared":
            return ValueObjective(values)
        return ValueObjective(values, functools.partial(huber_loss, delta=self.delta))
