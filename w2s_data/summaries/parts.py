"""Records that several summaries share: estimates and warnings.

Every key of a model has its meaning below it, which the JSON schema and the site's reference read.
TypedDicts of typing_extensions, since pydantic reads those of typing from Python 3.12 on only.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

OptionName = Literal["teacher", "gold", "weak", "both"]


class Summary(TypedDict):
    """A JSON file that a stage leaves in the run's folder."""

    schema: int
    """Version of the file; a new one means that keys have changed."""


class Estimate(TypedDict):
    """A number with its interval."""

    value: float | None
    """The number; null where it is unknown."""
    low: float | None
    """Lower end of the interval; null where it is unknown."""
    high: float | None
    """Upper end of the interval; null where it is unknown."""
    level: float
    """Coverage of the interval, such as .95."""


class Counted(Estimate):
    """An estimate with the number of rows behind it."""

    n: int
    """Rows with a gold label that it was measured on."""


class SquaredError(Counted):
    """A mean squared error, in squared units of the values. Lower is better."""

    r2: float | None
    """Share of the values' variance that is explained, at most 1; null where they do not vary."""


class Measured(Estimate):
    """A mean over seeds, with an interval for other test rows and other seeds."""

    se_items: float | None
    """Standard error due to the choice of test rows; null where it is unknown."""
    se_seeds: float | None
    """Standard error due to the seeds; null with one seed."""
    n_seeds: int
    """Number of seeds; with one, the interval is for other test rows only."""
    reason: str
    """Why the value is null; empty where it is known."""


class DataWarning(TypedDict):
    """A warning about the rows themselves: few labels, rare classes, duplicates across splits."""

    code: str
    """Kind of warning, such as `few_test`."""
    text: str
    """The warning in a sentence, with the next step."""
    numbers: dict[str, Any]
    """Counts and shares behind it, by class where it is about classes."""
    withholds: list[str]
    """Stages, forecast or gain, whose advice does not hold because of it."""


class Option(TypedDict):
    """One of four ways to a model: use the teacher, or train on gold labels, weak ones or both."""

    name: OptionName
    """Name of the option; they are in the order of their cost."""
    accuracy: Estimate
    """Accuracy that is expected of it. Higher is better."""


class Difference(TypedDict):
    """One option minus another."""

    name: OptionName
    """The dearer option."""
    other: OptionName
    """The cheaper option."""
    difference: Estimate | Measured
    """Accuracy of `name` minus that of `other`; of values, the squared error. It is paired, so its
    interval is narrower than those of the two options suggest."""


class Count(TypedDict):
    """Rows of one kind."""

    name: str
    """Class, or source."""
    chosen: int
    """Rows of it that are chosen."""
    pool: int
    """Rows of it in the pool."""


class Kept(TypedDict):
    """Students that the run keeps, by role."""

    best: NotRequired[str]
    """Method of the student in the folder `students/best`."""
    naive: NotRequired[str]
    """Method of the student in `students/naive`; it is in `students/best` where both are one."""
