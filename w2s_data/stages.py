"""The stages of a run, from items to scores; each reads the run, adds to it, and can be resumed."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from w2s_data._blocks import DEFAULT_BLOCK_BYTES, ArrayFeatures, FeatureMatrix, RowSubset
from w2s_data._io import jsonable, sha256_file
from w2s_data._progress import progress
from w2s_data._typing import FloatArray
from w2s_data._validation import check_feature_block
from w2s_data.dataset import W2SDataset
from w2s_data.encoders import Encoder
from w2s_data.errors import (
    DegenerateDataWarning,
    FeatureError,
    FileFormatError,
    InputError,
    SplitError,
    listing,
)
from w2s_data.features import FeatureStore, embed
from w2s_data.overlap import OverlapDetector
from w2s_data.overlap_summary import summarize_overlap
from w2s_data.probes import LinearProbe, cross_fit_proba
from w2s_data.regions import Region
from w2s_data.run import MANIFEST, Run, proba_table

logger = logging.getLogger("w2s_data")

Role = Literal["weak", "strong"]
ROLES: tuple[Role, ...] = ("weak", "strong")
TEACHER_FOLDS = 5


@dataclass(frozen=True)
class FeatureInput:
    """Where the features of a role come from: an encoder, a ready-made file, or the run itself."""

    encoder: Encoder | None = None
    file: Path | None = None


@dataclass(frozen=True)
class GuardedFeatures:
    """Features of all items that refuse bad rows by their number, before any subset renames them.

    Each block that is read moves a progress bar on.
    """

    base: FeatureMatrix
    name: str
    advance: Callable[[int], None]

    @property
    def shape(self) -> tuple[int, int]:
        """Items N and feature dimensions D."""
        return self.base.shape

    def blocks(self, max_bytes: int = DEFAULT_BLOCK_BYTES) -> Iterator[tuple[slice, FloatArray]]:
        """Yield the base's blocks."""
        for rows, block in self.base.blocks(max_bytes):
            check_feature_block(block, np.arange(rows.start, rows.stop), self.name, nonzero=True)
            yield rows, block
            self.advance(len(block))

    def take(self, rows: Any) -> FloatArray:
        """Return the given rows."""
        taken = self.base.take(rows)
        check_feature_block(taken, rows, self.name, nonzero=True)
        return taken


def embed_stage(
    run: Run,
    dataset: W2SDataset,
    inputs: dict[Role, FeatureInput],
    show_progress: bool | None = None,
    overwrite: bool = False,
) -> dict[Role, FeatureMatrix]:
    """Compute, or find in the run, the features of every role that has any.

    Parameters
    ----------
    overwrite : bool
        Discard features that another pretrained encoder left in the run; without it they are an
        error. Features of encoders that learn from the items, which are cheap, are always redone.

    Raises
    ------
    InputError
        If an encoder or a file does not fit the items.
    """
    before = run.manifest["stages"].get("embed", {}).get("settings", {})
    settings: dict[str, Any] = {
        role: settled
        for role in ROLES
        if (settled := _feature_settings(run, dataset, role, inputs.get(role), before.get(role)))
    }
    if run.is_fresh("embed", settings, ("items",)) and _are_sound(run, inputs):
        logger.info("embed: nothing has changed since %s", run.finished("embed"))
        return {
            role: _stored_features(run, dataset, role, inputs.get(role))
            for role in ROLES
            if role in settings
        }
    found: dict[Role, FeatureMatrix] = {}
    with run.stage("embed", settings, ("items",)) as stage:
        for role in (role for role in ROLES if role in settings):
            given = inputs.get(role)
            if given is not None and given.encoder is not None:
                encoder = given.encoder.fit(_fitting_items(dataset))
                folder = _store_path(run, role)
                found[role] = embed(
                    dataset.items,
                    encoder,
                    folder,
                    overwrite=_is_stored(run, role)
                    and (overwrite or encoder.learns)
                    and FeatureStore.open(folder).encoder != jsonable(encoder.spec()),
                    progress=show_progress,
                )
            else:
                found[role] = _stored_features(run, dataset, role, given)
            if _is_stored(run, role):
                stage.add(f"features/{role}/{MANIFEST}")
    return found


def score_stage(
    run: Run,
    dataset: W2SDataset,
    features: dict[Role, FeatureMatrix],
    detector: OverlapDetector,
    teacher: LinearProbe,
    show_progress: bool | None = None,
) -> dict[str, Any]:
    """Train the teacher unless weak labels were given, detect overlap, write the scores.

    The detector is fitted on the pool, the items that would get pseudo-labels; items of the other
    splits are then parted by its thresholds.

    Returns
    -------
    dict
        The content of `overlap.json`.

    Raises
    ------
    SplitError
        If the pool is empty, or the labelled split cannot train a teacher.
    InputError
        If features of a needed role are missing.
    """
    settings = {
        "detector": detector.get_params(),
        "teacher": None if dataset.weak_proba is not None else teacher.get_params(),
    }
    if run.is_fresh("score", settings, ("items", "embed")):
        logger.info("score: nothing has changed since %s", run.finished("score"))
        return dict(run.read_summary("overlap.json"))
    if "strong" not in features:
        raise InputError(
            "strong features are missing: name a pretrained model with --strong, "
            "or a file of ready-made features with --strong-features"
        )
    if not len(dataset.rows("pool")):
        raise SplitError("the pool is empty: there is nothing to pseudo-label and to score")
    with run.stage("score", settings, ("items", "embed")) as stage:
        with _noting(DegenerateDataWarning) as notes:
            proba = dataset.weak_proba
            if proba is None:
                proba = teach(dataset, features.get("weak"), teacher)
                stage.write_table("weak_proba.parquet", proba_table(dataset, proba, ("teacher",)))
            averaged = proba.mean(axis=1) if proba.ndim == 3 else proba
            scores = _detect(dataset, features["strong"], averaged, detector, show_progress)
        summary = summarize_overlap(detector, dataset, scores, notes)
        stage.write_table("scores.parquet", scores)
        stage.write_summary("overlap.json", summary)
    return dict(run.read_summary("overlap.json"))


def teach(
    dataset: W2SDataset, weak_features: FeatureMatrix | None, teacher: LinearProbe
) -> FloatArray:
    """Weak probabilities (N, C) of a teacher trained on the labelled split.

    Its probabilities on the labelled items themselves are cross-fitted.
    """
    dataset.check_teacher_data()
    if weak_features is None:
        raise InputError(
            "weak features are missing: name an encoder with --weak (tfidf, pixels or a model), "
            "a file with --weak-features, or ready-made weak labels with --weak-columns"
        )
    labels = dataset.labels
    labelled = dataset.rows("labelled")
    labelled = labelled[labels[labelled] >= 0]
    known, codes = np.unique(labels[labelled], return_inverse=True)
    unseen = [name for c, name in enumerate(dataset.class_names) if c not in known]
    if unseen:
        warnings.warn(
            f"the labelled split holds no item of class {listing(unseen)}: "
            "the teacher never predicts it",
            DegenerateDataWarning,
            stacklevel=2,
        )
    train = weak_features.take(labelled)
    teacher = teacher.fit(train, codes)
    proba = np.zeros((len(dataset), len(dataset.class_names)))
    for rows, block in weak_features.blocks():
        proba[np.ix_(np.arange(rows.start, rows.stop), known)] = teacher.predict_proba(block)
    proba[np.ix_(labelled, known)] = cross_fit_proba(
        teacher, train, codes, folds=TEACHER_FOLDS, random_state=teacher.random_state
    )
    return proba


def _detect(
    dataset: W2SDataset,
    strong: FeatureMatrix,
    proba: FloatArray,
    detector: OverlapDetector,
    show_progress: bool | None,
) -> pd.DataFrame:
    """Fit on the pool, score all items, and return `scores.parquet`."""
    n = len(dataset)
    regions = np.empty(n, dtype=np.int8)
    confidence, alignment = np.empty(n), np.empty(n, dtype=np.float32)
    pool = dataset.rows("pool")
    rest = np.setdiff1d(np.arange(n), pool)
    passes = 2 if len(rest) else 1
    with progress("score", total=passes * n, enabled=show_progress) as advance:
        guarded = GuardedFeatures(strong, "strong features", advance)
        detector.fit(RowSubset(guarded, pool), proba[pool])
        regions[pool] = detector.regions_
        confidence[pool], alignment[pool] = detector.confidence_, detector.alignment_
        if len(rest):
            scored = detector.score_points(RowSubset(guarded, rest), proba[rest])
            regions[rest] = scored.regions
            confidence[rest], alignment[rest] = scored.confidence, scored.alignment
    kept = [name for name in ("id", "split", "source", "group") if name in dataset.table]
    weak = proba.argmax(axis=1)
    labels = dataset.labels
    right = pd.array(weak == labels, dtype="boolean")
    right[labels < 0] = pd.NA
    return dataset.table[kept].assign(
        region=np.array([region.label for region in Region], dtype=object)[regions],
        confidence=confidence,
        alignment=alignment,
        weak_label=np.array(dataset.class_names, dtype=object)[weak],
        weak_correct=right,
    )


@contextmanager
def _noting(category: type[Warning]) -> Iterator[list[str]]:
    """Collect the messages of one category of warning, log them, and pass all others on."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", category)
        yield notes
    for warning in caught:
        if issubclass(warning.category, category):
            notes.append(str(warning.message))
            logger.warning("%s", warning.message)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


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
    return FeatureStore.open(_store_path(run, role)).select(dataset.items)


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
    wanted = np.isin(dataset.splits, ("labelled", "pool"))
    return [item for item, keep in zip(dataset.items, wanted, strict=True) if keep]


def _checksum(file: Path) -> str:
    try:
        return sha256_file(file)
    except OSError as error:
        raise FileFormatError(
            f"cannot read features {os.fspath(file)!r}: {error.strerror}"
        ) from error


def _read_features(file: Path, dataset: W2SDataset) -> FeatureMatrix:
    """Map a .npy file of shape (N, D) into memory."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileFormatError(
            f"cannot read features {os.fspath(file)!r}: expected a whole .npy file of numbers, "
            f"shape (N, D) ({error})"
        ) from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.number):
        raise FeatureError(
            f"{os.fspath(file)!r} holds {array.dtype} of shape {array.shape}; "
            "expected numbers of shape (N, D)"
        )
    if len(array) != len(dataset):
        raise FeatureError(
            f"row counts disagree: {os.fspath(file)!r} has {len(array):,} rows, "
            f"the data set {len(dataset):,} items"
        )
    return ArrayFeatures(array)
