"""The kinds of teachers: how the opinions of each are made from its settings.

A new kind is a model in `teacher_settings` and one line here. Kinds that read columns need nothing
but the items; those that learn from gold rows return a `Learner`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.errors import NotApplicableError
from w2s_data.probes.linear import LinearProbe
from w2s_data.stages.labeller_settings import (
    AnswersTeacher,
    CommandTeacher,
    FinetuneTeacher,
    RulesTeacher,
)
from w2s_data.stages.teacher_base import LearningSettings, TeacherSettings
from w2s_data.stages.teacher_settings import EncoderTeacher
from w2s_data.teachers.answers import label_answers
from w2s_data.teachers.columns import column_opinions
from w2s_data.teachers.command import label_by_asking
from w2s_data.teachers.items import Items
from w2s_data.teachers.learner import Learner, Lesson
from w2s_data.teachers.opinions import Opinions
from w2s_data.teachers.probe import FLOOR, ProbeTeacher, fitting_lesson, probe_for
from w2s_data.teachers.rules import label_by_rules

if TYPE_CHECKING:
    from w2s_data.features.matrix import FeatureMatrix
    from w2s_data.teachers.finetuned import FinetunedTeacher

# By kind: labels items by what the table holds. Heavy imports belong inside the functions.
FIXED: dict[str, Callable[[Any, Items], Opinions]] = {
    "columns": lambda s, items: column_opinions(items, s.columns, s.label, s.confidence, s.map),
    "answers": lambda s, items: _answers(s, items),
    "rules": lambda s, items: _rules(s, items),
    "command": lambda s, items: _asked(s, items),
}
# By kind: learns from a lesson. The mapping is what an earlier process chose while it learned, so
# that nothing is chosen twice; it is empty the first time.
LEARNING: dict[str, Callable[[Any, Items, Lesson, Mapping[str, Any]], Learner]] = {
    "encoder": lambda s, items, lesson, learned: _probe(s, items, lesson, learned),
    "finetune": lambda s, items, lesson, _: _finetuned(s, items, lesson),
}


def is_learning(settings: TeacherSettings) -> bool:
    """Whether a teacher learns from gold rows."""
    return isinstance(settings, LearningSettings)


def fixed_opinions(settings: TeacherSettings, items: Items) -> Opinions:
    """Label items by a teacher that does not learn from them."""
    opinions: Opinions = _of(FIXED, settings)(settings, items)
    return opinions


def make_learner(
    settings: TeacherSettings, items: Items, lesson: Lesson, learned: Mapping[str, Any]
) -> Learner:
    """Return a teacher that learns from gold rows."""
    learner: Learner = _of(LEARNING, settings)(settings, items, lesson, learned)
    return learner


def _probe(
    settings: EncoderTeacher, items: Items, lesson: Lesson, learned: Mapping[str, Any]
) -> ProbeTeacher:
    seed, features = items.compute.seed, items.features(settings, lesson.rows)
    fitting = fitting_lesson(lesson, features.shape[1], items.compute.memory, seed)
    if not learned and settings.fits_own_encoder and len(fitting.rows) < len(lesson.rows):
        # Only these rows are kept with the teacher, so its encoder has to follow from them.
        features = items.features(settings, fitting.rows)
        lesson = fitting
    l2 = learned.get("l2", settings.l2)
    probe = LinearProbe(l2=l2, device=items.compute.device, random_state=seed)
    return ProbeTeacher(
        features,
        probe_for(items.dataset, probe),
        fitting,
        len(items.class_names),
        floor=FLOOR,
        one_penalty=True,
        settings=settings,
        encoder_rows=lesson.rows,
    )


def _answers(settings: AnswersTeacher, items: Items) -> Opinions:
    names = settings.columns_read
    table = items.columns[[]].assign(**{name: items.column(name) for name in names})
    return label_answers(
        *(table, settings.answers, items.class_names),
        map=settings.map,
        confidence=settings.confidence,
    )


def _rules(settings: RulesTeacher, items: Items) -> Opinions:
    dataset = items.dataset
    gold = np.where(dataset.splits == "labelled", dataset.labels, -1)
    return label_by_rules(dataset.items, items.class_names, settings.rules, gold=gold)


def _asked(settings: CommandTeacher, items: Items) -> Opinions:
    folder = items.folder if settings.cache is None else Path(settings.cache)
    return label_by_asking(
        *(items.dataset, settings.asked),
        terms=settings.terms,
        map=settings.map,
        folder=folder,
        show_progress=items.compute.progress,
    )


def _finetuned(settings: FinetuneTeacher, items: Items, lesson: Lesson) -> FinetunedTeacher:
    from w2s_data.teachers.finetuned import FinetunedTeacher

    training = settings.training(items.compute.device, items.dataset)
    if settings.tuning != "head":
        return FinetunedTeacher(items, lesson, training)
    frozen = EncoderTeacher(
        encoder=settings.finetune, max_length=settings.max_length, pooling=settings.pooling
    )

    def features(own: Items) -> FeatureMatrix:
        return own.features(frozen, None)

    return FinetunedTeacher(items, lesson, training, features)


def _of(kinds: dict[str, Any], settings: TeacherSettings) -> Any:
    if settings.kind not in kinds:
        raise NotApplicableError(f"teachers of kind {settings.kind!r} are not available")
    return kinds[settings.kind]
