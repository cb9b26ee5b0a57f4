"""The run directory: what each stage reads and writes.

A run is a folder of Parquet tables and JSON summaries with a manifest that names every finished
file, its checksum and the settings behind it. Files are moved into place when they are whole and
named when they are in place, so a killed stage leaves either nothing or everything.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from w2s_data._version import __version__
from w2s_data.data.load import W2SDataset
from w2s_data.errors import FileFormatError, InputError, RunError
from w2s_data.features.matrix import ArrayFeatures, FeatureMatrix
from w2s_data.utils.io import (
    TEMPORARY_SUFFIX,
    atomic_path,
    load_npy,
    make_folder,
    read_json,
    remove_partial_files,
    sha256_file,
    sha256_json,
    write_json,
)
from w2s_data.utils.stage import ITEMS, ITEMS_TABLE, VECTORS, WEAK_PROBA, Stage, StageResult
from w2s_data.utils.typing import FloatArray

logger = logging.getLogger("w2s_data")

# Of the run directory as a whole; 1 was the layout before stages were declared in one place.
SCHEMA = 2
MANIFEST = "manifest.json"
# Their versions are recorded, since the low digits of results depend on them.
LIBRARIES = ("numpy", "pandas", "pyarrow", "scikit-learn", "torch", "transformers")


class Run:
    """A run directory, opened or created.

    Attributes
    ----------
    path : Path
    manifest : dict
        Schema version, data, seed, library versions and, per finished stage, its key, settings,
        seconds and files with checksums.

    Examples
    --------
    >>> import tempfile
    >>> from w2s_data import load_dataset
    >>> table = pd.DataFrame({"text": list("abcdefghijklmnopqrst"), "label": [0, 1] * 10})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(folder + "/run", load_dataset(table, label="label"))
    ...     Run.open(folder + "/run").dataset().class_names
    ('0', '1')
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self._dataset: W2SDataset | None = None  # read once, since every stage needs it

    def __repr__(self) -> str:
        data = self.manifest["data"]
        stages = ", ".join(self.manifest["stages"]) or "none"
        return f"Run({os.fspath(self.path)!r}: {data['n_items']:,} items, stages: {stages})"

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Whether the path holds a run."""
        return (Path(path) / MANIFEST).is_file()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Open an existing run.

        Raises
        ------
        RunError
            If there is no run, its manifest is damaged, or a newer version wrote it.
        """
        folder = Path(path)
        if not cls.exists(folder):
            raise RunError(
                f"{os.fspath(folder)!r} is not a run directory (it has no {MANIFEST}); "
                "`w2s score DATA -o RUN` makes one"
            )
        try:
            manifest = read_json(folder / MANIFEST)
        except FileFormatError as error:
            raise RunError(f"the run's manifest is damaged: {error}") from error
        if not isinstance(manifest, dict) or not {"schema", "data", "stages"} <= manifest.keys():
            raise RunError(f"{os.fspath(folder / MANIFEST)!r} is not the manifest of a run")
        if manifest["schema"] < SCHEMA:
            raise RunError(
                f"{os.fspath(folder)!r} was written by an earlier version (schema "
                f"{manifest['schema']}, this version reads {SCHEMA}): score the data again into "
                "another output"
            )
        if manifest["schema"] > SCHEMA:
            raise RunError(
                f"{os.fspath(folder)!r} was written by a newer version (schema "
                f"{manifest['schema']}, this version reads up to {SCHEMA}): upgrade w2s-data"
            )
        return cls(folder, manifest)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        dataset: W2SDataset,
        *,
        source: str | None = None,
        seed: int = 0,
        overwrite: bool = False,
    ) -> Run:
        """Create a run for a data set, or reopen the one that is there for it.

        A data set that contains all ids of the earlier one counts as the same one grown: its
        features are kept and the stages run again.

        Raises
        ------
        RunError
            If the folder holds a run of another data set (`overwrite` allows it), or other files.
        """
        folder = Path(path)
        check_place(folder)
        fingerprint = dataset.fingerprint
        if cls.exists(folder) and not overwrite:
            run = cls.open(folder)
            if run.manifest["data"]["fingerprint"] == fingerprint:
                run.manifest["seed"] = seed
                return run
            run._check_grown(dataset)
        data = {
            "name": dataset.name,
            "source": source if source is not None else dataset.name,
            "kind": dataset.kind,
            "fingerprint": fingerprint,
            "n_items": len(dataset),
            "class_names": dataset.class_names,
            "weak_names": dataset.weak_names,
            "notes": dataset.notes,
        }
        run = cls(folder, {"schema": SCHEMA, "data": data, "seed": seed, "stages": {}})
        make_folder(folder)
        remove_partial_files(folder)  # of a run that was killed while it wrote
        run._write_items(dataset)
        return run

    def _check_grown(self, dataset: W2SDataset) -> None:
        known = set(self.read_table(ITEMS_TABLE, columns=["id"])["id"])
        if not known <= set(dataset.ids):
            old, new = self.manifest["data"], dataset
            raise RunError(
                f"{os.fspath(self.path)!r} belongs to another data set ({old['name']!r}, "
                f"{old['n_items']:,} items; this one is {new.name!r}, {len(new):,} items): "
                "choose another output, or pass overwrite"
            )
        logger.info("the data set has changed since the last run; known features are kept")

    def _write_items(self, dataset: W2SDataset) -> None:
        with self.stage(ITEMS, {"fingerprint": dataset.fingerprint}) as stage:
            stage.write_table(ITEMS_TABLE, dataset.table)
            if dataset.features is not None:
                stage.write_features(VECTORS, ArrayFeatures(dataset.features))
            if dataset.weak_proba is not None:
                stage.write_table(
                    WEAK_PROBA,
                    proba_table(dataset, dataset.weak_proba, dataset.weak_names),
                )

    @property
    def seed(self) -> int:
        """Seed of every random choice of the run's stages."""
        return int(self.manifest["seed"])

    @seed.setter
    def seed(self, value: int) -> None:
        self.manifest["seed"] = int(value)

    def dataset(self) -> W2SDataset:
        """Return the run's data set as it was stored; feature vectors stay on disk until read."""
        if self._dataset is None:
            self._dataset = self._read_dataset()
        return self._dataset

    def _read_dataset(self) -> W2SDataset:
        data = self.manifest["data"]
        table = self.read_table(ITEMS_TABLE)
        features = self._vectors() if data["kind"] == "features" else None
        weak_names = tuple(data["weak_names"])
        weak_proba = None
        if WEAK_PROBA in self.manifest["stages"][ITEMS.name]["files"]:
            values = self.read_table(WEAK_PROBA).drop(columns="id").to_numpy()
            n_classes = len(data["class_names"])
            weak_proba = values.reshape(len(values), -1, n_classes)
            if not weak_names:  # one unnamed weak model
                weak_proba = weak_proba[:, 0]
        return W2SDataset(
            table=table,
            kind=data["kind"],
            class_names=tuple(data["class_names"]),
            weak_proba=weak_proba,
            features=features,
            weak_names=weak_names,
            name=data["name"],
            notes=tuple(data["notes"]),
        )

    def _vectors(self) -> FloatArray:
        try:
            return load_npy(self.path / VECTORS)
        except InputError as error:
            raise RunError(f"{error}: make the run again with overwrite") from error

    def key(self, stage: Stage, settings: Mapping[str, Any]) -> str:
        """Return a hash of a stage's settings and of the stages it reads."""
        stages = self.manifest["stages"]
        # A stage that has not run counts as None: when it does, those that use it run again.
        upstream = {name: stages.get(name, {}).get("key") for name in stage.inputs}
        return sha256_json({"schema": stage.schema, "settings": settings, "inputs": upstream})

    def is_fresh(self, stage: Stage, settings: Mapping[str, Any]) -> bool:
        """Whether a stage was finished with these settings and inputs and its files are whole."""
        record = self.manifest["stages"].get(stage.name)
        if record is None or record["key"] != self.key(stage, settings):
            return False
        # Checksums, not times: a file that was copied or edited must not pass as finished.
        for file, checksum in record["files"].items():
            path = self.path / file
            if not path.is_file() or sha256_file(path) != checksum:
                logger.warning("%s is missing or damaged; stage %r runs again", file, stage.name)
                return False
        return True

    def earlier(self, stage: Stage, settings: Mapping[str, Any]) -> StageResult | None:
        """Return the result of a stage that is fresh, None if it has to run."""
        if not self.is_fresh(stage, settings):
            return None
        return StageResult(self.read(stage), fresh=True)

    def follows(self, stage: Stage) -> bool:
        """Whether a stage was finished, and from the inputs as they are now."""
        record = self.manifest["stages"].get(stage.name)
        return record is not None and record["key"] == self.key(stage, record["settings"])

    def finished(self, stage: Stage) -> str:
        """Return when a stage was finished (ISO 8601, UTC)."""
        return str(self.manifest["stages"][stage.name]["finished"])

    @contextmanager
    def stage(self, stage: Stage, settings: Mapping[str, Any]) -> Iterator[StageWriter]:
        """Run a stage; its files are named in the manifest once the block succeeds."""
        # Taken before the block: a stage that changes its own inputs must not look fresh.
        key = self.key(stage, settings)
        started = time.perf_counter()
        writer = StageWriter(self.path, stage.schema)
        yield writer
        self.manifest["stages"][stage.name] = {
            "key": key,
            "settings": dict(settings),
            "seconds": round(time.perf_counter() - started, 3),
            "finished": _now(),
            "files": writer.files,
        }
        self._save()

    def read(self, stage: Stage) -> dict[str, Any]:
        """Return the summary of a finished stage, see `StageResult`."""
        main, *others = stage.summaries
        return dict(self.read_summary(main)) | {
            Path(name).stem: self.read_summary(name) for name in others
        }

    def remember_features(self, places: Mapping[str, str]) -> None:
        """Record where files of ready-made features lie, by role."""
        known = self.manifest.get("features", {})
        if {**known, **places} != known:
            self.manifest["features"] = {**known, **places}
            self._save()

    def feature_file(self, role: str) -> Path:
        """Return the file that a role's ready-made features came from."""
        return Path(self.manifest.get("features", {}).get(role, ""))

    def read_table(self, name: str, columns: list[str] | None = None) -> pd.DataFrame:
        """Read one of the run's Parquet tables."""
        path = self.path / name
        if not path.is_file():
            raise RunError(f"the run {os.fspath(self.path)!r} has no {name} yet")
        try:
            table: pd.DataFrame = pq.read_table(path, columns=columns).to_pandas()
        except (pa.ArrowException, OSError) as error:
            raise RunError(f"{os.fspath(path)!r} is damaged: {error}") from error
        return table

    def read_summary(self, name: str) -> Any:
        """Read one of the run's JSON summaries."""
        if not (self.path / name).is_file():
            raise RunError(f"the run {os.fspath(self.path)!r} has no {name} yet")
        return read_json(self.path / name)

    def _save(self) -> None:
        # Written last and in one move: files that it does not name do not count.
        self.manifest.setdefault("created", _now())
        self.manifest["version"] = __version__
        self.manifest["versions"] = _versions()
        write_json(self.path / MANIFEST, self.manifest)


class StageWriter:
    """Writes the files of a stage and records their checksums."""

    def __init__(self, folder: Path, schema: int) -> None:
        self._folder = folder
        self._schema = schema
        self.files: dict[str, str] = {}

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as Parquet."""
        with atomic_path(self._folder / name) as partial:
            table.to_parquet(partial, index=False)
        self.add(name)

    def write_features(self, name: str, features: FeatureMatrix) -> None:
        """Write features as a .npy file of float32, block by block."""
        header = {"descr": "<f4", "fortran_order": False, "shape": features.shape}
        # By hand, since np.save would need the whole array in memory.
        with atomic_path(self._folder / name) as partial, partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for _, block in features.blocks():
                file.write(np.ascontiguousarray(block).data)
        self.add(name)

    def write_summary(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a summary as JSON, with the stage's schema number."""
        write_json(self._folder / name, {"schema": self._schema, **value})
        self.add(name)

    def add(self, name: str) -> None:
        """Name a file that something else wrote into the run."""
        self.files[name] = sha256_file(self._folder / name)


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise RunError if a run cannot be made in a folder, since it holds other files."""
    folder = Path(path)
    entries = folder.iterdir() if folder.is_dir() and not Run.exists(folder) else ()
    names = [entry.name for entry in entries if not entry.name.endswith(TEMPORARY_SUFFIX)]
    # A run that was killed before its first manifest leaves its items alone.
    if folder.is_file() or {*names} - {*ITEMS.files, *ITEMS.optional}:
        raise RunError(
            f"{os.fspath(folder)!r} exists and is not a run directory; choose another output"
        )


def proba_table(
    dataset: W2SDataset, proba: FloatArray, weak_names: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Weak probabilities as a table: id, then a column "weak model / class" for each."""
    stacked = proba if proba.ndim == 3 else proba[:, None, :]
    names = weak_names or tuple(
        "weak" if stacked.shape[1] == 1 else f"weak {m}" for m in range(stacked.shape[1])
    )
    columns = [f"{model} / {name}" for model in names for name in dataset.class_names]
    table = pd.DataFrame(stacked.reshape(len(dataset), -1), columns=columns)
    table.insert(0, "id", dataset.ids)
    return table


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
