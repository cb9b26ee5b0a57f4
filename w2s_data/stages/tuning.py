"""From the settings of the shell to those of a training, with the model that is tuned."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from w2s_data.compute.context import Compute
from w2s_data.errors import InputError, NotApplicableError, find
from w2s_data.finetune.levels.precision import n_processes
from w2s_data.finetune.loop import Callback, EpochEnd
from w2s_data.finetune.settings import Adaptation, TrainingSettings
from w2s_data.stages.gain_settings import GainSettings, TuningSettings

if TYPE_CHECKING:
    from w2s_data.data.dataset import W2SDataset

logger = logging.getLogger("w2s_data")

# Names that the settings of a training have for them.
RENAMED = {"student_l2": "l2"}
# Settings of the measurement, not of a training.
OF_MEASUREMENT = ("methods", "seeds", "test_by", "early_stopping", "restart", "head")
ADAPTERS = (
    "rank",
    "alpha",
    "dropout",
    "target_modules",
    "quantize",
)  # fields that tuning "lora" alone has


def given_settings(settings: GainSettings) -> dict[str, Any]:
    """Return what was chosen for the trainings, by the name of the setting; no defaults.

    >>> given_settings(GainSettings(tuning="lora", model="bert", rank=4))
    {'model': 'bert', 'rank': 4, 'tuning': 'lora', 'controls': True}
    """
    chosen = settings.model_dump(exclude_none=True, exclude=set(OF_MEASUREMENT))
    if isinstance(settings.model, Adaptation):
        chosen["model"] = dataclasses.asdict(settings.model)
    return {RENAMED.get(name, name): value for name, value in chosen.items()}


def training_settings(
    settings: GainSettings, device: str, dataset: W2SDataset | None = None
) -> TrainingSettings:
    """Make the settings of a training on the items of a data set.

    Raises
    ------
    InputError
        If a setting does not fit the tuning, or a number is out of range.
    """
    check_fits(settings)
    given = given_settings(settings)
    own = {field.name for field in dataclasses.fields(Adaptation)} - {"tuning"}
    adapted = {name: given.pop(name) for name in own & given.keys()}
    if adapted.get("clip") == "none":
        adapted["clip"] = None
    if dataset is not None and dataset.kind != "features":
        adapted["kind"] = dataset.kind
    model = adapted.pop("model", None) and settings.model
    if model is not None:
        described = model if isinstance(model, Adaptation) else Adaptation(str(model))
        given["model"] = dataclasses.replace(described, **adapted)
    if dataset is not None and not dataset.is_paired and settings.reward is not None:
        raise InputError(
            "reward is a setting of preference pairs, and these rows are single items: leave it out"
        )
    # Before the data set is read, a reward says that it holds pairs.
    paired = settings.reward is not None if dataset is None else dataset.is_paired
    return TrainingSettings(**given, device=device, paired=paired)


def loss_curves(compute: Compute) -> tuple[Callback, ...]:
    """Return the callbacks that send the loss of every epoch to the trackers, if there are any."""
    tracking = compute.tracking
    if not tracking:
        return ()
    # Trackers cannot be sent to other processes.
    if compute.engine.name != "local" or n_processes() > 1:
        logger.warning(
            "losses of trainings in other processes do not reach %s; the numbers of stages do",
            " and ".join(tracking.trackers),
        )
        return ()

    def send(end: EpochEnd) -> None:
        numbers = {"epoch": float(end.epoch), "loss": float(end.loss.mean())}
        if end.validation_loss is not None:
            numbers["validation_loss"] = float(end.validation_loss.mean())
        method, _, training = end.stage.partition(", ")
        tracking.log(f"train/{method}/{training}", numbers)

    return (send,)


def check_model(adaptation: Adaptation, dataset: W2SDataset | None) -> None:
    """Raise unless the model to tune is there, reads such items, and its libraries are installed.

    Without a data set it may read any items.
    """
    from w2s_data.finetune.levels.reward import check_reward

    kind = None if dataset is None else dataset.kind
    if kind == "features":
        raise NotApplicableError(
            f"tuning {adaptation.tuning!r} trains a model that reads texts or images, but these "
            "are feature vectors: choose tuning='head'"
        )
    if dataset is not None and dataset.is_paired and kind != "text":
        raise NotApplicableError(
            f"tuning {adaptation.tuning!r} trains rewards of pairs of texts, but these are pairs "
            f"of {kind} items: choose tuning='head'"
        )
    adaptation.source.configuration(kind)
    check_reward(adaptation)
    for library in ("accelerate", *(["peft"] if adaptation.tuning == "lora" else [])):
        find(library, "train")
    if adaptation.quantize is not None:
        from w2s_data.compute.device import resolve_device
        from w2s_data.finetune.levels.lora import loading_options

        loading_options(adaptation, resolve_device("auto"))


def check_fits(settings: GainSettings) -> None:
    """Raise for a setting of whole models at tuning "head", or of adapters at "full"."""
    for name in TuningSettings.model_fields:
        tunings = ("lora",) if name in ADAPTERS else ("lora", "full")
        if getattr(settings, name) is not None and settings.tuning not in tunings:
            raise InputError(
                f"{name} is a setting of tuning {' and '.join(map(repr, tunings))}, but the tuning "
                f"is {settings.tuning!r}: choose tuning={tunings[0]!r} or leave {name} out"
            )
    if settings.learning_rate == "auto" and settings.tuning == "head":
        raise InputError(
            "learning_rate 'auto' is for whole models; heads of tuning 'head' take a number"
        )
    if settings.patience is not None and not settings.early_stopping:
        raise InputError("patience is a setting of early_stopping: choose it too")
