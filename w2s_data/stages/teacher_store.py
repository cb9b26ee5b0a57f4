"""Teachers of a run: their records, and a file of opinions for each."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from w2s_data.data.weak import proba_of, proba_table
from w2s_data.errors import InputError, RunError
from w2s_data.stages.graph import TEACH, TEACHER_COLUMNS, TEACHERS_SUMMARY
from w2s_data.stages.teacher_base import TeacherSettings
from w2s_data.stages.teacher_features import TeacherFeatures
from w2s_data.stages.teacher_kinds import fixed_opinions, make_learner
from w2s_data.stages.teacher_settings import read_teacher
from w2s_data.teachers.folds import MODELS
from w2s_data.teachers.items import Items
from w2s_data.teachers.learner import Lesson
from w2s_data.teachers.opinions import Opinions
from w2s_data.utils.files import read_parquet
from w2s_data.utils.io import atomic_path, jsonable, make_folder
from w2s_data.utils.manifest import owner
from w2s_data.utils.reading import reading
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    from w2s_data.compute.context import Compute
    from w2s_data.data.dataset import W2SDataset
    from w2s_data.run import Run
    from w2s_data.teachers.learner import Learner

_RECORD = b"w2s_data"  # key of a teacher's record in the metadata of its file
_TAUGHT = "taught"  # column of the class codes that a teacher learned; -1 elsewhere


@dataclass(frozen=True)
class Taught:
    """A teacher as its file holds it: its opinions, and what it learned from."""

    key: str
    opinions: Opinions
    lesson: Lesson
    learned: Mapping[str, Any] = field(default_factory=dict)


def file_of(name: str) -> str:
    """Return the file of a teacher's opinions, as the run names it.

    >>> file_of("small/1of2")
    'teachers/small-1of2.parquet'
    """
    safe = re.sub(r"[^\w.-]", "-", name)
    return f"teachers/{safe}.parquet"


def write_taught(run: Run, name: str, taught: Taught) -> None:
    """Write a teacher's file at once, so that a kill of the stage keeps it."""
    dataset = run.dataset()
    codes = np.full(len(dataset), -1)
    codes[taught.lesson.rows] = taught.lesson.codes
    table = proba_table(dataset, taught.opinions.proba, (name,)).assign(**{_TAUGHT: codes})
    record = {
        "key": taught.key,
        "summary": taught.opinions.summary,
        "notes": taught.opinions.notes,
        "learned": taught.learned,
    }
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    known = arrow.schema.metadata or {}
    arrow = arrow.replace_schema_metadata({**known, _RECORD: json.dumps(jsonable(record)).encode()})
    path = run.path / file_of(name)
    make_folder(path.parent)
    with atomic_path(path) as partial:
        pq.write_table(arrow, partial)


def read_taught(run: Run, name: str) -> Taught | None:
    """Read a teacher's file; None if there is none, or it is damaged or of other items."""
    path = run.path / file_of(name)
    if not path.is_file():
        return None
    dataset = run.dataset()
    try:
        with reading(path, "Parquet", error=RunError):
            record = json.loads((pq.read_schema(path).metadata or {})[_RECORD])
        table = read_parquet(path, None)
        if table["id"].tolist() != dataset.ids.tolist():
            return None
        codes = table[_TAUGHT].to_numpy(dtype=np.int64)
        proba = proba_of(table.drop(columns=_TAUGHT), dataset.class_names)[:, 0]
    except (InputError, KeyError, ValueError):  # it is made again
        return None
    rows = np.flatnonzero(codes >= 0)
    opinions = Opinions(proba, record["summary"], tuple(record["notes"]))
    return Taught(record["key"], opinions, Lesson(rows, codes[rows]), record["learned"])


def remove_models(run: Run, summary: Mapping[str, Any]) -> None:
    """Delete the fine-tuned models of teachers that the run no longer has."""
    places = [str(one["summary"].get("model")) for one in summary["teachers"]]
    kept = {place.partition("/")[0] for place in places}
    for folder in (run.path / "teachers").glob(f"{MODELS}*"):
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def is_taught(run: Run) -> bool:
    """Whether the weak labels of a run are those of its teachers."""
    return bool(recorded_teachers(run))


def recorded_teachers(run: Run) -> dict[str, Any]:
    """Return the settings of a run's teachers, by name, as they were recorded."""
    record = run.manifest["stages"].get(TEACH.name, {})
    return dict(record.get("settings", {}).get("teachers", {}))


def teacher_names(run: Run) -> tuple[str, ...]:
    """Return the names of a run's teachers in the order of their weak labels, () without any."""
    return tuple(teacher_records(run)) if is_taught(run) else ()


def teacher_records(run: Run) -> dict[str, dict[str, Any]]:
    """Return the record of each teacher in `teachers.json`, by name."""
    summary = run.read_summary(TEACHERS_SUMMARY, TEACH.schema)
    return {teacher["name"]: teacher for teacher in summary["teachers"]}


def teacher_stages(run: Run) -> tuple[int, ...] | None:
    """Return how many teachers each level of the run's hierarchy has, None without specialists."""
    if not is_taught(run):
        return None
    stages = run.read_summary(TEACHERS_SUMMARY, TEACH.schema)["stages"]
    return None if stages is None else tuple(stages)


def run_items(run: Run, features: TeacherFeatures, columns: pd.DataFrame | None = None) -> Items:
    """Return a run's items as its teachers see them."""
    dataset = features.dataset
    table = stored_columns(run) if columns is None else columns
    return Items(dataset, table, features.of, features.compute, run.path / "teachers")


def stored_columns(run: Run) -> pd.DataFrame:
    """Return the columns of the original table that the run keeps for its teachers."""
    if owner(run.manifest, TEACHER_COLUMNS) is None:
        return pd.DataFrame(index=range(len(run.dataset())))
    return run.read_table(TEACHER_COLUMNS, per_item=True)


@dataclass(frozen=True)
class StoredTeacher:
    """A teacher of a run; `learner` is None if it learned from no gold row."""

    name: str
    settings: TeacherSettings
    learner: Learner | None

    def label(self, items: Items) -> FloatArray:
        """Return probabilities (N, C) of new items."""
        if self.learner is not None:
            return self.learner.label(items)
        return fixed_opinions(self.settings, items).proba


def stored_teachers(run: Run, dataset: W2SDataset, compute: Compute) -> list[StoredTeacher]:
    """Return the teachers of a run as they were taught; none is trained before it is needed."""
    items = run_items(run, TeacherFeatures(run, dataset, compute))
    recorded, found = recorded_teachers(run), []
    for name, record in teacher_records(run).items():
        own = record["of"]  # itself, or the hierarchy that it is a member of
        settings = read_teacher(own, recorded[own])
        learner = None
        if record["learns"]:
            run.file(file_of(name))  # as the stage left it
            taught = read_taught(run, name)
            assert taught is not None
            learner = make_learner(settings, items, taught.lesson, taught.learned)
        found.append(StoredTeacher(name, settings, learner))
    return found
