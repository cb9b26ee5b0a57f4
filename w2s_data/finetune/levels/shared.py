"""The training of whole models where one process leads others: all of them train."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from w2s_data.compute.device import resolve_device
from w2s_data.finetune.levels.adapters import JoinedModel, WholeModel, train_whole
from w2s_data.finetune.levels.reward import make_network
from w2s_data.finetune.levels.together import is_led, share
from w2s_data.finetune.methods.base import Outcome
from w2s_data.finetune.objectives import Model


def train_together(
    *arguments: Any, progress: bool | None = False, **named: Any
) -> tuple[Outcome, list[dict[str, Any]]]:
    """Call `train_whole`, in all processes if this one leads them, where it then predicts alone."""
    train = partial(train_whole, *arguments, **named)
    if not is_led():
        return train(progress=progress)
    outcome, history = share(partial(train, progress=progress), partial(train, progress=False))
    controls = {name: _whole(model) for name, model in outcome.controls.items()}
    return dataclasses.replace(outcome, model=_whole(outcome.model), controls=controls), history


def _whole(model: Model) -> Model:
    """Return a model with all weights in this process, which others do not help to predict."""
    assert isinstance(model, JoinedModel)
    models = [each for each in model.models if isinstance(each, WholeModel)]
    network = models[0].network
    if network.divided is None:
        return model
    whole = make_network(network.adaptation, network.n_classes, resolve_device(network.device))
    return JoinedModel(tuple(dataclasses.replace(each, network=whole) for each in models))
