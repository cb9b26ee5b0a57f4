"""Settings that all kinds of teachers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, Strict

from w2s_data.stages.fields import BelowOne, ClassNames, Count, Names, Positive
from w2s_data.stages.settings import Settings
from w2s_data.utils.io import jsonable

if TYPE_CHECKING:
    from w2s_data.data.dataset import W2SDataset


def _described(value: Any) -> Any:
    """Return a setting as JSON types: an encoder by its arguments, a function by its name."""
    from w2s_data.encoders.base import Encoder
    from w2s_data.encoders.names import describe_encoder

    if isinstance(value, Encoder):
        return describe_encoder(value)
    if callable(value):
        from w2s_data.teachers.functions import code_hash

        return f"{value.__module__}:{value.__qualname__}#{code_hash(value)}"
    if isinstance(value, tuple | list):
        return [_described(one) for one in value]
    return jsonable(value)


class TrainOn(Settings):
    """Gold rows that a teacher learns from: those that fulfil every condition."""

    source: Names | None = Field(None, description="Sources.")
    classes: ClassNames | None = Field(None, description="Classes.")
    cluster: Annotated[tuple[int, ...], Strict(False)] | None = Field(
        None, description="Numbers of clusters of its features, from 0."
    )
    clusters: Count | None = Field(None, description="Clusters to form; 4 by default.")
    share: Annotated[Positive, Field(le=1)] | None = Field(
        None, description="Random share of these rows."
    )
    label_noise: BelowOne | None = Field(
        None, description="Share of them that gets another label, drawn at random."
    )

    @property
    def chooses_rows(self) -> bool:
        """Whether a teacher learns from some of the gold rows only."""
        return any((self.source, self.classes, self.cluster is not None, (self.share or 1) < 1))


class TeacherSettings(Settings):
    """Settings that every kind of teacher has."""

    panel: ClassVar[str] = "Teachers"
    kind: ClassVar[str]  # also the key that names it
    keys: ClassVar[tuple[str, ...]]  # any of which says that a table is of this kind

    secrets: ClassVar[frozenset[str]] = frozenset()  # fields that are written down nowhere

    @property
    def columns_read(self) -> tuple[str, ...]:
        """Columns of the original table that the teacher reads."""
        return ()

    @property
    def fits_own_encoder(self) -> bool:
        """Whether an encoder that learns learns from the rows of this teacher alone."""
        return False

    def check(self, dataset: W2SDataset | None) -> None:
        """Raise InputError where the settings cannot be used, before anything is computed."""

    def contents(self) -> Mapping[str, Any]:
        """Return what its opinions depend on beside settings and data, such as hashes of files."""
        return {}

    def recorded(self) -> dict[str, Any]:
        """Return the settings that were given, in JSON, by which they can be read again."""
        given = self.model_dump(exclude_none=True, exclude_defaults=True)
        return {n: _described(value) for n, value in given.items() if n not in self.secrets}


class LearningSettings(TeacherSettings):
    """Settings of a teacher that learns from gold rows."""

    train_on: TrainOn | None = Field(None, description="Gold rows that it learns from.")
    specialists: Literal["halves", "quarters", "sources"] | None = Field(
        None, description="Also train specialists, each on a part of the classes or sources."
    )
