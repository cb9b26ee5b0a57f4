"""A learning rate from a short training whose rate rises until the loss does."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

from w2s_data.finetune.levels.accelerated import WholeTrainer
from w2s_data.finetune.levels.schedule import LORA_FACTOR, StepSchedule
from w2s_data.finetune.objectives import Batch, TrainingError

logger = logging.getLogger("w2s_data")

STEPS = 60
LOWEST, HIGHEST = 1e-6, 1e-2  # rates of all weights; adapters take ten times as much
SMOOTHING = 0.9  # of the loss: a batch of 8 rows is noise
BLOWN = 1.5  # times the least loss, after which the test ends
# Below the rate of the least loss. There the loss is about to rise, and the smoothed one follows
# some steps behind.
SAFETY = 10


@dataclass(frozen=True)
class RisingSchedule(StepSchedule):
    """Rates that rise by a factor, from `lowest` to `learning_rate`."""

    lowest: float = LOWEST

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0.

        >>> schedule = RisingSchedule(3, 1e-2, lowest=1e-4)
        >>> [f"{schedule.rate(step):.0e}" for step in range(3)]
        ['1e-04', '1e-03', '1e-02']
        """
        share = step / (self.n_steps - 1)
        return float(self.lowest ** (1 - share) * self.learning_rate**share)


def rising_schedule(tuning: str) -> RisingSchedule:
    """Return the rates that are tried for a tuning."""
    factor = LORA_FACTOR if tuning == "lora" else 1
    return RisingSchedule(STEPS, HIGHEST * factor, lowest=LOWEST * factor)


def find_rate(trainer: WholeTrainer, batches: Iterator[Batch]) -> float:
    """Return a tenth of the rate at which the loss is least while the trainer's rate rises.

    The weights are left as they are at its end.
    """
    schedule = trainer.schedule
    losses: list[float] = []
    try:
        for _, batch in zip(range(schedule.n_steps), batches, strict=False):
            trainer.step(batch)
            losses.append(trainer.progress.losses[-1])
            if smoothed(losses)[-1] > BLOWN * min(smoothed(losses)):
                break
    except TrainingError:  # the loss is no number any more
        pass
    trainer.close()
    rate, best = chosen_rate(losses, schedule)
    logger.info(
        "%s: learning_rate %.1e, by a test of %d steps up to %.1e in which the loss was least at "
        "%.1e",
        trainer.name,
        rate,
        len(losses),
        schedule.rate(max(0, len(losses) - 1)),
        best,
    )
    return rate


def chosen_rate(losses: list[float], schedule: StepSchedule) -> tuple[float, float]:
    """Return the rate to train with, and that of the least smoothed loss."""
    if not losses:
        raise TrainingError("the loss is not finite at any learning_rate; look at the data")
    values = smoothed(losses)
    best = schedule.rate(values.index(min(values)))
    # Two digits: more would only pretend that the test is that precise.
    digits = 10 ** (math.floor(math.log10(best / SAFETY)) - 1)
    return round(best / SAFETY / digits) * digits, best


def smoothed(losses: list[float]) -> list[float]:
    """Return the exponential mean of the losses so far, at each step."""
    found, mean = [], 0.0
    for step, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found.append(mean / (1 - SMOOTHING**step))
    return found
