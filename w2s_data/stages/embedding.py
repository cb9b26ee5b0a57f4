"""Embedding: the weak and strong features of every item, computed or found."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from w2s_data.compute.base import Engine
from w2s_data.compute.local import LocalEngine
from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.load import W2SDataset
from w2s_data.encoders import Encoder
from w2s_data.encoders.shards import resolved_encoder
from w2s_data.errors import FileFormatError, InputError, RunError
from w2s_data.features.matrix import ArrayFeatures, FeatureMatrix, FeatureView
from w2s_data.features.pairs import embed_pairs, turned_features
from w2s_data.features.store import FeatureStore, embed
from w2s_data.run import MANIFEST, Run
from w2s_data.stages.graph import EMBED
from w2s_data.utils.io import jsonable, load_npy, sha256_file

logger = logging.getLogger("w2s_data")

Role = Literal["weak", "strong"]
ROLES: tuple[Role, ...] = ("weak", "strong")


@dataclass(frozen=True)
class FeatureInput:
    """Where the features of a role come from: an encoder, a ready-made file, or the run itself."""

    encoder: Encoder | None = None
    file: Path | None = None


def embed_stage(
    run: Run,
    dataset: W2SDataset,
    inputs: dict[Role, FeatureInput],
    show_progress: bool | None = None,
    overwrite: bool = False,
    memory: MemoryLimit | None = None,
    engine: Engine | None = None,
) -> dict[Role, FeatureMatrix]:
    """Compute, or find in the run, the features of every role that has any.

    Parameters
    ----------
    overwrite : bool
        Discard features that another pretrained encoder left in the run; without it they are an
        error. Features of encoders that learn from the items, which are cheap, are always redone.
    memory : MemoryLimit, optional
        Bounds the blocks in which the features are read; by default by half of the free memory.
    engine : Engine, optional
        Where items are encoded; by default in this process.

    Raises
    ------
    InputError
        If an encoder or a file does not fit the items.
    """
    found = _features(run, dataset, inputs, show_progress, overwrite, engine or LocalEngine())
    limit = memory or MemoryLimit.parse(None)
    return {
        role: FeatureView(features, name=f"{role} features", limit=limit)
        for role, features in found.items()
    }


def _features(
    run: Run,
    dataset: W2SDataset,
    inputs: dict[Role, FeatureInput],
    show_progress: bool | None,
    overwrite: bool,
    engine: Engine,
) -> dict[Role, FeatureMatrix]:
    inputs = {role: _settled(given, engine) for role, given in inputs.items()}
    before = run.manifest["stages"].get(EMBED.name, {}).get("settings", {})
    settings: dict[str, Any] = {
        role: chosen
        for role in ROLES
        if (chosen := _feature_settings(run, dataset, role, inputs.get(role), before.get(role)))
    }
    if run.is_fresh(EMBED, settings) and _are_sound(run, inputs):
        return {
            role: _stored_features(run, dataset, role, inputs.get(role))
            for role in ROLES
            if role in settings
        }
    found: dict[Role, FeatureMatrix] = {}
    with run.stage(EMBED, settings) as stage:
        for role in (role for role in ROLES if role in settings):
            given = inputs.get(role)
            if given is not None and given.encoder is not None:
                encoder = given.encoder
                if encoder.learns or engine.name == "local":
                    encoder.fit(_fitting_items(dataset))
                folder = _store_path(run, role)
                found[role] = _embed(
                    dataset,
                    encoder,
                    folder,
                    overwrite=_is_stored(run, role)
                    and (overwrite or encoder.learns)
                    and FeatureStore.open(folder).encoder != jsonable(encoder.spec()),
                    progress=show_progress,
                    engine=engine,
                )
            else:
                found[role] = _stored_features(run, dataset, role, given)
            if _is_stored(run, role):
                stage.add(f"features/{role}/{MANIFEST}")
    return found


def stored_features(
    run: Run, dataset: W2SDataset, role: Role, file: Path | None = None
) -> FeatureMatrix:
    """Features of a role as the run was embedded with; no stage runs and nothing is written.

    Parameters
    ----------
    file : path, optional
        The file that they came from, if they did: a run keeps its name and checksum only.

    Raises
    ------
    RunError
        If the run has no such features of its present items.
    InputError
        If they came from a file that is not named, or is another one.
    """
    before = run.manifest["stages"].get(EMBED.name, {}).get("settings", {}).get(role)
    if before is None or not run.follows(EMBED):
        raise RunError(f"{str(run.path)!r} has no {role} features of its items")
    given = None if file is None else FeatureInput(file=file)
    found = _feature_settings(run, dataset, role, given, before)
    if file is not None and (found or {}).get("sha256") != before.get("sha256"):
        raise InputError(f"{str(file)!r} does not hold the {role} features of this run")
    return _stored_features(run, dataset, role, given)


def _settled(given: FeatureInput, engine: Engine) -> FeatureInput:
    return given if given.encoder is None else FeatureInput(resolved_encoder(given.encoder, engine))


def _embed(dataset: W2SDataset, encoder: Encoder, folder: Path, **options: Any) -> FeatureMatrix:
    if dataset.is_paired:
        return embed_pairs(*dataset.pairs, encoder, folder, **options)
    return embed(dataset.items, encoder, folder, **options)


def _feature_settings(
    run: Run, dataset: W2SDataset, role: Role, given: FeatureInput | None, before: Any
) -> dict[str, Any] | None:
    """What a role's features depend on besides the items; None if it has no features."""
    if given is not None and given.file is not None:
        return {"file": given.file.name, "sha256": _checksum(given.file)}
    if given is not None and given.encoder is not None:
        if dataset.kind == "features":
            raise InputError(f"the items are feature vectors: no encoder can read them ({role})")
        encoder = given.encoder
        # What a learning encoder learns follows from the items, which are an input of the stage.
        learnt = {"encoder": type(encoder).__name__, **encoder.get_params()}
        return learnt if encoder.learns else encoder.spec()
    if role == "strong" and dataset.features is not None:
        return {"encoder": "none: the items are vectors"}
    if before is not None and "file" in before:
        raise InputError(
            f"the {role} features of this run came from the file {before['file']!r}: "
            f"name it again with --{role}-features"
        )
    return dict(before) if before is not None and _is_stored(run, role) else None


def _stored_features(
    run: Run, dataset: W2SDataset, role: Role, given: FeatureInput | None
) -> FeatureMatrix:
    """Features that need no computing."""
    if given is not None and given.file is not None:
        return _read_features(given.file, dataset)
    if role == "strong" and dataset.features is not None:
        return ArrayFeatures(dataset.features)
    store = FeatureStore.open(_store_path(run, role))
    if dataset.is_paired:
        first, second = dataset.pairs
        return FeatureView(store.select(first), minus=store.select(second))
    return store.select(dataset.items)


def _store_path(run: Run, role: Role) -> Path:
    return run.path / "features" / role


def _are_sound(run: Run, inputs: dict[Role, FeatureInput]) -> bool:
    """Whether the shards that could be made again are whole; the others are checked when read."""
    return not any(
        FeatureStore.open(_store_path(run, role)).verify()
        for role, given in inputs.items()
        if given.encoder is not None
    )


def _is_stored(run: Run, role: Role) -> bool:
    return (_store_path(run, role) / MANIFEST).is_file()


def _fitting_items(dataset: W2SDataset) -> list[Any]:
    """What an encoder may learn from: the labelled split and the pool, never test items."""
    wanted = np.flatnonzero(np.isin(dataset.splits, ("labelled", "pool")))
    columns = dataset.pairs if dataset.is_paired else (dataset.items,)
    return [column[row] for column in columns for row in wanted]


def _checksum(file: Path) -> str:
    try:
        return sha256_file(file)
    except OSError as error:
        raise FileFormatError(
            f"cannot read features {os.fspath(file)!r}: {error.strerror}"
        ) from error


def _read_features(file: Path, dataset: W2SDataset) -> FeatureMatrix:
    """Map a .npy file of shape (N, D) into memory; of pairs it holds chosen minus rejected."""
    features = ArrayFeatures(load_npy(file, len(dataset)))
    return turned_features(features, dataset.labels) if dataset.is_paired else features
