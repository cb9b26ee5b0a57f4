"""Tuned models as folders that peft and transformers open by themselves, with the head beside.

A folder of tuning "lora" holds peft's `adapter_config.json` and `adapter_model.safetensors`, one of
tuning "full" the `config.json`, weights and tokenizer or image processor of transformers: of the
part that reads the items where transformers has a class for it (T5's encoder, CLIP's towers), else
of the whole model. `student.safetensors` holds the head on the pooled hidden state, and
`student.json` says how all is joined.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from w2s_data.compute.device import resolve_device
from w2s_data.encoders.backbone import load_whole_model
from w2s_data.encoders.pixels import ImageReader
from w2s_data.encoders.recipe import Recipe
from w2s_data.encoders.source import quiet
from w2s_data.errors import EncoderError, RunError, first_line, require
from w2s_data.finetune.levels.adapters import WholeModel
from w2s_data.finetune.levels.precision import is_main
from w2s_data.finetune.levels.reward import make_network
from w2s_data.finetune.levels.store import read_student, write_student
from w2s_data.finetune.levels.whole import State, WholeNetwork
from w2s_data.finetune.settings import Adaptation
from w2s_data.utils.io import make_folder, sha256_file, write_json
from w2s_data.utils.reading import parsing, reading

HEAD = "student.safetensors"
ADAPTERS = "adapter_model.safetensors"
# Settings of a recipe on which a head on the pooled vector depends.
_READING = ("pooling", "reason", "include_prompt", "prompt", "max_length", "lower_case")


def save_whole(
    model: WholeModel, folder: str | os.PathLike[str], record: Mapping[str, Any]
) -> None:
    """Write a tuned model, and a record of the student that it is; of several processes the first.

    All must call it, for each may have a share of the weights.
    """
    place, network = Path(folder), model.network
    network.load(model.state)
    with quiet():
        backbone = network.whole_backbone()
        if not is_main():
            return
        make_folder(place)
        if network.adaptation.tuning == "full":
            _save_model(network, backbone, place)
        else:
            backbone.save_pretrained(place)
    adaptation, source = network.adaptation, network.adaptation.source
    if source.folder is not None:  # found again from another working folder too
        adaptation = replace(adaptation, model=str(source.folder))
    weights = sorted(file for file in place.glob("*.safetensors") if file.name != HEAD)
    described = {
        **record,
        "adaptation": {**asdict(adaptation), "kind": network.kind},
        "reading": {name: getattr(network.recipe, name) for name in _READING},
        "opened_by": network.opened_by,
        "base": source.identity(),
        "n_classes": network.n_classes,
        "depth": model.depth,
        "link": model.link,
        "files": {file.name: sha256_file(file) for file in weights},
    }
    head = {name: array.numpy() for name, array in model.state.items() if name.startswith("head.")}
    write_student(place, head, described, HEAD)


def _save_model(network: WholeNetwork, backbone: Any, place: Path) -> None:
    """Write a model's configuration, weights, and its tokenizer or image processor."""
    model = backbone
    if not network.is_alone:  # transformers has no class for the part alone
        model, part = load_whole_model(network.adaptation.source, network.kind)
        part.load_state_dict(backbone.state_dict())
    model.save_pretrained(place)
    if isinstance(network.reader, ImageReader):
        network.reader.processor.save_pretrained(place)
        return
    tokenizer = network.reader.tokenizer
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        # Masked wherever it is read, but without one no other program can make a batch.
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(place)
    if network.is_alone:  # as features, too, the model is pooled as it was tuned
        recipe = replace(network.recipe, max_length=network.max_length)
        width = network.width // len(recipe.pooling.split("+"))
        for name, content in recipe.files(width).items():
            make_folder((place / name).parent)
            write_json(place / name, content)


def load_whole(
    folder: str | os.PathLike[str], device: str = "auto", base: str | None = None
) -> tuple[WholeModel, dict[str, Any]]:
    """Read a tuned model and its record; see `read_student` for the errors.

    Adapters need the pretrained model that they were trained on, at `base` if it has moved; another
    one, or none, is a `RunError`.
    """
    import torch

    place = Path(folder)
    arrays, record = read_student(place, "adaptation", HEAD)
    with parsing(os.fspath(folder), "a tuned model"):
        adaptation = Adaptation(**record["adaptation"])
        recipe = Recipe(**record["reading"])
        n_classes, depth, link = (record[name] for name in ("n_classes", "depth", "link"))
        files = dict(record["files"])
    if base is not None:
        adaptation = replace(adaptation, model=base)
    for name, sha256 in files.items():
        with reading(place / name, "the weights of a student"):
            if sha256_file(place / name) != sha256:
                raise ValueError("its checksum is not that of student.json")
    opened, start = adaptation, None
    if adaptation.tuning == "full":
        opened = replace(adaptation, model=str(place))
    # The reward of DPO is relative to the model before it was tuned.
    if adaptation.tuning == "lora" or adaptation.reward == "dpo":
        _check_base(place, adaptation, record["base"])
        start = adaptation.source
    network = make_network(opened, n_classes, resolve_device(device), recipe, start)
    if adaptation.tuning == "lora":
        _load_adapters(network, place / ADAPTERS)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    state: State = {**network.state(), **tensors}
    return WholeModel(network, state, depth, link), record


def _check_base(folder: Path, adaptation: Adaptation, base: str) -> None:
    """Raise unless the pretrained model is the one that was tuned."""
    try:
        found = adaptation.source.identity()
    except EncoderError as error:
        raise RunError(
            f"{str(folder)!r} needs model {adaptation.model!r}, on which it was trained: pass "
            f"base, the folder where it is now ({first_line(error)})"
        ) from error
    if found != base:
        raise RunError(
            f"{str(folder)!r} was trained on model {adaptation.model!r} as it was ({base[:20]}...);"
            f" it is another one now ({found[:20]}...)"
        )


def _load_adapters(network: WholeNetwork, file: Path) -> None:
    from safetensors.torch import load_file

    peft = require("peft", "train")
    peft.set_peft_model_state_dict(network.backbone, load_file(file))
