"""Settings of the stages: one model each, shared by the commands, the configuration and Python.

A field is an option of the command (`--teacher-l2`), a key of the configuration's section
(`teacher_l2 = "cv"`) and an argument in Python; its description is the help in all three. A
validator reads the text of a shell where that differs from the value in TOML.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from w2s_data.errors import InputError
from w2s_data.overlap.precision import Precision
from w2s_data.stages.fields import (
    NOT_EMPTY,
    AutoCount,
    ClassMap,
    ClassNames,
    Components,
    Conditions,
    Count,
    File,
    Files,
    Flag,
    Names,
    Numbers,
    Penalty,
    Place,
    PolicyName,
    Positive,
    Seed,
    Share,
    Similarity,
    Size,
    Text,
    Trackers,
    WeakColumns,
)
from w2s_data.utils.constants import LEVEL


class Settings(BaseModel):
    """Base of all settings: immutable, and without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    panel: ClassVar[str] = "Options"  # heading of these options in a command's help


class DataSettings(Settings):
    """The data set, the meaning of its columns, and its splits."""

    panel: ClassVar[str] = "Data"

    path: Place = Field(
        None,
        description="CSV, TSV, JSONL, Parquet or Arrow file, folder or pattern of them, or URL, "
        "folder of images, example:NAME, hub data set, or run directory.",
    )
    item: Text | None = Field(None, description="Column of the texts, images or vectors.")
    id: Text | None = Field(None, description="Column of unique ids.")
    label: Text | None = Field(None, description="Column of gold labels.")
    chosen: Text | None = Field(
        None, description="Preference data, instead of item and label: column of preferred items."
    )
    rejected: Text | None = Field(None, description="Column of the items they were preferred to.")
    split: Text | None = Field(
        None, description="Column with labelled, pool, validation or test; assigned if not given."
    )
    source: Text | None = Field(None, description="Column of sources.")
    group: Text | None = Field(None, description="Column of groups.")
    weak_columns: WeakColumns | None = Field(
        None,
        description="Ready-made weak probabilities, one column per class; for several weak models "
        "use MODEL=COLUMN,... once per model.",
    )
    weak_label: Text | None = Field(None, description="Column of ready-made weak labels.")
    weak_confidence: Text | None = Field(None, description="Column of the weak labels' confidence.")
    weak_values: WeakColumns | None = Field(
        None,
        description="Columns of ready-made weak values, one per weak model, or MODEL=COLUMN.",
    )
    weak_errors: WeakColumns | None = Field(
        None, description="Columns of their standard errors, likewise."
    )
    class_names: ClassNames | None = Field(
        None, description="All classes in their order, e.g. neg,pos; sorted if not given."
    )
    map: ClassMap | None = Field(
        None,
        description="Class of a label or weak column that is spelled otherwise, e.g. 0=neg; "
        "COLUMN:LABEL=CLASS concerns one column.",
    )
    missing: ClassNames | None = Field(
        None,
        description="What stands for a missing label, e.g. -1,?; -1 beside codes from 0 and usual "
        "texts if not given.",
    )
    task: Literal["classification", "regression"] | None = Field(
        None, description="Whether numbers are classes or values; told by the numbers if not given."
    )
    split_sizes: Numbers | None = Field(
        None,
        description="Shares or counts of the splits to assign, e.g. labelled=500,test=0.2; the "
        "pool is the rest. By default validation=0.1, test=0.2, and labelled=0.2, up to 0.5 where "
        "rows without a label fill the pool.",
    )
    labels: Files = Field(
        (),
        description="Tables of `w2s next` that a person filled in: their rows join the labelled.",
    )
    skip_unreadable: Flag = Field(False, description="Leave out images that cannot be decoded.")
    prompt: Text | None = Field(
        None, description="Column of prompts, texts or messages, that stand before the items."
    )
    chat_template: Place = Field(
        None,
        description="Model whose chat template renders messages as texts, or plain; by default "
        "the strong model, if it has one.",
    )


class ScoreSettings(Settings):
    """Settings of the teacher and of the overlap detector."""

    panel: ClassVar[str] = "Scoring"

    teacher_l2: Penalty = Field("cv", description="The teacher's penalty.")
    reference: Flag = Field(False, description="Use the published algorithm (quadratic in items).")
    precision: Precision = Field("auto", description="Precision of products in the alignment.")
    recalibrate: Flag = Field(
        False, description="Bring weak values to the scale of the gold ones, by a line."
    )


class ComponentSettings(Settings):
    """Principal components in the discrepancy of strong and weak features."""

    strong_components: Components | None = Field(
        None,
        description="Principal components of the strong features: a number, a share of their "
        "variance (0.99), or mp; all by default.",
    )
    weak_components: Components | None = Field(
        None, description="Principal components of the weak features, likewise."
    )


class ForecastSettings(ComponentSettings):
    """Settings of the forecast and of the discrepancy."""

    panel: ClassVar[str] = "Forecast"

    teacher_l2: Penalty = Field("cv", description="The teacher's penalty.")
    student_l2: Penalty = Field(0.1, description="Penalty of students of the pool.")
    level: Share = Field(LEVEL, description="Coverage of the intervals.")


class SelectSettings(Settings):
    """Settings of a selection over the run's sources."""

    panel: ClassVar[str] = "Selection"

    budget: Positive | None = Field(
        None,
        description="Items to acquire, or money to spend; default: a quarter of the pool's items.",
    )
    unit: Literal["items", "money"] = Field("items", description="Unit of the budget.")
    batch_size: Count = Field(50, description="Items per round.")
    objective: Literal["auto", "screen_match", "screen", "trust", "overlap"] = Field(
        "auto",
        description="auto: screen_match with a target, else screen. trust: buy where weak labels "
        "are right and new; requires gold labels.",
    )
    policy: PolicyName = Field("auto", description="auto: the objective's own.")
    target: Literal["auto", "none", "validation", "test"] = Field(
        "auto",
        description="Split whose items, without labels, stand for those that the student will "
        "meet; auto: validation where it has 200 items.",
    )
    costs: Numbers | None = Field(None, description="Cost per item, e.g. web=0.1,crowd=2.")
    keep: Names = Field((), description="Sources that may not be stopped.")
    stop: Names = Field((), description="Sources not to ask at all.")
    separation: Annotated[Positive, Field(le=1)] | None = Field(
        None, description="Stop when one source is the best with this probability."
    )
    max_seconds: Positive | None = Field(None, description="Stop after this many seconds.")
    restart: Flag = Field(False, description="Discard an earlier selection of these settings.")


class GroupSettings(ComponentSettings):
    """Settings of groups, near-duplicates and the cost of unequal shares."""

    panel: ClassVar[str] = "Groups"

    n_groups: AutoCount = Field(
        "auto", description="Groups to discover in each class where none are given."
    )
    discovery: Literal["auto", "gaps", "mixture", "errors"] = Field(
        "auto", description="How groups are discovered."
    )
    duplicates: Similarity = Field(
        "auto", description="Cosine similarity from which two items are near-duplicates."
    )


class NextSettings(Settings):
    """Settings of the choice of rows that a person should label."""

    panel: ClassVar[str] = "Next labels"

    budget: Count = Field(100, description="Rows to label, at most.")
    purpose: Literal["student", "shift"] = Field(
        "student",
        description="Train a better student, or make up for a pool of other kinds than the labels.",
    )
    to: File = Field(
        None,
        description="Table to fill in, .csv, .tsv, .jsonl or .parquet; RUN/next-ROUND.csv by "
        "default.",
    )


class PlanSettings(Settings):
    """Settings of the plan: a budget, prices, and other models that could be bought."""

    panel: ClassVar[str] = "Plan"

    budget: Positive | None = Field(None, description="Money to spend; required.")
    gold_cost: Positive | None = Field(None, description="Price of a gold label; required.")
    weak_cost: Positive | None = Field(None, description="Price of a weak label; required.")
    teacher: Names = Field(
        (),
        description="Other weak encoder to compare, or a file of its features (.npy); it is "
        "embedded on a sample and learns from the gold labels.",
    )
    student: Names = Field(
        (), description="Other strong encoder to compare, or a file of its features, likewise."
    )
    costs: Numbers | None = Field(
        None, description="Prices of these models, e.g. tfidf:64=0,models/large=120."
    )
    level: Share = Field(LEVEL, description="Coverage of the intervals.")


class ExportSettings(Settings):
    """Settings of the export of labels to train on."""

    panel: ClassVar[str] = "Export"

    to: File = Field(None, description="File, or folder for hf; RUN/relabelled... by default.")
    format: Literal["parquet", "jsonl", "csv", "hf"] | None = Field(
        None,
        description="By the name of the file, else parquet; hf is a folder for load_from_disk of "
        "the datasets library.",
    )
    trl: Flag = Field(False, description="Preference pairs in TRL's columns, with their weights.")


class ReportSettings(Settings):
    """Settings of the report and of the conditions that it checks."""

    panel: ClassVar[str] = "Report"

    to: File = Field(
        None, description="File; RUN/report.html by default. - prints JSON or Markdown."
    )
    format: Literal["html", "json", "markdown"] = Field("html", description="Format of the report.")
    baseline: File = Field(None, description="Another run to compare with.")
    fail_on: Conditions = Field(
        (), description="Exit with 1 if this holds, e.g. 'density<0.2' or 'worst_group_gain<0'."
    )
    map: Flag | None = Field(
        None, description="Draw a map of the strong features; by default where they are available."
    )
    open: Flag = Field(False, description="Show the report in a browser.")


class ComputeSettings(Settings):
    """Where and within which limits a stage computes."""

    panel: ClassVar[str] = "Computing"

    device: Annotated[Text, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$")] = Field(
        "auto", description="auto, cpu, cuda, cuda:1 or mps."
    )
    memory: Size | None = Field(
        None,
        description="Memory limit, e.g. 4GB (default: half of the free memory). May cause "
        "subsampling; a note says when.",
    )
    engine: Literal["local", "ray"] = Field(
        "local", description="Compute in this process, or on a Ray cluster."
    )
    address: Text | None = Field(
        None,
        description="Address of a running Ray cluster: auto, HOST:PORT or ray://HOST:PORT; "
        "otherwise one is started here and stopped at the end.",
    )
    wait: Flag = Field(True, description="Wait while another process writes the run, or refuse to.")
    workers: Annotated[Count, Field(le=4096)] | None = Field(
        None,
        description="Number of Ray workers; default: one per GPU, or CPUs / threads per process.",
    )


class OpenedSettings(ComputeSettings):
    """The seed of an existing run, where its stages compute, and who else is told the numbers."""

    seed: Seed | None = Field(
        None, description="Seed of every random choice: 0, or the seed that the run was made with."
    )
    log_to: Trackers = Field(
        (), description="Send losses of trainings and main numbers of stages to these trackers."
    )


class RunSettings(OpenedSettings):
    """The run directory, its seed, and where its stages compute."""

    output: File = Field(None, description="Run directory; runs/NAME by default.")
    overwrite: Flag = Field(
        False, description="Replace a run of another data set, or features of another encoder."
    )


def read_settings(
    model: type[Settings], values: Mapping[str, Any], base: Path | None = None
) -> Any:
    """Validate settings; a bad value raises an `InputError` of one line that names the setting.

    >>> read_settings(SelectSettings, {"batch_size": "many"})
    Traceback (most recent call last):
    w2s_data.errors.InputError: batch_size must be a whole number; got 'many'
    """
    try:
        return model.model_validate(dict(values), context={"base": base})
    except ValidationError as error:
        raise InputError(_one_line(error, model)) from error


# Expected values in words, by pydantic's type of error.
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "path_type": "a path",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "finite_number": "a finite number",
    "string_too_short": NOT_EMPTY,
    "too_short": "a list that is not empty",
}
# By pydantic's type of error, the key of the limit in a JSON schema and a word for it.
_LIMITS = {
    "greater_than": ("exclusiveMinimum", "above"),
    "greater_than_equal": ("minimum", "at least"),
    "less_than": ("exclusiveMaximum", "below"),
    "less_than_equal": ("maximum", "at most"),
}


def _range(model: type[Settings], name: str) -> str:
    """Say between which numbers a setting lies."""
    schema = model.model_json_schema()["properties"][name]
    limits = [
        f"{word} {part[key]:,}"
        for part in schema.get("anyOf", [schema])
        for key, word in _LIMITS.values()
        if key in part
    ]
    return " and ".join(limits)


def _one_line(error: ValidationError, model: type[Settings]) -> str:
    """Say what is wrong with the first bad value, in words of ours."""
    first = error.errors()[0]
    name, kind = str(first["loc"][0]), first["type"]
    context = first.get("ctx", {})
    if kind == "literal_error":
        expected = f"one of {context['expected']}".replace(" or ", ", ")
    elif kind == "value_error" and isinstance(context["error"], InputError):
        return str(context["error"])  # which names the setting itself
    elif kind == "value_error":
        expected = str(context["error"])
    elif kind in _LIMITS:
        expected = _range(model, name)
    elif kind == "string_pattern_mismatch":
        expected = "one of " + str(model.model_fields[name].description).rstrip(".")
    else:
        expected = _EXPECTED.get(kind, first["msg"])
    return f"{name} must be {expected}; got {first['input']!r}"
