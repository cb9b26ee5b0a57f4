"""Pretrained models that are tuned to predict a value, through adapters or all their weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from w2s_data.errors import InputError, RunError, rows
from w2s_data.finetune.levels.adapters import JoinedModel, WholeModel
from w2s_data.finetune.levels.saved import load_whole, save_whole
from w2s_data.finetune.levels.shared import train_together
from w2s_data.finetune.levels.values import FitValues, ValueLoss
from w2s_data.finetune.objectives import Weights
from w2s_data.finetune.pool import Pool
from w2s_data.finetune.settings import TrainingSettings
from w2s_data.regression.inputs import check_held_out
from w2s_data.utils.reading import parsing
from w2s_data.utils.typing import AnyArray, FloatArray
from w2s_data.utils.validation import check_same_length, check_weights

MAD_TO_SD = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Scale:
    """The centre and spread of targets, by which a training sees them as of mean 0 and spread 1."""

    centre: float
    spread: float

    @classmethod
    def of(cls, values: FloatArray, weight: FloatArray, loss: ValueLoss) -> Scale:
        """Return weighted mean and standard deviation of values (n,).

        For Huber's loss the median, and the median absolute deviation in units of a standard
        deviation: outliers would stretch the others until its `delta` bounds nothing.
        """
        centre = float(np.average(values, weights=weight))
        spread = float(np.sqrt(np.average((values - centre) ** 2, weights=weight)))
        if not spread > np.finfo(np.float64).eps * abs(centre):
            raise InputError(
                f"all values to learn are {values[0]:.6g}: a student needs values that differ"
            )
        if loss == "huber":
            median = float(np.median(values))
            # More than half of the values may be the same.
            if (mad := float(np.median(np.abs(values - median)))) > 0:
                return cls(median, MAD_TO_SD * mad)
        return cls(centre, spread)

    def standardise(self, values: FloatArray) -> FloatArray:
        """Return values in units of the spread around the centre."""
        return (values - self.centre) / self.spread

    def restore(self, values: FloatArray) -> FloatArray:
        """Return standardised values in units of the target, as float64."""
        return self.centre + self.spread * values.astype(np.float64)


@dataclass(frozen=True)
class WholeValues:
    """A pretrained model of each of S seeds that predicts a value of texts or images.

    `history` has one row per evaluation and seed: loss and validation loss, in units of the
    squared spread of the target. `diagnostics` are those of `WholeTask`, per seed.
    """

    stored: tuple[WholeModel | Weights, ...]
    scale: Scale
    seeds: tuple[int, ...]
    history: tuple[Mapping[str, Any], ...] = ()
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def models(self) -> tuple[WholeModel, ...]:
        """The models; a shelved one loads its pretrained model again."""
        return tuple(
            each if isinstance(each, WholeModel) else WholeModel.from_weights(each)
            for each in self.stored
        )

    def shelved(self) -> WholeValues:
        """Return the same students as weights, without the pretrained model in memory."""
        return replace(self, stored=tuple(model.weights(0) for model in self.models))

    def predict(self, items: Sequence[Any]) -> FloatArray:
        """Return values (S, n) of texts or images, in units of the target."""
        models = self.models
        read = models[0].network.read(items)  # that of all seeds
        standard = np.concatenate([model.read_proba(read) for model in models])
        return self.scale.restore(standard[..., 0])

    def only(self, place: int) -> WholeValues:
        """Return the student of the seed at one place among the S."""
        return WholeValues((self.stored[place],), self.scale, (self.seeds[place],))

    def save(self, folder: str | os.PathLike[str], record: Mapping[str, Any] | None = None) -> None:
        """Write the model of one seed and a record of the student that it is.

        The folder is one that peft ("lora") or transformers ("full") opens by itself; the head lies
        beside, with `scale` in its description: value = centre + spread * (w · pooled + b).
        """
        if len(self.seeds) > 1:
            raise InputError(
                f"a tuned model is saved for one seed; this one has {len(self.seeds)}: train it "
                "with seeds=1"
            )
        described = {"seeds": list(self.seeds), **(record or {}), "scale": asdict(self.scale)}
        save_whole(self.models[0], folder, described)

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], device: str = "auto", base: str | None = None
    ) -> tuple[WholeValues, dict[str, Any]]:
        """Read what `save` wrote: the model, and the record.

        `base` is the folder of the pretrained model under adapters, if it has moved. A student of
        classes is a `RunError`; see `load_whole` for the others.
        """
        model, record = load_whole(folder, device, base)
        if "scale" not in record:
            raise RunError(f"{os.fspath(folder)!r} holds a student of classes, not of values")
        with parsing(os.fspath(folder), "a tuned model"):
            return cls((model,), Scale(**record["scale"]), tuple(record["seeds"])), record


def train_values(
    items: Sequence[Any],
    values: AnyArray,
    weight: AnyArray | None = None,
    *,
    settings: TrainingSettings,
    loss: ValueLoss = "squared",
    delta: float = 1.345,
    validation: tuple[Sequence[Any], AnyArray] | None = None,
    entropy: int = 0,
    seeds: Sequence[int] = (0,),
    progress: bool | None = False,
    name: str = "student",
) -> WholeValues:
    r"""Tune a pretrained model to predict values, seed by seed.

    .. math:: \min_\theta \sum_i w_i\, \ell\big((y_i - m) / s - f_\theta(x_i)\big)

    with the mean m and the standard deviation s of the rows of positive weight. The head starts at
    0, the mean.

    Parameters
    ----------
    items : sequence of N texts or images
    values : array (N,)
        May be NaN where the weight is 0.
    weight : array (N,), optional
        Non-negative; only ratios matter. Rows of weight 0 are not trained on, and count for the
        number of steps.
    settings : TrainingSettings
        With tuning "lora" or "full" and a model.
    loss : {"squared", "huber"}
        "huber" is the squared error up to `delta`, in units of s, and linear beyond; m and s are
        then the median and the scaled median absolute deviation.
    validation : (items, values), optional
        Rows for early stopping: the evaluation with the least squared error counts.
    entropy, seeds : int, sequence of int
        Root of the random numbers, and the numbers of the seeds.

    Raises
    ------
    InputError
        If items are pairs, a value that counts is not finite, or all values are equal.
    TrainingError
        If the loss is no longer a number, or memory does not suffice.
    """
    _check_settings(settings)
    check_same_length(items=items, values=values)
    targets = np.asarray(values, dtype=np.float64)
    weights = check_weights(weight, len(targets))
    known = weights > 0
    bad = np.flatnonzero(known & ~np.isfinite(targets))
    if len(bad):
        raise InputError(f"values must be finite where they count; they are not in {rows(bad)}")
    scale = Scale.of(targets[known], weights[known], loss)
    standard = np.where(known, scale.standardise(targets), 0.0)
    held_out: tuple[Any, ...] = ()
    if validation is not None:
        own = check_held_out(*validation)
        held_out = list(validation[0]), scale.standardise(own)[:, None]
    outcome, history = train_together(
        FitValues(loss, delta),
        Pool(standard[:, None, None], weights),
        settings.resolve(len(targets)),
        items,
        *held_out,
        entropy=entropy,
        seeds=seeds,
        progress=progress,
        name=name,
    )
    assert isinstance(outcome.model, JoinedModel)
    models = tuple(model for model in outcome.model.models if isinstance(model, WholeModel))
    return WholeValues(models, scale, tuple(seeds), tuple(history), outcome.diagnostics)


def _check_settings(settings: TrainingSettings) -> None:
    if settings.tuning == "head":
        raise InputError("tuning 'head' reads features; whole models need tuning 'lora' or 'full'")
    if settings.paired:
        raise InputError("a pair has an order and no value: leave out paired=True")
