"""The run directory: what each stage reads and writes.

A run is a folder of Parquet tables and JSON summaries with a manifest that names every finished
file, its checksum and the settings behind it. The files of a stage are moved into place when all
are whole and named when they are in place, so a killed stage leaves either nothing or everything.
One process writes at a time, and a file is believed only as its stage left it.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from w2s_data._version import __version__
from w2s_data.compute.memory import release_freed
from w2s_data.data.filled import Labelling
from w2s_data.data.load import W2SDataset
from w2s_data.data.stored import describe_dataset, read_stored
from w2s_data.data.weak import weak_tables
from w2s_data.errors import InputError, RunError
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.utils import lock
from w2s_data.utils.files import RunFiles, read_parquet
from w2s_data.utils.io import (
    TEMPORARY_SUFFIX,
    make_folder,
    remove_partial_files,
    write_json,
)
from w2s_data.utils.manifest import (
    MANIFEST,
    SCHEMA,
    FileRecord,
    library_versions,
    owner,
    read_manifest,
)
from w2s_data.utils.stage import (
    ITEMS,
    ITEMS_TABLE,
    ROUNDS,
    VECTORS,
    Stage,
    StageResult,
    repair,
)
from w2s_data.utils.writer import StageWriter

logger = logging.getLogger("w2s_data")


T = TypeVar("T")
P = ParamSpec("P")


class Run(RunFiles):
    """A run directory, opened or created.

    Attributes
    ----------
    path : Path
    manifest : dict
        Schema version, data, seed, library versions and, per finished stage, its key, settings,
        seconds and files with checksums.
    wait : bool
        Whether a stage waits while another process writes the run; BusyError otherwise.
    thorough : bool
        Whether every file is hashed before it is believed; else those whose size or time is not
        the recorded one.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from w2s_data import load_dataset
    >>> table = pd.DataFrame({"text": list("abcdefghijklmnopqrst"), "label": [0, 1] * 10})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(folder + "/run", load_dataset(table, label="label"))
    ...     Run.open(folder + "/run").dataset().class_names
    ('0', '1')
    """

    def __init__(
        self, path: Path, manifest: dict[str, Any], *, wait: bool = True, thorough: bool = False
    ) -> None:
        super().__init__(path, manifest, thorough)
        self.wait = wait
        self._is_new = False  # its manifest replaces the one on disk
        self._seed: int | None = None  # given here; it overrules what another process recorded
        self._dataset: W2SDataset | None = None  # read once, since every stage needs it
        self._said: set[str] = set()  # damaged files, each of which is named once
        self.extra: Any = None  # a table of columns for teachers, where the data were read

    def __repr__(self) -> str:
        data = self.manifest["data"]
        stages = ", ".join(self.manifest["stages"]) or "none"
        return f"Run({os.fspath(self.path)!r}: {data['n_items']:,} items, stages: {stages})"

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Whether the path holds a run."""
        return (Path(path) / MANIFEST).is_file()

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, wait: bool = True, thorough: bool = False
    ) -> Self:
        """Open an existing run, and remove files that killed processes left unfinished.

        Raises
        ------
        RunError
            If there is no run, its manifest is damaged, or a newer version wrote it.
        """
        run = cls(Path(path), read_manifest(Path(path)), wait=wait, thorough=thorough)
        remove_partial_files(run.path)
        return run

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        dataset: W2SDataset,
        *,
        source: str | None = None,
        seed: int = 0,
        overwrite: bool = False,
        wait: bool = True,
        labelling: Labelling | None = None,
    ) -> Run:
        """Create a run for a data set, or reopen the one that is there for it.

        A data set that contains all ids of the earlier one counts as the same one grown: its
        features are kept and the stages run again. `labelling` holds the rounds in which labels
        were added to it; a run of the same data set before them takes in what is new.

        Raises
        ------
        RunError
            If the folder holds a run of another data set (`overwrite` allows it), or other files.
        BusyError
            If another process writes the run, and this one shall not `wait`.
        """
        folder = Path(path)
        check_place(folder)
        make_folder(folder)
        with lock.writing(folder, _name(folder), wait=wait):
            check_place(folder)
            remove_partial_files(folder, alone=not cls.exists(folder))
            settings = {"fingerprint": dataset.fingerprint}
            if cls.exists(folder) and not overwrite:
                run = cls.open(folder, wait=wait)
                if run.manifest["data"]["fingerprint"] == dataset.fingerprint:
                    run.seed = seed
                    if not run.is_fresh(ITEMS, settings):
                        run._write_items(dataset, labelling)
                    return run
                if labelling is not None and labelling.base == run.base:
                    run.seed = seed
                    run.relabel(dataset, labelling)
                    return run
                run._check_grown(dataset)
            data = describe_dataset(dataset, source)
            manifest = {"schema": SCHEMA, "data": data, "seed": seed, "stages": {}}
            run = cls(folder, manifest, wait=wait)
            run._is_new = True
            run._write_items(dataset, labelling)
        return run

    @property
    def base(self) -> str:
        """Fingerprint of the data set before labels were added in rounds."""
        return str(self.manifest["data"].get("base", self.manifest["data"]["fingerprint"]))

    def labelling(self) -> Labelling:
        """Return the rounds in which labels were added; RunError if their file was changed."""
        if owner(self.manifest, ROUNDS) is None:
            return Labelling(self.base)
        return Labelling(self.base, tuple(self.read_summary(ROUNDS)["rounds"]))

    def relabel(self, dataset: W2SDataset, labelling: Labelling) -> None:
        """Replace the data set by the same one with more labels; stages that read it run again."""
        with self.writing():
            data = {"fingerprint": dataset.fingerprint, "notes": dataset.notes}
            self.manifest["data"] |= data
            self._is_new = True  # no other process has this manifest, see `_reload`
            self._dataset = None
            self._write_items(dataset, labelling)

    def _check_grown(self, dataset: W2SDataset) -> None:
        # As they lie there: they are about to be replaced, by a process that was killed perhaps.
        known = set(read_parquet(self.path / ITEMS_TABLE, ["id"])["id"])
        if not known <= set(dataset.ids):
            old, new = self.manifest["data"], dataset
            raise RunError(
                f"{os.fspath(self.path)!r} belongs to another data set ({old['name']!r}, "
                f"{old['n_items']:,} items; this one is {new.name!r}, {len(new):,} items): "
                "choose another output, or pass overwrite"
            )
        logger.info("the data set has changed since the last run; known features are kept")

    def _write_items(self, dataset: W2SDataset, labelling: Labelling | None = None) -> None:
        if labelling is not None and labelling.rounds:
            self.manifest["data"]["base"] = labelling.base
        with self.stage(ITEMS, {"fingerprint": dataset.fingerprint}) as stage:
            stage.write_table(ITEMS_TABLE, dataset.table)
            if dataset.features is not None:
                vectors = ArrayFeatures(dataset.features)
                stage.write_vectors(VECTORS, vectors.shape, (rows for _, rows in vectors.blocks()))
            for name, table in weak_tables(dataset).items():
                stage.write_table(name, table)
            if labelling is not None and labelling.rounds:
                stage.write_summary(ROUNDS, {"rounds": labelling.rounds})

    @property
    def seed(self) -> int:
        """Seed of every random choice of the run's stages."""
        return int(self.manifest["seed"])

    @seed.setter
    def seed(self, value: int) -> None:
        self._seed = self.manifest["seed"] = int(value)

    def dataset(self) -> W2SDataset:
        """Return the run's data set as it was stored; feature vectors stay on disk until read.

        Raise RunError if a file of the data set was changed since.
        """
        if self._dataset is None:
            try:
                self._dataset = read_stored(self)
            except InputError as error:
                if isinstance(error, RunError):
                    raise
                raise RunError(
                    f"the items of {os.fspath(self.path)!r} do not fit its manifest: {error}; "
                    f"{repair(ITEMS.name, self.path, {})}"
                ) from error
        return self._dataset

    def is_fresh(self, stage: Stage, settings: Mapping[str, Any]) -> bool:
        """Whether a stage was finished with these settings and inputs and its files are whole."""
        record = self.manifest["stages"].get(stage.name)
        if record is None or record["key"] != self.key(stage, settings):
            return False
        # By their hashes: a stage that is named as the repair of a file must notice the change.
        for file in record["files"]:
            if not self.is_whole(file, thorough=True):
                if file not in self._said:
                    text = "%s is missing or damaged; stage %r runs again"
                    logger.warning(text, file, stage.name)
                self._said.add(file)
                return False
        return True

    def earlier(self, stage: Stage, settings: Mapping[str, Any]) -> StageResult | None:
        """Return the result of a stage that is fresh, None if it has to run.

        Raise RunError if a file of its inputs was changed.
        """
        self.check_inputs(stage)
        if not self.is_fresh(stage, settings):
            return None
        return StageResult(self.read(stage), fresh=True)

    def finished(self, stage: Stage) -> str:
        """Return when a stage was finished (ISO 8601, UTC)."""
        return str(self.manifest["stages"][stage.name]["finished"])

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only process that writes the run, with the manifest as the last one left it."""
        with lock.writing(self.path, _name(self.path), wait=self.wait):
            self._reload()
            yield

    @contextmanager
    def stage(self, stage: Stage, settings: Mapping[str, Any]) -> Iterator[StageWriter]:
        """Run a stage; its files are named in the manifest once the block succeeds."""
        with self.writing():
            self.check_inputs(stage)
            # Taken before the block: a stage that changes its own inputs must not look fresh.
            key, compared = self.key(stage, settings), self._keys(stage.compares)
            started = time.perf_counter()
            with StageWriter(self.path, stage.schema) as writer:
                yield writer
            self._reload()
            stages = self.manifest["stages"]
            for record in stages.values():  # a file belongs to the stage that wrote it last
                record["files"] = {
                    n: f for n, f in record["files"].items() if n not in writer.files
                }
            stages[stage.name] = {
                "key": key,
                "settings": dict(settings),
                "seconds": round(time.perf_counter() - started, 3),
                "finished": _now(),
                "files": writer.files,
                **({"notes": writer.notes} if writer.notes else {}),
                **({"compared": compared} if compared else {}),
            }
            self._save()
        release_freed()  # the next stage, or the report, needs arrays of other sizes

    def read(self, stage: Stage) -> dict[str, Any]:
        """Return the summary of a finished stage, see `StageResult`."""
        main, *others = stage.summaries
        written = self.manifest["stages"][stage.name]["files"]
        others += [n for n in stage.optional if n.endswith(".json") and n in written]
        return self.read_summary(main, stage.schema) | {
            Path(name).stem: self.read_summary(name, stage.schema) for name in others
        }

    def remember_features(self, files: Mapping[str, tuple[Path, FileRecord]]) -> None:
        """Record files of ready-made features and what they hold, by role."""
        records = {r: {"path": os.fspath(p)} | held.model_dump() for r, (p, held) in files.items()}
        self.remember("features", records)

    def remember(self, name: str, by_role: Mapping[str, Any]) -> None:
        """Add to what the manifest holds of roles under a name."""
        known = self.manifest.get(name, {})
        if {**known, **by_role} != known:
            self.manifest[name] = {**known, **by_role}
            self._save()

    def _reload(self) -> None:
        """Take over what other processes recorded since the manifest was read."""
        if self._is_new or not self.exists(self.path):
            return
        manifest = read_manifest(self.path)
        if manifest["data"]["fingerprint"] != self.manifest["data"]["fingerprint"]:
            raise RunError(
                f"{os.fspath(self.path)!r} was made again from other data while this command "
                "waited or worked: start it again"
            )
        if self._seed is not None:
            manifest["seed"] = self._seed
        self.manifest = manifest

    def _save(self) -> None:
        # Written last and in one move: files that it does not name do not count.
        self.manifest.setdefault("created", _now())
        self.manifest["version"] = __version__
        self.manifest["versions"] = library_versions()
        write_json(self.path / MANIFEST, self.manifest)
        self._is_new = False


def writes(stage: Callable[Concatenate[Run, P], T]) -> Callable[Concatenate[Run, P], T]:
    """Make the function of a stage wait for its turn to write the run.

    From its first read on, so that a stage which waited computes from what the last one wrote.
    """

    @functools.wraps(stage)
    def alone(run: Run, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with run.writing():
            return stage(run, *args, **kwargs)

    return alone


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise RunError if a run cannot be made in a folder, since it holds other files."""
    folder = Path(path)
    entries = folder.iterdir() if folder.is_dir() and not Run.exists(folder) else ()
    names = [entry.name for entry in entries if not entry.name.endswith(TEMPORARY_SUFFIX)]
    # A run that was killed before its first manifest leaves its items alone.
    if folder.is_file() or {*names} - {*ITEMS.files, *ITEMS.optional, lock.LOCK}:
        raise RunError(
            f"{os.fspath(folder)!r} exists and is not a run directory; choose another output"
        )


def _name(folder: Path) -> str:
    return f"the run {os.fspath(folder)!r}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
