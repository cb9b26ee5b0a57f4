"""Check a whole run: every file by its hash, every stage against its inputs, and what is left over.

Nothing is changed, so that a run can be checked while another process writes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from w2s_data.errors import InputError, RunError
from w2s_data.features.store import FeatureStore
from w2s_data.finetune.levels.store import read_tensors
from w2s_data.run import Run
from w2s_data.stages.embedding import ROLES, manifest_of, store_path
from w2s_data.stages.graph import EMBED, GAIN, GROUPS_TABLE, NEXT, PREDICTIONS, SCORES, STAGES
from w2s_data.utils.io import partial_files
from w2s_data.utils.manifest import MANIFEST, owner, read_manifest
from w2s_data.utils.stage import ITEMS, ITEMS_TABLE, WEAK_PROBA, repair

PER_ITEM = (SCORES, WEAK_PROBA, PREDICTIONS, GROUPS_TABLE)  # tables with a row for each item


@dataclass(frozen=True)
class Problem:
    """A fault of a run, and what repairs it."""

    what: str
    repair: str

    def __str__(self) -> str:
        return f"{self.what}: {self.repair}"


def inspect_run(path: str | os.PathLike[str]) -> list[Problem]:
    """Return the faults of a run, most basic first; an empty list if there are none.

    Every file is hashed, and tables are compared with the items.

    Raises
    ------
    RunError
        If there is no run.

    Examples
    --------
    >>> import tempfile
    >>> from w2s_data import Run, load_dataset
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(folder, load_dataset("example:gaussian_overlap?n=200"))
    ...     before = inspect_run(folder)
    ...     _ = (run.path / "items.parquet").write_bytes(b"")
    ...     after = inspect_run(folder)
    >>> before, [problem.what[:25] for problem in after]
    ([], ['items.parquet has changed'])
    """
    folder = Path(path)
    if not Run.exists(folder):
        raise RunError(f"{os.fspath(folder)!r} is not a run directory (it has no {MANIFEST})")
    try:
        run = Run(folder, read_manifest(folder), thorough=True)
    except RunError as error:
        what, _, advice = str(error).partition("; ")
        return [Problem(what, advice or "make the run again with overwrite")]
    changed = list(_changed_files(run))
    # Checking the content of a changed file would only report the change again.
    contents = () if changed else _unfit_contents(run)
    return [*changed, *_features(run), *contents, *_outdated(run), *_students(run), *_left(run)]


def _changed_files(run: Run) -> Iterator[Problem]:
    for name, record in run.manifest["stages"].items():
        for file in record["files"]:
            if change := run.change_of(file):
                yield Problem(f"{file} {change}", _repair(name, run))


def _features(run: Run) -> Iterator[Problem]:
    recorded = run.manifest["stages"].get(EMBED.name, {}).get("settings", {})
    for role in (role for role in ROLES if role in recorded):
        again = f"to `{EMBED.command.replace('RUN', str(run.path))}` again"
        manifest = manifest_of(role)
        if "file" in recorded[role]:
            file, is_same = run.feature_file(role)
            if not is_same:
                state = "has changed" if file.is_file() else "is gone"
                yield Problem(f"{str(file)!r}, the {role} features, {state}", f"pass it {again}")
        elif owner(run.manifest, manifest) is not None and run.is_whole(manifest):
            repaired = f"pass the {role} encoder {again}"
            for shard in FeatureStore.open(store_path(run, role)).verify():
                yield Problem(f"features/{role}/{shard} is missing or damaged", repaired)


def _unfit_contents(run: Run) -> Iterator[Problem]:
    """Compare summaries with their schema, and tables with the items."""
    try:
        ids = run.read_table(ITEMS_TABLE, ["id"], per_item=True)["id"].tolist()
        run.dataset()
    except InputError as error:
        yield Problem(str(error), _repair(ITEMS.name, run))
        return
    for name, record in run.manifest["stages"].items():
        stage = STAGES[name]
        for file in record["files"]:
            try:
                if file in stage.summaries:
                    run.read_summary(file, stage.schema)
                # A stage that is out of date is named as such, and may be of fewer items.
                elif file in PER_ITEM and run.follows(stage):
                    same = run.read_table(file, ["id"], per_item=True)["id"].tolist() == ids
                    if not same:
                        yield Problem(f"{file} lists other items", _repair(name, run))
            except InputError as error:
                yield Problem(str(error), _repair(name, run))


def _outdated(run: Run) -> Iterator[Problem]:
    for name in run.manifest["stages"]:
        stage = STAGES[name]
        # Rows to label are older than the labels that were filled in for them.
        if stage is not NEXT and not run.follows(stage):
            yield Problem(f"stage {name!r} is older than its inputs", _repair(name, run))


def _students(run: Run) -> Iterator[Problem]:
    for file in sorted((run.path / "gain").rglob("*.safetensors")):
        try:
            read_tensors(file, "np")
        except RunError:
            place = file.relative_to(run.path)
            yield Problem(f"{place} is damaged", f"delete it, and {_repair(GAIN.name, run)}")


def _left(run: Run) -> Iterator[Problem]:
    for file in partial_files(run.path):
        place = file.relative_to(run.path)
        yield Problem(
            f"{place} was left by a process that was killed", "the next command removes it"
        )
    for stage in STAGES.values():
        for name in (*stage.files, *stage.optional):
            # The page is no stage's: it is written whenever one has run.
            named = owner(run.manifest, name) is not None or not stage.needs
            if (run.path / name).is_file() and not named:
                yield Problem(f"{name} is of no finished stage", _repair(stage.name, run))


def _repair(stage: str, run: Run) -> str:
    return repair(stage, run.path, run.manifest["stages"])
