"""New rows for a student: read as the run's own items were, and embedded with its encoder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.load import load_new
from w2s_data.data.pairs import SIDES
from w2s_data.encoders.base import Encoder
from w2s_data.encoders.names import make_encoder, remake_encoder
from w2s_data.errors import (
    DegenerateDataWarning,
    FeatureError,
    InputError,
    NotApplicableError,
    listing,
)
from w2s_data.features.matrix import FeatureMatrix, FeatureView, as_feature_matrix
from w2s_data.features.pairs import embed_pairs
from w2s_data.features.store import FeatureStore, embed
from w2s_data.run import Run
from w2s_data.stages.apply_settings import ApplySettings
from w2s_data.stages.embedding import ROLES
from w2s_data.stages.encoding import fitting_items
from w2s_data.stages.graph import EMBED
from w2s_data.stages.rescoring import Rescorer, make_rescorer
from w2s_data.stages.teacher_features import TeacherFeatures
from w2s_data.stages.teacher_store import stored_columns
from w2s_data.stages.weak_labels import weak_labels_of
from w2s_data.teachers.items import Items
from w2s_data.utils.io import jsonable, load_npy, read_json
from w2s_data.utils.manifest import MANIFEST
from w2s_data.utils.typing import AnyArray, IntArray
from w2s_data.utils.warnings import collect_warnings

if TYPE_CHECKING:
    from w2s_data.finetune.student import Student

ITEMS = 1024  # that a whole model reads between two writes; so many are repeated after a kill
LABELS_OF_PEOPLE = ("name", "pooling_reason")  # of an encoder's spec; no vector depends on them


@dataclass(frozen=True)
class NewRows:
    """N rows to label: strong features, or texts, images or pairs for a whole model."""

    name: str
    inputs: FeatureMatrix | list[Any]
    names: AnyArray | None = None  # ids (N,), None for row numbers
    notes: tuple[str, ...] = ()
    scores: Rescorer | None = None  # where the rows have weak labels of classes
    dataset: W2SDataset | None = None  # of the rows, unless they are features alone

    def __len__(self) -> int:
        inputs = self.inputs
        return len(inputs) if isinstance(inputs, list) else inputs.shape[0]

    def ids(self, part: slice) -> dict[str, AnyArray]:
        """Return the column that names some rows."""
        if self.names is None:
            return {"row": np.arange(part.start, part.stop)}
        return {"id": self.names[part]}

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Yield (rows, their inputs), in order."""
        inputs = self.inputs
        if not isinstance(inputs, list):
            yield from inputs.blocks()
            return
        for start in range(0, len(inputs), ITEMS):
            part = slice(start, min(start + ITEMS, len(inputs)))
            yield part, inputs[part]

    def check_fits(self, student: Student) -> None:
        """Raise unless the student reads such inputs."""
        from w2s_data.finetune.levels.linear import HeadModel

        if isinstance(student.model, HeadModel) and not isinstance(self.inputs, list):
            student.model.check_width(self.inputs.shape[1])


def read_new(
    run: Run, data: Any, settings: ApplySettings, compute: Compute, tuning: str = "head"
) -> NewRows:
    """Read new rows: ready-made strong features as they are, items through the run's encoder.

    A whole model, of another `tuning`, reads the items themselves.
    """
    if tuning != "head" and _are_features(data):
        raise InputError(
            f"the student is a whole model (tuning {tuning!r}), which reads items: pass a table of "
            "items instead of features"
        )
    if isinstance(data, str | os.PathLike) and str(data).endswith(".npy"):
        return NewRows(Path(data).stem, as_feature_matrix(load_npy(data)))
    if isinstance(data, str | os.PathLike) and (Path(data) / MANIFEST).is_file():
        if "stages" in read_json(Path(data) / MANIFEST):
            raise InputError(f"{os.fspath(data)!r} is a run: pass a table, or a file of features")
        data = FeatureStore.open(data)
    if isinstance(data, FeatureStore):
        _check_same_encoder(run, "strong", data.encoder)
        return NewRows(Path(data.path).name, data)
    if isinstance(data, np.ndarray | FeatureMatrix):
        return NewRows("array", as_feature_matrix(data))
    dataset = data if isinstance(data, W2SDataset) else _loaded(run, data, settings, compute)
    known = run.dataset()
    if (dataset.kind, dataset.is_paired) != (known.kind, known.is_paired):
        raise InputError(
            f"the new rows hold {_kind(dataset)}, those of the run {_kind(known)}: the student "
            "cannot read them"
        )
    if dataset.class_names != known.class_names:
        raise InputError(
            f"the new rows have classes {listing(dataset.class_names)}, the run has "
            f"{listing(known.class_names)}"
        )
    if tuning != "head":
        return NewRows(dataset.name, dataset.items, dataset.ids, dataset.notes, None, dataset)
    features = new_features(run, "strong", dataset, compute, settings.strong)
    scores = None
    notes: list[str] = []
    if settings.scores and not known.is_regression:
        with collect_warnings(DegenerateDataWarning):  # the run's own scores gave them
            own = weak_labels_of(run, known, compute)
            weak, notes = own.of_new(new_items(run, dataset, compute))
        scores = None if weak is None else make_rescorer(run, own, weak, compute)
    notes = [*dataset.notes, *notes]
    return NewRows(dataset.name, features, dataset.ids, tuple(notes), scores, dataset)


def new_items(run: Run, dataset: W2SDataset, compute: Compute) -> Items:
    """Return new items as the teachers of a run see them."""
    teachers = TeacherFeatures(run, run.dataset(), compute)

    def features(settings: Any, rows: IntArray | None) -> FeatureMatrix:
        if settings is None:
            return new_features(run, "weak", dataset, compute)
        used = teachers.encoder_of(settings, rows)
        return new_features(run, teachers.store_of(used), dataset, compute, rows=used.rows)

    empty = pd.DataFrame(index=range(len(dataset)))
    columns = empty if dataset.extra is None else dataset.extra
    return Items(dataset, columns, features, compute, run.path / "teachers")


def _are_features(data: Any) -> bool:
    if isinstance(data, str | os.PathLike):
        return str(data).endswith(".npy") or (Path(data) / MANIFEST).is_file()
    return isinstance(data, np.ndarray | FeatureMatrix)


def _loaded(run: Run, data: Any, settings: ApplySettings, compute: Compute) -> W2SDataset:
    known = run.dataset()
    own = {name: value for name in ("item", "id") if (value := getattr(settings, name))}
    sides = [known.columns[side] for side in SIDES if side in known.columns]
    if sides and "item" in own:
        raise InputError(
            f"item does not apply to pairs: their items are read from {listing(sides)}, so give "
            "the columns of the new rows these names"
        )
    dataset = load_new(
        data,
        *(known.columns, known.class_names, known.kind, compute.memory),
        renamed=own,
        keep=list(stored_columns(run).columns),
        unreadable="skip" if settings.skip_unreadable else "error",
    )
    if not sides:
        return dataset
    first, second = (listing([side] if isinstance(side, str) else side) for side in sides)
    order = f"in each pair the first item is that of {first}, the second that of {second}"
    return replace(dataset, notes=(*dataset.notes, order))


def _kind(dataset: W2SDataset) -> str:
    names = {"text": "texts", "image": "images", "features": "feature vectors"}
    return f"pairs of {names[dataset.kind]}" if dataset.is_paired else names[dataset.kind]


def new_features(
    run: Run,
    role: str,
    dataset: W2SDataset,
    compute: Compute,
    model: Any = None,
    rows: IntArray | None = None,
) -> FeatureMatrix:
    """Return features of new items by the run's encoder of a role or store, kept beside the run.

    Vectors are computed once: after a kill, or when rows are added, only the rest is. `rows` are
    those of the run that the encoder of a teacher learned from, if not from all.
    """
    if role == "strong" and dataset.features is not None:
        return as_feature_matrix(dataset.features)
    recorded: Mapping[str, Any] | None = {}  # a store of teachers, which only encoders have
    if role in ROLES:
        recorded = run.manifest["stages"][EMBED.name]["settings"].get(role)
    if recorded is None or "file" in recorded:
        raise NotApplicableError(
            f"the {role} features of {str(run.path)!r} came from a file, so that no encoder is "
            "known for new items: pass their features as a .npy file"
        )
    encoder = _encoder(run, role, recorded, compute, model, rows)
    folder = run.path / "applied" / role
    spec = jsonable(encoder.spec())
    exists = (folder / MANIFEST).is_file()
    overwrite = exists and _different(FeatureStore.open(folder).encoder, spec) != []
    options: dict[str, Any] = {
        "overwrite": overwrite,
        "progress": compute.progress,
        "engine": compute.engine,
    }
    made: FeatureMatrix
    if dataset.is_paired:
        made = embed_pairs(*dataset.pairs, encoder, folder, **options)
    else:
        made = embed(dataset.items, encoder, folder, **options)
    return FeatureView(made, limit=compute.memory)


def _encoder(
    run: Run,
    role: str,
    recorded: Mapping[str, Any],
    compute: Compute,
    model: Any,
    rows: IntArray | None,
) -> Encoder:
    """Make the run's encoder of a role again, and check that it is the same."""
    kind = run.manifest["data"]["kind"]
    described = run.manifest.get("encoders", {}).get(role)
    if described is None and model is None:
        raise InputError(f"{str(run.path)!r} does not say where its {role} encoder is: pass {role}")
    if isinstance(model, Encoder):
        encoder = model
    elif described is None:
        encoder = make_encoder(str(model), kind)
    else:
        encoder = remake_encoder(described)
        if model is not None:
            encoder.set_params(model=str(model))
    known = encoder.get_params()
    if "device" in known:
        # As the run computed them, whatever the device of this machine would choose.
        encoder.set_params(device=compute.device, dtype=recorded.get("dtype", known["dtype"]))
    encoder.fit(fitting_items(run.dataset(), rows) if encoder.learns else [])
    _check_same_encoder(run, role, encoder.spec())
    return encoder


def _check_same_encoder(run: Run, role: str, spec: Mapping[str, Any]) -> None:
    """Raise if features are by another encoder than those of the run."""
    folder = run.path / "features" / role
    if not (folder / MANIFEST).is_file():
        return  # the run's features came from a file: nothing to compare with
    there = FeatureStore.open(folder).encoder
    if changed := _different(there, jsonable(spec)):
        settings = listing(
            (f"{n} {there.get(n)!r}, now {spec.get(n)!r}" for n in changed), 3, quoted=False
        )
        raise FeatureError(
            f"the {role} encoder is not that of {str(run.path)!r}: {settings}; pass {role} with "
            "the run's own one"
        )


def _different(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    names = [name for name in {**there, **here} if name not in LABELS_OF_PEOPLE]
    return [name for name in names if there.get(name) != here.get(name)]
