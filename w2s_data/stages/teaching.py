"""Teaching: the weak labels of several teachers, each kept in a file of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.columns import is_empty
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.weak import proba_table
from w2s_data.encoders.names import check_encoder as known_encoder
from w2s_data.errors import DegenerateDataWarning, InputError, listing, unknown
from w2s_data.finetune.levels.together import led
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import ROLES, check_embed
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import TEACH, TEACHER_COLUMNS, TEACHERS_SUMMARY
from w2s_data.stages.settings import DataSettings
from w2s_data.stages.teacher_base import TeacherSettings, TrainOn
from w2s_data.stages.teacher_features import TeacherFeatures, models_of
from w2s_data.stages.teacher_kinds import fixed_opinions, is_learning, make_learner
from w2s_data.stages.teacher_settings import (
    EncoderTeacher,
    TeachSettings,
    read_teachers,
    shown_settings,
)
from w2s_data.stages.teacher_store import (
    Taught,
    file_of,
    is_taught,
    read_taught,
    recorded_teachers,
    remove_models,
    run_items,
    stored_columns,
    write_taught,
)
from w2s_data.teachers.items import Items
from w2s_data.teachers.learner import Lesson
from w2s_data.teachers.lessons import Member, Selection, hierarchy
from w2s_data.utils.io import sha256_json
from w2s_data.utils.progress import progress
from w2s_data.utils.stage import WEAK_PROBA, StageResult
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.votes import abstains
from w2s_data.utils.warnings import collect_warnings

TWO_ORIGINS = (
    "use either ready-made weak labels or teachers, not both: a teacher of kind columns reads such "
    "columns too"
)
COPIES = 1e-9  # largest difference of probabilities that are the same


@dataclass(frozen=True)
class Planned:
    """A teacher to be taught: itself, or a member of a hierarchy `of` that name."""

    of: str
    member: Member
    settings: TeacherSettings

    @property
    def name(self) -> str:
        """Name of its weak labels."""
        return self.member.name

    @property
    def selection(self) -> Selection:
        """The gold rows that it learns from."""
        rows = getattr(self.settings, "train_on", None) or TrainOn()
        return Selection(**{**rows.model_dump(), **_joined(rows, self.member.part)})


@led
@writes
def teach_stage(
    run: Run, settings: TeachSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Make the weak labels of every teacher that is new or changed; write all of them.

    Without settings the run keeps its teachers. Each has a file of its own, so that a killed stage
    resumes with the next one.

    Returns
    -------
    StageResult
        The content of `teachers.json`.

    Raises
    ------
    InputError
        For teachers that do not fit the data; those that were finished are kept.
    """
    settings, compute = settings or TeachSettings(), compute or Compute(seed=run.seed)
    dataset = run.dataset()
    teachers = planned_teachers(run, settings)
    check_teach(settings.model_copy(update={"teacher": teachers}), Known(dataset))
    columns = columns_of(run, teachers)
    recorded = {
        "teachers": {name: own.recorded() for name, own in teachers.items()},
        "columns": digest_of(columns),
        "contents": {name: dict(own.contents()) for name, own in teachers.items()},
        "seed": compute.seed,
    }
    if (earlier := run.earlier(TEACH, recorded)) is not None:
        return earlier
    features = TeacherFeatures(run, dataset, compute)
    items = run_items(run, features, columns)
    rows = gold_rows(dataset).consistent
    planned = plan(teachers, dataset, rows)
    with run.stage(TEACH, recorded) as stage:
        with progress("teach", total=len(planned), enabled=compute.progress) as advance:
            taught = []
            for one in planned:
                taught.append(_taught(run, one, items, rows))
                advance(1)
        for one in planned:
            stage.add(file_of(one.name))
        stores = {
            one.name: features.store(one.settings, own.lesson.rows)
            for one, own in zip(planned, taught, strict=True)
        }
        features.add_to(stage, stores)
        if len(columns.columns):
            stage.write_table(TEACHER_COLUMNS, columns)
        if planned:
            proba = np.stack([own.opinions.proba for own in taught], axis=1)
            names = tuple(one.name for one in planned)
            stage.write_table(WEAK_PROBA, proba_table(dataset, proba, names))
        summary = _summary(dataset, planned, taught, stores)
        stage.write_summary(TEACHERS_SUMMARY, summary)
    remove_models(run, summary)
    features.remove_unused(stores)
    return StageResult(run.read(TEACH))


def refresh_teachers(run: Run, compute: Compute) -> None:
    """Teach again where items or features are others than the run's teachers were taught on."""
    if is_taught(run) and not run.follows(TEACH):
        teach_stage(run, None, compute)


def planned_teachers(run: Run, settings: TeachSettings) -> dict[str, TeacherSettings]:
    """Return the teachers that a run will have, by name: its own ones and those that are given."""
    before = {} if settings.only else recorded_teachers(run)
    if missing := [name for name in settings.drop if name not in before]:
        raise InputError(f"drop: {unknown('teacher', missing[0], list(before))}")
    kept = {name: own for name, own in before.items() if name not in settings.drop}
    return read_teachers({**kept, **settings.teacher})


def columns_read(settings: TeachSettings) -> tuple[str, ...]:
    """Return the columns of the original table that the given teachers read."""
    return tuple(dict.fromkeys(c for own in settings.teacher.values() for c in own.columns_read))


def check_origin(data: DataSettings, settings: TeachSettings) -> None:
    """Raise for ready-made weak labels beside teachers, before a run takes in either."""
    if settings.teacher and (data.weak_columns or data.weak_label or data.weak_values):
        raise InputError(TWO_ORIGINS)


def check_teach(settings: TeachSettings, known: Known) -> None:
    """Raise for encoders that do not exist, and for teachers that do not fit the data set."""
    dataset, teachers = known.dataset, settings.teacher
    for name, own in teachers.items():
        if isinstance(own, EncoderTeacher):
            check_encoder(name, own, dataset)
        with _named(name):
            own.check(dataset)
    if dataset is None or not teachers:
        return
    if dataset.weak_proba is not None:
        raise InputError(TWO_ORIGINS)
    if len(dataset.class_names) < 2:
        raise InputError(
            f"teachers need two classes or more, and the data have {len(dataset.class_names)}: "
            "pass class_names with all classes"
        )
    rows = gold_rows(dataset).consistent
    for one in plan(teachers, dataset, rows):
        if is_learning(one.settings):
            lesson = one.selection.lesson(one.name, dataset, rows)
            _check_enough(one, len(lesson.rows), dataset)


def check_encoder(name: str, own: EncoderTeacher, dataset: W2SDataset | None) -> None:
    """Raise for an encoder that does not exist or reads other items, naming the teacher."""
    learns = False
    if own.encoder not in ROLES:
        try:
            check_embed(models_of(own), Known(dataset))
        except InputError as error:
            text = str(error).removeprefix("weak: ")
            raise type(error)(f"teacher {name!r}: {text}") from error
        encoder = known_encoder(own.encoder, None if dataset is None else dataset.kind)
        learns = encoder is None or encoder.learns
    if own.fit_encoder is not None and not learns:
        raise InputError(
            f"teacher {name!r}: fit_encoder applies to encoders that learn from items, such as "
            f"tfidf; {own.encoder!r} does not"
        )


def _check_enough(one: Planned, n_rows: int, dataset: W2SDataset) -> None:
    """Raise where an encoder would learn more directions than its teacher has rows."""
    own = one.settings
    if not isinstance(own, EncoderTeacher) or own.encoder in ROLES or not own.fits_own_encoder:
        return
    encoder = known_encoder(own.encoder, dataset.kind)
    wanted = encoder.get_params().get("n_components", 0) if encoder and encoder.learns else 0
    if n_rows < wanted:
        raise InputError(
            f"teacher {one.name!r} has {n_rows:,} gold rows, too few for its encoder to learn "
            f"{wanted:,} directions: choose fewer, widen train_on, or pass fit_encoder='all'"
        )


def plan(
    teachers: Mapping[str, TeacherSettings], dataset: W2SDataset, rows: IntArray
) -> list[Planned]:
    """Return all teachers with the members of their hierarchies, generalists first.

    `rows` are the gold rows that teachers may learn from.
    """
    found = []
    for name, own in teachers.items():
        kind = getattr(own, "specialists", None)
        members = [Member(name, 0, {})] if kind is None else hierarchy(name, kind, dataset, rows)
        found += [Planned(name, member, own) for member in members]
    by_file: dict[str, str] = {}
    for one in found:
        other = by_file.setdefault(file_of(one.name).casefold(), one.name)
        if other != one.name:
            raise InputError(f"teachers {other!r} and {one.name!r} are called alike: rename one")
    return sorted(found, key=lambda one: one.member.level)


def columns_of(run: Run, teachers: Mapping[str, TeacherSettings]) -> pd.DataFrame:
    """Return the columns that the teachers read, of the data or as an earlier command kept them."""
    stored = stored_columns(run)
    given = (
        stored
        if run.extra is None
        else stored.assign(**{str(name): own for name, own in run.extra.items()})
    )
    names = dict.fromkeys(name for own in teachers.values() for name in own.columns_read)
    return given[[name for name in names if name in given]]


def digest_of(columns: pd.DataFrame) -> dict[str, str]:
    """Return a hash of each column's contents."""
    return {
        str(name): sha256_json([None if is_empty(v) else str(v) for v in values])
        for name, values in columns.items()
    }


def _taught(run: Run, one: Planned, items: Items, rows: IntArray) -> Taught:
    """Return a teacher as its file has it, or taught now if it is new or changed."""
    empty = np.empty(0, dtype=np.int64)
    digests = digest_of(items.columns[[c for c in one.settings.columns_read if c in items.columns]])
    key = sha256_json(
        {
            "teacher": one.settings.recorded(),
            "member": one.member,
            "data": run.manifest["data"]["fingerprint"],
            "columns": digests,
            "seed": items.compute.seed,
            "contents": one.settings.contents(),
        }
    )
    earlier = read_taught(run, one.name)
    if earlier is not None and earlier.key == key:
        return earlier
    with _named(one.name), collect_warnings(DegenerateDataWarning) as notes:
        if is_learning(one.settings):
            learner = make_learner(one.settings, items, _lesson(one, items, rows), {})
            opinions, lesson, learned = learner.opinions(), learner.lesson, learner.learned
        else:
            opinions, lesson, learned = fixed_opinions(one.settings, items), None, {}
    opinions = replace(opinions, notes=(*opinions.notes, *map(str, notes)))
    taught = Taught(key, opinions, lesson or Lesson(empty, empty), learned)
    write_taught(run, one.name, taught)
    return taught


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Name the teacher in errors that do not name it yet."""
    try:
        yield
    except InputError as error:
        text = str(error)
        raise type(error)(
            text if text.startswith("teacher ") else f"teacher {name!r}: {text}"
        ) from error


def _lesson(one: Planned, items: Items, rows: IntArray) -> Lesson:
    selection, features = one.selection, None
    if selection.cluster is not None:
        if one.settings.kind != EncoderTeacher.kind:
            raise InputError(f"train_on by cluster requires kind {EncoderTeacher.kind!r}")
        features = items.features(one.settings, None)
    return selection.lesson(one.name, items.dataset, rows, features, items.compute.seed)


def _summary(
    dataset: W2SDataset,
    planned: Sequence[Planned],
    taught: Sequence[Taught],
    stores: Mapping[str, str | None],
) -> dict[str, Any]:
    """Return the content of `teachers.json`."""
    names = np.array(dataset.class_names, dtype=object)
    pool = dataset.rows("pool")
    teachers = [
        {
            "name": one.name,
            "of": one.of,
            "kind": one.settings.kind,
            "learns": is_learning(one.settings),
            "settings": shown_settings(one.settings),
            "trained_on": {k: v for k, v in vars(one.selection).items() if v is not None},
            "n_taught": len(own.lesson.rows),
            "classes": names[np.unique(own.lesson.codes)].tolist(),
            "coverage": own.opinions.coverage,
            "pool_coverage": float(np.mean(~abstains(own.opinions.proba[pool])))
            if len(pool)
            else None,
            "features": stores[one.name],
            "summary": own.opinions.summary,
            "notes": own.opinions.notes,
        }
        for one, own in zip(planned, taught, strict=True)
    ]
    levels = [one.member.level for one in planned]
    stages = [levels.count(level) for level in range(max(levels, default=0) + 1)]
    return {
        "n_items": len(dataset),
        "teachers": teachers,
        "stages": stages if len(stages) > 1 else None,
        "warnings": _copies([one.name for one in planned], [own.opinions.proba for own in taught]),
    }


def _copies(names: Sequence[str], proba: Sequence[FloatArray]) -> list[str]:
    """Say which teachers give every item the same probabilities."""
    found = []
    left = list(range(len(names)))
    while left:
        first, *rest = left
        same = [m for m in rest if np.abs(proba[first] - proba[m]).max(initial=0.0) <= COPIES]
        if same:
            found.append(
                f"teachers {listing([names[first], *(names[m] for m in same)])} are copies of each "
                "other: they count as so many votes, and only one of them says anything"
            )
        left = [m for m in rest if m not in same]
    return found


def _joined(rows: TrainOn, part: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a specialist within the conditions that its hierarchy has anyway."""
    joined = {}
    for key, own in part.items():
        before = getattr(rows, key)
        joined[key] = own if before is None else tuple(name for name in own if name in before)
    return joined
