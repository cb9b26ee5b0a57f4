"""Several teachers of values: regressions on encoders' features, and columns of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.columns import column
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.meaning.rules import LabelRules
from w2s_data.data.meaning.spelling import read_spellings
from w2s_data.data.meaning.values import numbers_of
from w2s_data.data.weak import values_table
from w2s_data.errors import InputError, NotApplicableError, listing, unknown
from w2s_data.probes.ridge import RidgeProbe
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import TEACH, TEACHER_COLUMNS, TEACHERS_SUMMARY
from w2s_data.stages.newrows import new_features
from w2s_data.stages.teacher_base import TeacherSettings
from w2s_data.stages.teacher_features import TeacherFeatures
from w2s_data.stages.teacher_settings import (
    ColumnsTeacher,
    EncoderTeacher,
    TeachSettings,
    read_teacher,
    shown_settings,
)
from w2s_data.stages.teacher_store import is_taught, recorded_teachers, stored_columns
from w2s_data.stages.teaching import (
    TWO_ORIGINS,
    check_encoder,
    columns_of,
    digest_of,
    planned_teachers,
)
from w2s_data.stages.values.weak import (
    Learned,
    ValueLabels,
    base_values,
    left_out_values,
    penalty_of,
)
from w2s_data.utils.stage import WEAK_VALUES, StageResult
from w2s_data.utils.typing import FloatArray, IntArray

# Kinds that answer with classes, and what they do that no value could come of.
REFUSED = {
    "answers": "reads the names of classes in answers",
    "rules": "has rules that each vote for a class",
    "command": "asks for one of the classes",
    "finetune": "trains a classifier",
}


@writes
def teach_values(
    run: Run, settings: TeachSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Make the weak values of every teacher, see `teach_stage`; none takes long enough to resume.

    Returns
    -------
    StageResult
        The content of `teachers.json`.

    Raises
    ------
    InputError
        For teachers that do not fit the data, or answer with classes.
    """
    settings, compute = settings or TeachSettings(), compute or Compute(seed=run.seed)
    dataset = run.dataset()
    teachers = planned_teachers(run, settings)
    check_value_teachers(settings.model_copy(update={"teacher": teachers}), Known(dataset))
    columns = columns_of(run, teachers)
    recorded = {
        "teachers": {name: own.recorded() for name, own in teachers.items()},
        "columns": digest_of(columns),
        "seed": compute.seed,
    }
    if (earlier := run.earlier(TEACH, recorded)) is not None:
        return earlier
    features = TeacherFeatures(run, dataset, compute)
    with run.stage(TEACH, recorded) as stage:
        weak = ask_teachers(dataset, teachers, features, columns)
        stores = {
            name: None if learned is None else features.store(teachers[name], learned.rows)
            for name, learned in zip(weak.names, weak.learned, strict=True)
        }
        features.add_to(stage, stores)
        if len(columns.columns):
            stage.write_table(TEACHER_COLUMNS, columns)
        if teachers:
            table = values_table(dataset.ids, weak.values, weak.errors, weak.names)
            stage.write_table(WEAK_VALUES, table)
        stage.write_summary(TEACHERS_SUMMARY, _summary(dataset, teachers, weak, stores))
    features.remove_unused(stores)
    return StageResult(run.read(TEACH))


def check_value_teachers(settings: TeachSettings, known: Known) -> None:
    """Raise for teachers that answer with classes, and those that do not fit the data set."""
    dataset, teachers = known.dataset, settings.teacher
    for name, own in teachers.items():
        if own.kind in REFUSED:
            raise NotApplicableError(
                f"teacher {name!r} of kind {own.kind} {REFUSED[own.kind]}, and the labels are "
                "values: give kind encoder or columns"
            )
        if isinstance(own, ColumnsTeacher):
            _value_column(name, own)
        if isinstance(own, EncoderTeacher):
            _check_learning(name, own, dataset)
    if dataset is None or not teachers:
        return
    if dataset.has_weak_labels:
        raise InputError(TWO_ORIGINS)
    if any(isinstance(own, EncoderTeacher) for own in teachers.values()):
        dataset.check_teacher_data()


def ask_teachers(
    dataset: W2SDataset,
    teachers: Mapping[str, TeacherSettings],
    features: TeacherFeatures,
    columns: pd.DataFrame,
) -> ValueLabels:
    """Return the values (N, M) of all teachers, of gold rows left out by those that learned."""
    parts: list[tuple[FloatArray, FloatArray]] = []
    learned: list[Learned | None] = []
    for name, own in teachers.items():
        if isinstance(own, EncoderTeacher):
            rows = _rows(name, own, dataset)
            matrix = features.of(own, rows)
            probe = RidgeProbe(penalty=penalty_of(own.l2, len(rows)))
            probe.fit(matrix.take(rows), dataset.targets[rows])
            one = Learned(probe, matrix, rows)
            learned.append(one)
            parts.append(left_out_values(dataset, one))
        else:
            learned.append(None)
            values = _read_column(name, own, columns)
            parts.append((values, np.full(len(values), np.nan)))
    values, errors = (
        (np.column_stack(part) for part in zip(*parts, strict=True))
        if parts
        else (
            np.empty((len(dataset), 0)),
            None,
        )
    )
    return ValueLabels(values, errors, tuple(teachers), tuple(learned))


def value_labels_of(run: Run, dataset: W2SDataset, compute: Compute) -> ValueLabels:
    """Return the weak values that a run has before it is scored, with the teachers that learned."""
    if not is_taught(run):
        return base_values(run, dataset)
    features = TeacherFeatures(run, dataset, compute)
    return ask_teachers(dataset, _recorded(run), features, stored_columns(run))


def refresh_value_teachers(run: Run, compute: Compute) -> None:
    """Teach again where items or features are others than the run's teachers were taught on."""
    if is_taught(run) and not run.follows(TEACH):
        teach_values(run, None, compute)


def label_new(
    run: Run, own: ValueLabels, new: W2SDataset, compute: Compute
) -> tuple[FloatArray, list[str]]:
    """Return the values (n, M) of new rows by a run's teachers, NaN where one cannot say any."""
    known = TeacherFeatures(run, run.dataset(), compute)
    values, notes = np.full((len(new), len(own.names)), np.nan), []
    empty = pd.DataFrame(index=range(len(new)))
    for m, (name, settings) in enumerate(_recorded(run).items()):
        try:
            learned = own.learned[m]
            if learned is None:
                columns = empty if new.extra is None else new.extra
                values[:, m] = _read_column(name, settings, columns)
            else:
                used = known.encoder_of(settings, learned.rows)
                store = known.store_of(used)
                matrix = new_features(run, store, new, compute, rows=used.rows)
                values[:, m] = learned.probe.predict(matrix)
        except InputError as error:
            notes.append(f"teacher {name!r} abstains on the new rows: {error}")
    return values, notes


def _recorded(run: Run) -> dict[str, TeacherSettings]:
    return {name: read_teacher(name, own) for name, own in recorded_teachers(run).items()}


def _value_column(name: str, own: ColumnsTeacher) -> str:
    """Return the one column that a teacher's values stand in."""
    given = [key for key in ("confidence", "map") if getattr(own, key) is not None]
    if given:
        raise InputError(f"teacher {name!r}: {given[0]} is of classes, and the labels are values")
    names = [*(own.columns or ()), *([own.label] if own.label is not None else [])]
    if len(names) != 1:
        raise InputError(
            f"teacher {name!r} has the columns {listing(names)}: a teacher of values has one"
        )
    return names[0]


def _read_column(name: str, own: TeacherSettings, columns: pd.DataFrame) -> FloatArray:
    assert isinstance(own, ColumnsTeacher)
    values = column(columns, _value_column(name, own))
    return numbers_of(read_spellings(values, LabelRules(), meaning="abstain"))


def _check_learning(name: str, own: EncoderTeacher, dataset: W2SDataset | None) -> None:
    check_encoder(name, own, dataset)
    if own.specialists is not None:
        raise NotApplicableError(
            f"teacher {name!r}: specialists divide classes, and the labels are values: name "
            "teachers of sources by train_on"
        )
    chosen = own.train_on.model_dump(exclude_none=True) if own.train_on is not None else {}
    if others := [key for key in chosen if key != "source"]:
        raise NotApplicableError(
            f"teacher {name!r}: train_on {others[0]} is of classes, and the labels are values: "
            "choose rows by source"
        )
    if dataset is not None:
        _rows(name, own, dataset)


def _rows(name: str, own: EncoderTeacher, dataset: W2SDataset) -> IntArray:
    """Return the gold rows that a teacher learns from, each item once."""
    rows = gold_rows(dataset).rows
    if own.train_on is not None and own.train_on.source is not None:
        if dataset.sources is None:
            raise InputError(f"teacher {name!r}: train_on by source requires a column of sources")
        names = sorted({str(source) for source in dataset.sources})
        for source in own.train_on.source:
            if source not in names:
                raise InputError(f"teacher {name!r}: {unknown('source', source, names)}")
        rows = rows[np.isin(dataset.sources[rows].astype(str), own.train_on.source)]
    if len(np.unique(dataset.targets[rows])) < 2:
        raise InputError(
            f"teacher {name!r} has {len(rows)} gold rows to learn from, which hold fewer than two "
            "different values"
        )
    return rows


def _summary(
    dataset: W2SDataset,
    teachers: Mapping[str, TeacherSettings],
    weak: ValueLabels,
    stores: Mapping[str, str | None],
) -> dict[str, Any]:
    """Return the content of `teachers.json`."""
    pool, known = dataset.rows("pool"), np.isfinite(weak.values)
    records = []
    for m, ((name, own), learned) in enumerate(zip(teachers.items(), weak.learned, strict=True)):
        chosen = getattr(own, "train_on", None)
        records.append(
            {
                "name": name,
                "of": name,
                "kind": own.kind,
                "learns": learned is not None,
                "settings": shown_settings(own),
                "trained_on": {} if chosen is None else chosen.model_dump(exclude_none=True),
                "n_taught": 0 if learned is None else len(learned.rows),
                "classes": [],
                "coverage": float(known[:, m].mean()),
                "pool_coverage": float(known[pool, m].mean()) if len(pool) else None,
                "features": stores[name],
                "summary": {} if learned is None else {"penalty": learned.probe.penalty_},
                "notes": [],
            }
        )
    return {
        "task": dataset.task,
        "n_items": len(dataset),
        "teachers": records,
        "stages": None,
        "warnings": [],
    }
