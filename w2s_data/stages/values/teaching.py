"""Teachers of values."""

from __future__ import annotations

from w2s_data.errors import NotApplicableError
from w2s_data.stages.checks import Known
from w2s_data.stages.teacher_settings import TeachSettings
from w2s_data.stages.teaching import check_teach


def check_value_teachers(settings: TeachSettings, known: Known) -> None:
    """Raise for teachers, which answer with classes."""
    if settings.teacher:
        raise NotApplicableError(
            "the labels are values, and teachers answer with classes: give ready-made values as "
            "weak_values, or weak features from which a regression learns"
        )
    check_teach(settings, known)
