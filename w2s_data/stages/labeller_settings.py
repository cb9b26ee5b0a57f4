"""Settings of teachers that answer, follow rules, are asked, or are fine-tuned."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, ValidationInfo

from w2s_data.errors import InputError, NotApplicableError
from w2s_data.stages.fields import ClassMap, Count, File, Penalty, Place, Positive, Rate, Text
from w2s_data.stages.teacher_base import LearningSettings, TeacherSettings
from w2s_data.utils.constants import MOST_EPOCHS

if TYPE_CHECKING:
    from w2s_data.data.dataset import W2SDataset
    from w2s_data.finetune.settings import TrainingSettings
    from w2s_data.teachers.asking import Endpoint, Program
    from w2s_data.teachers.command import Terms

MOST_BATCHES = 64  # at a time; each is a thread, and perhaps a process
Seconds = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]


def _function(value: Any, info: ValidationInfo) -> Any:
    """Resolve the files of FILE.py:FUNCTION relative to the configuration."""
    base = (info.context or {}).get("base")
    if isinstance(value, list | tuple):
        return [_function(one, info) for one in value]
    if base is None or not isinstance(value, str) or not value.rpartition(":")[0].endswith(".py"):
        return value
    return str(base / Path(value).expanduser())


def _command(value: str, info: ValidationInfo) -> str:
    """Resolve the files among the words of a command relative to the configuration."""
    base = (info.context or {}).get("base")
    if base is None:
        return value
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ValueError(f"a command as in a shell ({error})") from error
    return shlex.join(str(base / word) if (base / word).is_file() else word for word in words)


def _headers(value: Any) -> Any:
    """Read ["NAME=VALUE"] or a table of headers."""
    if isinstance(value, Mapping):
        return dict(value)
    parts = [value] if isinstance(value, str) else list(value)
    return dict(part.partition("=")[::2] for part in parts)


class AnswersTeacher(TeacherSettings):
    """A column with the free answers of a language model."""

    kind: ClassVar[str] = "answers"
    keys: ClassVar[tuple[str, ...]] = ("answers",)

    answers: Text = Field(description="Column of answers.")
    map: ClassMap | None = Field(None, description="Class of the answers that fit a pattern.")
    confidence: Text | None = Field(None, description="Column of confidences in [0, 1].")

    @property
    def columns_read(self) -> tuple[str, ...]:
        """Columns of the original table that the teacher reads."""
        return tuple(name for name in (self.answers, self.confidence) if name)

    def check(self, dataset: W2SDataset | None) -> None:
        """Raise InputError for a map that cannot be used."""
        _check_map(self.map, dataset)


class RulesTeacher(TeacherSettings):
    """Rules of a person: Python functions of an item, or a table of patterns."""

    kind: ClassVar[str] = "rules"
    keys: ClassVar[tuple[str, ...]] = ("rules",)

    rules: Annotated[Any, AfterValidator(_function)] = Field(
        description="FILE.py:FUNCTION of an item, several of them, or a table of keywords and "
        "/patterns/ by class."
    )

    @property
    def files(self) -> tuple[str, ...]:
        """Rules that are named as FILE.py:FUNCTION."""
        listed = self.rules if isinstance(self.rules, list | tuple) else [self.rules]
        return tuple(rule for rule in listed if isinstance(rule, str))

    def check(self, dataset: W2SDataset | None) -> None:  # noqa: ARG002
        """Raise InputError for a file that is not there; nothing of it is run."""
        self.contents()

    def contents(self) -> Mapping[str, Any]:
        """Return the hash of each file of rules."""
        from w2s_data.teachers.functions import file_hash

        hashes = {Path(name).name: file_hash(name) for name in self.files}
        return {name: own for name, own in hashes.items() if own is not None}


class CommandTeacher(TeacherSettings):
    """A program or an HTTP endpoint that is asked for labels."""

    kind: ClassVar[str] = "command"
    keys: ClassVar[tuple[str, ...]] = ("command", "url")

    command: Annotated[Text, AfterValidator(_command)] | None = Field(
        None, description="Program with its arguments."
    )
    url: Text | None = Field(None, description="HTTP endpoint, instead of a command.")
    headers: Annotated[dict[str, str], BeforeValidator(_headers)] = Field(
        {}, description="Headers; a value may end in env:NAME, an environment variable."
    )
    map: ClassMap | None = Field(None, description="Class of the labels that fit a pattern.")
    batch_size: Count = Field(50, description="Items of a batch.")
    concurrency: Annotated[Count, Field(le=MOST_BATCHES)] = Field(
        1, description="Batches that are asked at a time."
    )
    timeout: Positive = Field(60.0, description="Longest silence in seconds.")
    retries: Annotated[int, Strict(), Field(ge=0, le=100)] = Field(
        2, description="Further attempts after a failure."
    )
    backoff: Seconds = Field(1.0, description="Seconds before the second attempt, then doubled.")
    price: Seconds = Field(0.0, description="Price of an item.")
    budget: Seconds | None = Field(None, description="Most that all items may cost.")
    in_flight: Literal["skip", "ask"] = Field(
        "skip",
        description="Items that were being asked when an earlier call was killed: skip them, or "
        "ask them again with the same request.",
    )
    version: Text | None = Field(None, description="Of the program; another one asks again.")
    cache: File | None = Field(None, description="Folder of the answers; by default in the run.")

    @property
    def asked(self) -> Program | Endpoint:
        """The program or endpoint."""
        from w2s_data.teachers.asking import Endpoint, Program

        if self.url is not None:
            return Endpoint(self.url, self.headers, self.timeout)
        assert self.command is not None  # one of both says that it is of this kind
        return Program(self.command, self.timeout)

    @property
    def terms(self) -> Terms:
        """How it is asked."""
        from w2s_data.teachers.command import Terms

        return Terms(
            *(self.batch_size, self.retries, self.backoff, self.price, self.budget),
            ask_in_doubt=self.in_flight == "ask",
            version=self.version,
            concurrency=self.concurrency,
        )

    def check(self, dataset: W2SDataset | None) -> None:
        """Raise InputError for an address or headers that would record a secret."""
        _check_map(self.map, dataset)
        if self.headers and self.url is None:
            raise InputError("headers are for a url, and this is a command: leave them out")
        if self.budget is not None and not self.price:
            raise InputError("budget requires price, that of one item")
        self.asked.check()


class FinetuneTeacher(LearningSettings):
    """A small transformer that is trained on the gold rows."""

    kind: ClassVar[str] = "finetune"
    keys: ClassVar[tuple[str, ...]] = ("finetune",)

    finetune: Place = Field(description="Transformers model, folder or hub name.")
    tuning: Literal["head", "lora", "full"] = Field("full", description="What is trained.")
    epochs: Annotated[Count, Field(le=MOST_EPOCHS)] | None = Field(
        None, description="As in [gain]."
    )
    learning_rate: Rate | None = Field(None, description="As in [gain].")
    batch_size: Count | None = Field(None, description="As in [gain].")
    l2: Penalty | None = Field(None, description="As student_l2 in [gain].")
    revision: Text | None = Field(None, description="As in [gain].")
    max_length: Count | None = Field(None, description="As in [gain].")
    pooling: Text | None = Field(None, description="As in [gain].")
    rank: Count | None = Field(None, description="As in [gain].")
    alpha: Positive | None = Field(None, description="As in [gain].")
    micro_batch: Count | None = Field(None, description="As in [gain].")
    precision: Literal["auto", "float32", "bfloat16"] | None = Field(
        None, description="As in [gain]."
    )
    save_minutes: Seconds | None = Field(None, description="As in [gain].")

    def training(self, device: str, dataset: W2SDataset | None) -> TrainingSettings:
        """Return how it is trained; raise InputError for settings that do not fit the tuning."""
        from w2s_data.stages.gain_settings import GainSettings
        from w2s_data.stages.tuning import training_settings

        own = ("finetune", "train_on", "specialists", "l2")
        given = self.model_dump(exclude_none=True, exclude=set(own))
        model = {} if self.tuning == "head" else {"model": self.finetune}
        settings = GainSettings(**given, **model, student_l2=self.l2, controls=False)
        return training_settings(settings, device, dataset)

    def check(self, dataset: W2SDataset | None) -> None:
        """Raise InputError unless the model is there and reads such items."""
        from w2s_data.stages.tuning import check_model

        training = self.training("auto", dataset)
        if dataset is not None and dataset.kind == "features":
            raise NotApplicableError(
                "finetune trains a model that reads texts or images, but these are feature "
                "vectors: use encoder='weak'"
            )
        if self.tuning != "head":
            check_model(training.adaptation, dataset)


def _check_map(map: Mapping[str, str] | None, dataset: W2SDataset | None) -> None:
    from w2s_data.teachers.answers import check_map

    check_map(map or {}, None if dataset is None else dataset.class_names or None)
