"""Settings of teachers: a table [teachers.NAME] with one key that says of which kind it is."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, ValidationInfo

from w2s_data.errors import InputError, listing, unknown
from w2s_data.stages.fields import (
    ClassMap,
    Count,
    Flag,
    Names,
    Penalty,
    Shell,
    Text,
    UpToOne,
    located,
)
from w2s_data.stages.labeller_settings import (
    AnswersTeacher,
    CommandTeacher,
    FinetuneTeacher,
    RulesTeacher,
)
from w2s_data.stages.settings import Settings, read_settings
from w2s_data.stages.teacher_base import LearningSettings, TeacherSettings, TrainOn

NAME = re.compile(r"\w([\w .-]*\w)?")
MEMBER = "/"  # stands between the name of a hierarchy and those of its specialists
_OPTION = re.compile(r",\s*(?=[a-z_][\w.]*=)")  # before a further key in a shell


def _encoder(value: Any, info: ValidationInfo) -> Any:
    """Resolve the place of an encoder; a run describes one that Python handed over."""
    if not isinstance(value, Mapping):
        return located(value, info)
    from w2s_data.encoders.names import remake_encoder

    return remake_encoder(value)


def shown_settings(settings: TeacherSettings) -> dict[str, Any]:
    """Return settings for a page: files by their names, without the folders of this machine."""

    def shown(value: Any) -> Any:
        if isinstance(value, str):  # the words of a command, too
            words = value.split(" ")
            return " ".join(Path(w).name if Path(w).is_absolute() else w for w in words)
        return {k: shown(v) for k, v in value.items()} if isinstance(value, dict) else value

    return {name: shown(value) for name, value in settings.recorded().items()}


class EncoderTeacher(LearningSettings):
    """A linear probe on the features of an encoder."""

    kind: ClassVar[str] = "encoder"
    keys: ClassVar[tuple[str, ...]] = ("encoder",)

    encoder: Annotated[Any, AfterValidator(_encoder)] = Field(
        description="Encoder: tfidf, pixels, pca, or a transformers model; weak or strong for the "
        "features that the run has."
    )
    fit_encoder: Literal["own", "all"] | None = Field(
        None,
        description="Items that tfidf or pca learns from: own, the teacher's gold rows "
        "(default with train_on or specialists), or all labelled and pool items.",
    )
    l2: Penalty = Field("cv", description="Penalty of the probe.")
    pooling: Text | None = Field(None, description="As in [weak].")
    max_length: Count | None = Field(None, description="As in [weak].")
    normalize: Flag | None = Field(None, description="As in [weak].")
    encoder_prompt: Annotated[str, Strict()] | None = Field(None, description="As in [weak].")
    dtype: Text | None = Field(None, description="As in [weak].")
    backend: Text | None = Field(None, description="As in [weak].")
    min_agreement: UpToOne | None = Field(None, description="As in [weak].")
    analyzer: Text | None = Field(None, description="As in [weak].")

    @property
    def fits_own_encoder(self) -> bool:
        """Whether an encoder that learns does so from the rows of this teacher alone."""
        if self.fit_encoder is not None:
            return self.fit_encoder == "own"
        return self.specialists is not None or (self.train_on or TrainOn()).chooses_rows


class ColumnsTeacher(TeacherSettings):
    """Columns of the data: probabilities, or a label with or without its confidence."""

    kind: ClassVar[str] = "columns"
    keys: ClassVar[tuple[str, ...]] = ("columns", "label")

    columns: Names | None = Field(None, description="Columns of probabilities, one per class.")
    label: Text | None = Field(None, description="Column of labels, instead of columns.")
    confidence: Text | None = Field(None, description="Column of their confidence.")
    map: ClassMap | None = Field(None, description="Class of a column or label, as in [data].")

    @property
    def columns_read(self) -> tuple[str, ...]:
        """Columns of the original table that the teacher reads."""
        return tuple(name for name in (*(self.columns or ()), self.label, self.confidence) if name)


TEACHERS: tuple[type[TeacherSettings], ...] = (
    *(EncoderTeacher, FinetuneTeacher, ColumnsTeacher),
    *(AnswersTeacher, RulesTeacher, CommandTeacher),
)
KIND_OF = {key: model for model in TEACHERS for key in model.keys}


def read_teacher(name: str, table: Any, base: Path | None = None) -> TeacherSettings:
    """Read the settings of one teacher; an InputError names the teacher and the key.

    >>> read_teacher("small", {"encoder": "tfidf:16"}).kind
    'encoder'
    """
    where = f"teacher {name!r}"
    if not NAME.fullmatch(name):
        raise InputError(
            f"{where}: a name has letters, digits, '_', '-', '.' and blanks inside, and no others"
        )
    if isinstance(table, TeacherSettings):
        return table
    if hasattr(table, "settings"):  # a `Teacher` of Python
        table = table.settings
    if not isinstance(table, Mapping):
        raise InputError(f"{where} is a table, [teachers.{name}]; got {table!r}")
    values = {str(key).replace("-", "_"): value for key, value in table.items()}
    model = _model_of(values, where)
    for key in values:
        if key not in model.model_fields:
            raise InputError(
                f"{where}, of kind {model.kind}: {unknown('key', key, [*model.model_fields])}"
            )
    values = _with_rows(values, where)
    try:
        settings: TeacherSettings = read_settings(model, values, base)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return settings


def _model_of(values: Mapping[str, Any], where: str) -> type[TeacherSettings]:
    """Return the model of the one kind that the keys of a table name."""
    given = [key for key in values if key in KIND_OF]
    if not given:
        close = {key: difflib.get_close_matches(key, KIND_OF, n=1) for key in values}
        meant = [
            f"{key!r}, did you mean {found[0]!r}? Give" for key, found in close.items() if found
        ]
        raise InputError(
            f"{where} is of no kind: {(meant or ['give'])[0]} one of {listing(KIND_OF)}"
        )
    if len(given) > 1:
        raise InputError(
            f"{where} is of two kinds, {given[0]!r} and {given[1]!r}: make two teachers of it"
        )
    return KIND_OF[given[0]]


def _with_rows(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the values with `train_on` read, so that an error in it names its own key."""
    rows = values.get("train_on")
    if not isinstance(rows, Mapping):
        return dict(values)
    for key in rows:
        if key not in TrainOn.model_fields:
            raise InputError(f"{where}, train_on: {unknown('key', key, [*TrainOn.model_fields])}")
    listed = {k: [v] if k == "cluster" and isinstance(v, int) else v for k, v in rows.items()}
    try:
        return {**values, "train_on": read_settings(TrainOn, listed)}
    except InputError as error:
        raise InputError(f"{where}, train_on: {error}") from error


def read_teachers(tables: Any, base: Path | None = None) -> dict[str, TeacherSettings]:
    """Read all teachers; names that differ in case or blanks only are refused."""
    if not isinstance(tables, Mapping):
        raise InputError(f"teachers are tables by name, [teachers.NAME]; got {tables!r}")
    found: dict[str, TeacherSettings] = {}
    by_key: dict[str, str] = {}
    for name, table in tables.items():
        found[str(name)] = read_teacher(str(name), table, base)
        key = re.sub(r"[\W_]+", "", str(name)).casefold()
        if key in by_key:
            raise InputError(
                f"teachers {by_key[key]!r} and {name!r} are called alike: rename one of them"
            )
        by_key[key] = str(name)
    return found


def parse_teacher(text: str) -> tuple[str, dict[str, Any]]:
    """Read NAME=[KIND:]VALUE[,KEY=VALUE...] as a shell has it; a plain value is an encoder.

    Columns and other lists are joined by "+"; a key of `train_on` needs no prefix.

    >>> parse_teacher("north=tfidf:16,source=north+east,share=.5")
    ('north', {'encoder': 'tfidf:16', 'train_on': {'source': ['north', 'east'], 'share': 0.5}})
    """
    name, equals, rest = text.partition("=")
    if not (equals and name.strip() and rest.strip()):
        raise InputError(
            f"a teacher is NAME=ENCODER or NAME=KIND:VALUE, such as small=tfidf:16; got {text!r}"
        )
    kind, colon, value = rest.partition(":")
    if not (colon and kind in KIND_OF):
        kind, value = "encoder", rest
    # A command is a line of its own, with any commas, and so is a table.
    whole = kind == "command" or value.startswith("{")
    first, *more = [value] if whole else _OPTION.split(value)
    table: dict[str, Any] = {kind: first.split("+") if kind == "columns" else first}
    if value.startswith("{"):  # rules by class
        table[kind] = _value(value, kind)
    for option in more:
        key, _, given = option.partition("=")
        own = key.strip().replace("-", "_").removeprefix("train_on.")
        read = _value(given.strip(), own)
        if own in TrainOn.model_fields:
            table.setdefault("train_on", {})[own] = read
        else:
            table[own] = read
    return name.strip(), table


def _value(text: str, key: str) -> Any:
    if key in ("source", "classes"):
        return text.split("+")
    if key == "cluster":
        return [int(part) if part.isdecimal() else part for part in text.split("+")]
    try:
        return tomllib.loads(f"value = {'0' + text if text.startswith('.') else text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _by_name(value: Any) -> Any:
    """Read the teachers of a shell, or tables by name."""
    if isinstance(value, Mapping):
        return read_teachers(value)
    parts = [value] if isinstance(value, str) else list(value)
    named = [parse_teacher(part) for part in parts]
    names = [name for name, _ in named]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"teacher {twice!r} is there twice")
    return read_teachers(dict(named))


Teachers = Annotated[
    dict[str, Any], BeforeValidator(_by_name), Shell("NAME=[KIND:]VALUE", repeated=True)
]


class TeachSettings(Settings):
    """Teachers whose labels are the weak labels of a run."""

    panel: ClassVar[str] = "Teachers"

    teacher: Teachers = Field(
        {},
        description="A teacher: NAME=ENCODER, or NAME=KIND:VALUE with kind columns (joined by +), "
        "label, answers, rules, command or finetune; ,KEY=VALUE sets more.",
    )
    drop: Names = Field((), description="Teachers of the run to leave out.")
    only: Flag = Field(False, description="Leave out all teachers of the run but the given ones.")
