"""How long and how fast whole models are trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from w2s_data.finetune.settings import Decay

# Measured for a model of 22 million parameters; larger ones take smaller steps, as is usual.
RATES = {50e6: 1e-4, 200e6: 5e-5, 1e9: 2e-5, math.inf: 1e-5}  # by the largest number of parameters
LORA_FACTOR = 10  # adapters start at zero and have a longer way to go than pretrained weights
# A shorter one beside a head that is fitted: on 2,000 pairs with noisy preferences this rate loses
# .015 against the true ranking, the usual one .025.
FITTED_LORA_FACTOR = 3


def usual_rate(tuning: str, n_parameters: int, *, is_fitted: bool = False) -> float:
    """Return the learning rate for a tuning and the number of parameters of the whole model.

    `is_fitted` means that the training starts from a head that is fitted, as rewards do.

    >>> usual_rate("full", 22_000_000), usual_rate("full", 7_000_000_000)
    (0.0001, 1e-05)
    """
    rate = next(rate for most, rate in RATES.items() if n_parameters <= most)
    if tuning != "lora":
        return rate
    return rate * (FITTED_LORA_FACTOR if is_fitted else LORA_FACTOR)


@dataclass(frozen=True)
class StepSchedule:
    """Rates of all steps: a linear rise over the first ones, then a decay to zero."""

    n_steps: int
    learning_rate: float  # the highest
    decay: Decay = "linear"
    warmup: float = 0.0  # share of the steps

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0.

        >>> schedule = StepSchedule(10, 1.0, "linear", warmup=0.2)
        >>> [round(schedule.rate(step), 2) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.12]
        """
        rising = round(self.warmup * self.n_steps)
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        done = (step - rising) / max(1, self.n_steps - rising)
        left = 1 - done if self.decay == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return self.learning_rate * left
