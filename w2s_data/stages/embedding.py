"""Embedding: the weak and strong features of every item, computed or found."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.base import clone

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.encoders.base import Encoder
from w2s_data.encoders.names import check_encoder, describe_encoder, make_encoder
from w2s_data.encoders.recipe import AUTO
from w2s_data.encoders.shards import resolved_encoder
from w2s_data.errors import (
    InputError,
    NotApplicableError,
    RunError,
    listing,
)
from w2s_data.features.matrix import ArrayFeatures, FeatureMatrix, FeatureView
from w2s_data.features.pairs import turned_features
from w2s_data.features.store import FeatureStore
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.encoding import encode, recorded_encoder, stored_features
from w2s_data.stages.fields import BOTH
from w2s_data.stages.graph import EMBED
from w2s_data.stages.models import ENCODER_SETTINGS, EmbedSettings
from w2s_data.utils.io import atomic_path, load_npy, make_folder
from w2s_data.utils.manifest import MANIFEST, FileRecord
from w2s_data.utils.stage import StageResult

logger = logging.getLogger("w2s_data")

Role = Literal["strong", "weak"]
ROLES: tuple[Role, ...] = ("strong", "weak")


@dataclass(frozen=True)
class FeatureInput:
    """Origin of a role's features: an encoder, or a file of ready-made features."""

    encoder: Encoder | None = None
    file: Path | None = None

    @cached_property
    def content(self) -> FileRecord:
        """Content of the file, which is read once: it may be gigabytes."""
        assert self.file is not None
        return FileRecord.of(self.file)


@writes
def embed_stage(
    run: Run,
    settings: EmbedSettings | None = None,
    compute: Compute | None = None,
    *,
    overwrite: bool = False,
) -> StageResult:
    """Compute the features of every role, or read the ready-made ones.

    Parameters
    ----------
    settings : EmbedSettings
        A role without an encoder or a file keeps the features that the run has.
    overwrite : bool
        Discard features that another pretrained encoder wrote; without it they are an error.
        Features of encoders that learn from the items, which are cheap, are always redone.

    Returns
    -------
    StageResult
        The shape (N, D) of each role's features.

    Raises
    ------
    InputError
        If an encoder or a file does not fit the items.
    """
    settings, compute = settings or EmbedSettings(), compute or Compute(seed=run.seed)
    dataset = run.dataset()
    check_embed(settings, Known(dataset))
    record = run.manifest["stages"].get(EMBED.name, {})
    before, before_files = record.get("settings", {}), record.get("files", {})
    inputs = _inputs(run, dataset, settings, compute, {} if overwrite else before)
    recorded: dict[str, Any] = {
        role: chosen
        for role in ROLES
        if (chosen := _recorded(run, dataset, role, inputs.get(role), before.get(role)))
    }
    for role in ROLES:
        kept = role in recorded and (role not in inputs or inputs[role].encoder is None)
        if kept and manifest_of(role) in before_files:
            run.file(manifest_of(role))  # kept as it is, so it must be as it was
    fresh = run.is_fresh(EMBED, recorded) and _are_sound(run, inputs)
    if not fresh:
        earlier = record.get("notes", ())
        with run.stage(EMBED, recorded) as stage:
            for role in (role for role in ROLES if role in recorded):
                encoder = inputs[role].encoder if role in inputs else None
                if encoder is not None:
                    folder = store_path(run, role)
                    notes = encode(dataset, encoder, folder, compute, role, overwrite)
                    stage.notes += [f"{role} encoder: {note}" for note in notes]
                elif role not in inputs:  # as it was
                    stage.notes += [note for note in earlier if note.startswith(f"{role} encoder")]
                if _is_stored(run, role):
                    stage.add(manifest_of(role))
    # The file's name and content are settings; where it lies may change without a new run.
    run.remember_features(
        {r: (given.file.resolve(), given.content) for r, given in inputs.items() if given.file}
    )
    made = {role: given.encoder for role, given in inputs.items() if given.encoder}
    run.remember("encoders", {role: describe_encoder(encoder) for role, encoder in made.items()})
    features = load_features(run, compute)
    return StageResult({role: matrix.shape for role, matrix in features.items()}, fresh=fresh)


def check_embed(settings: EmbedSettings, known: Known) -> None:
    """Raise for models that do not exist or read other items, and for files that do not fit."""
    dataset = known.dataset
    encoders: list[Encoder | None] = []
    for role in ROLES:
        model, given = getattr(settings, role), getattr(settings, f"{role}_features")
        if model is not None and given is not None:
            raise InputError(f"use either {role} or {role}_features, not both")
        try:
            if model is not None:
                encoder = check_encoder(model, None if dataset is None else dataset.kind)
                encoders.append(encoder)
                if encoder is not None:
                    changed = _with_settings(encoder, role, settings)
                    if changed is not encoder:  # `check_encoder` has checked that one
                        changed.check()
            if isinstance(given, str | os.PathLike):
                load_npy(given, None if dataset is None else len(dataset))
        except InputError as error:
            raise type(error)(f"{role}: {error}") from error
    _check_applied(settings, encoders)


def planned_roles(run: Run, settings: EmbedSettings) -> frozenset[str]:
    """Return the roles that have features once the run is embedded with these settings."""
    before = run.manifest["stages"].get(EMBED.name, {}).get("settings", {})
    given = {
        role
        for role in ROLES
        for name in (role, f"{role}_features")
        if getattr(settings, name) is not None
    }
    vectors = {"strong"} if run.dataset().features is not None else set()
    return frozenset({*before, *given, *vectors})


def load_features(run: Run, compute: Compute | None = None) -> dict[Role, FeatureMatrix]:
    """Return the features of every role as the run was embedded with, read block by block.

    Raises
    ------
    RunError
        If the run has no features of its present items, or a file of ready-made features is gone.
    InputError
        If that file has changed since.
    """
    compute = compute or Compute(seed=run.seed)
    if not run.follows(EMBED):
        # Vectors need no encoder, and a grown data set may find all its items in the store.
        embed_stage(run, EmbedSettings(), compute)
    recorded = run.manifest["stages"][EMBED.name]["settings"]
    dataset = run.dataset()
    return {
        role: FeatureView(
            _read(run, dataset, role, recorded[role]), name=f"{role} features", limit=compute.memory
        )
        for role in ROLES
        if role in recorded
    }


def required(features: Mapping[Role, FeatureMatrix], role: Role) -> FeatureMatrix:
    """Return the features of a role, or raise and say how to add them."""
    require_role(features, role)
    return features[role]


def require_role(roles: Collection[str], role: Role) -> None:
    """Raise unless a role has features, and say how to add them."""
    if role not in roles:
        raise NotApplicableError(
            f"{role} features are missing: pass an encoder as {role}, or a file of ready-made "
            f"features as {role}_features"
            + (", or ready-made weak labels as weak_columns" if role == "weak" else "")
        )


def _inputs(
    run: Run,
    dataset: W2SDataset,
    settings: EmbedSettings,
    compute: Compute,
    before: Mapping[str, Any],
) -> dict[Role, FeatureInput]:
    inputs: dict[Role, FeatureInput] = {}
    for role in ROLES:
        model, given = getattr(settings, role), getattr(settings, f"{role}_features")
        if model is not None:
            dtype = before.get(role, {}).get("dtype", AUTO)
            encoder = configured(settings, role, dataset, compute, dtype)
            inputs[role] = FeatureInput(encoder=encoder)
        elif given is not None:
            inputs[role] = FeatureInput(file=_as_file(run, role, given))
    return inputs


def configured(
    settings: EmbedSettings,
    role: Role,
    dataset: W2SDataset,
    compute: Compute,
    dtype: str = AUTO,
) -> Encoder:
    """Return the encoder of a role with its settings, as it will run here.

    Where it leaves its precision open it has that of the features that a run holds, `dtype`: what
    another machine has begun goes on as it was.
    """
    model = getattr(settings, role)
    encoder: Encoder = make_encoder(model, dataset.kind) if isinstance(model, str) else model
    encoder = _with_settings(encoder, role, settings)
    if dtype != AUTO and encoder.get_params().get("dtype") == AUTO:
        encoder = clone(encoder).set_params(dtype=dtype)
    return _placed(encoder, compute)


def _with_settings(encoder: Encoder, role: Role, settings: EmbedSettings) -> Encoder:
    """Return the encoder with the settings of its role, and those for both that it has."""
    known = encoder.get_params()
    chosen: dict[str, Any] = {}
    for setting, parameter in ENCODER_SETTINGS.items():
        by_role = getattr(settings, setting) or {}
        if role in by_role and parameter not in known:
            raise InputError(
                f"{setting} does not apply to {type(encoder).__name__}, which has "
                f"{listing(s for s, p in ENCODER_SETTINGS.items() if p in known) or 'no setting'}"
            )
        value = by_role.get(role, by_role.get(BOTH))
        if value is not None and parameter in known:
            chosen[parameter] = value
    return clone(encoder).set_params(**chosen) if chosen else encoder


def _check_applied(settings: EmbedSettings, encoders: Sequence[Encoder | None]) -> None:
    """Raise for a setting that no encoder has; None stands for one that is not known yet."""
    for setting, parameter in ENCODER_SETTINGS.items():
        for role in getattr(settings, setting) or ():
            if role != BOTH and getattr(settings, role) is None:
                raise InputError(f"{setting} of {role} requires an encoder as {role}")
            if not any(e is None or parameter in e.get_params() for e in encoders):
                names = listing(type(encoder).__name__ for encoder in encoders)
                raise InputError(
                    f"{setting} applies to none of the encoders ({names})"
                    if encoders
                    else f"{setting} requires an encoder as strong or weak"
                )


def _placed(encoder: Encoder, compute: Compute) -> Encoder:
    """Return the encoder as it will run on the device and engine of the context."""
    if "device" in encoder.get_params():
        encoder.set_params(device=compute.device)
    return resolved_encoder(encoder, compute.engine)


def _as_file(run: Run, role: Role, given: Any) -> Path:
    """Return the path of a file; an array is written into the run, so that it is kept."""
    if isinstance(given, str | os.PathLike):
        return Path(given)
    path = run.path / "features" / f"{role}.npy"
    make_folder(path.parent)
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.save(file, np.asarray(given, dtype=np.float32), allow_pickle=False)
    return path


def _recorded(
    run: Run, dataset: W2SDataset, role: Role, given: FeatureInput | None, before: Any
) -> dict[str, Any] | None:
    """Return what a role's features depend on besides the items; None if it has none."""
    if given is not None and given.file is not None:
        load_npy(given.file, len(dataset))  # a file that does not fit is refused before it counts
        return {"file": given.file.name, "sha256": given.content.sha256}
    if given is not None and given.encoder is not None:
        return recorded_encoder(given.encoder)
    if role == "strong" and dataset.features is not None:
        return {"encoder": "none: the items are vectors"}
    if before is None:
        return None
    return dict(before) if "file" in before or _is_stored(run, role) else None


def _read(run: Run, dataset: W2SDataset, role: Role, recorded: dict[str, Any]) -> FeatureMatrix:
    if "file" in recorded:
        file, is_same = run.feature_file(role)
        if not file.is_file():
            raise RunError(
                f"the {role} features of this run came from {str(file)!r}, which is gone: pass "
                f"{role}_features to `{EMBED.command}` again"
            )
        if not is_same:
            raise InputError(
                f"{str(file)!r} has changed since the run was embedded: pass {role}_features to "
                f"`{EMBED.command}` again"
            )
        # Files of pairs hold chosen minus rejected; the order of each pair was drawn later.
        features = ArrayFeatures(load_npy(file, len(dataset)))
        return turned_features(features, dataset.labels) if dataset.is_paired else features
    if role == "strong" and dataset.features is not None:
        return ArrayFeatures(dataset.features)
    return stored_features(dataset, run.file(manifest_of(role)).parent)


def store_path(run: Run, role: Role) -> Path:
    """Return the folder of a role's feature store."""
    return run.path / manifest_of(role).removesuffix(f"/{MANIFEST}")


def manifest_of(role: Role) -> str:
    """Return the manifest of a role's feature store, as the run names it."""
    return f"features/{role}/{MANIFEST}"


def _are_sound(run: Run, inputs: dict[Role, FeatureInput]) -> bool:
    """Whether the shards that could be made again are whole; the others are checked when read."""
    return not any(
        FeatureStore.open(store_path(run, role)).verify()
        for role, given in inputs.items()
        if given.encoder is not None
    )


def _is_stored(run: Run, role: Role) -> bool:
    return (store_path(run, role) / MANIFEST).is_file()
