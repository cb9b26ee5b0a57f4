"""Summaries of `w2s teach`, `w2s next` and `w2s export`, and of rounds of labels."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from w2s_data.summaries.parts import Count, Estimate, Measured, Summary


class Teacher(TypedDict):
    """A weak model that the run taught, or whose labels it took from columns or a program."""

    name: str
    """Name of its weak labels."""
    of: str
    """Name of the hierarchy that it is a member of, or its own."""
    kind: str
    """Kind of teacher, such as `encoder`, `columns` or `rules`."""
    learns: bool
    """Whether it learns from gold rows."""
    settings: dict[str, Any]
    """Its settings, as they were given."""
    trained_on: dict[str, Any]
    """How the gold rows that it learned from were chosen; empty for all of them."""
    n_taught: int
    """Gold rows that it learned from."""
    classes: list[str]
    """Classes that it knows; of values, none."""
    coverage: float
    """Share of all rows that it labels. Higher is better."""
    pool_coverage: float | None
    """Share of the pool that it labels; null without a pool."""
    features: str | None
    """Features that it reads; null where it reads none."""
    summary: dict[str, Any]
    """Counts and numbers of its kind, such as answers that fit no class."""
    notes: list[str]
    """Remarks on its labels."""


class TeachersSummary(Summary):
    """The weak models of the run."""

    task: NotRequired[Literal["regression"]]
    """Only of values."""
    n_items: int
    """Rows of the run."""
    teachers: list[Teacher]
    """One record per weak model."""
    stages: list[int] | None
    """How many weak models each level of a hierarchy has, the most general first; null without
    one."""
    warnings: list[str]
    """Weak models that are copies of each other."""


class Cover(TypedDict):
    """How well labelled rows cover the pool."""

    effective_size: float
    """Labelled rows that they are worth for the pool. Higher is better."""
    uncovered: float
    """Share of the pool that no labelled row covers. Lower is better."""


class ShiftPlan(TypedDict):
    """Rows that make up for a shift."""

    reason: str
    """Why nothing is known of it; empty where it is."""
    n_needed: int | None
    """Rows for a full cover; null where it is unknown."""
    before: NotRequired[Cover]
    """The cover at present; missing without a shift."""
    after: NotRequired[Cover]
    """The cover once these rows are labelled."""


class NextSummary(Summary):
    """Rows that a person should label now."""

    task: NotRequired[Literal["regression"]]
    """Only of values."""
    round: int
    """Number of the round; the table to fill in is `next-ROUND.csv`."""
    purpose: Literal["student", "shift"]
    """Purpose of the choice: rows that teach most (`student`), or rows like those that the labelled
    ones lack (`shift`)."""
    n: int
    """Rows chosen."""
    n_pool: int
    """Pool rows."""
    n_labelled: int
    """Labelled rows at present."""
    by_posterior: bool
    """Whether the posterior chose them; without one they are drawn at random."""
    doubt: float | None
    """Mean chance that the guessed label of a chosen row is wrong; of values, the mean error, in
    their units. Higher means that a label tells more. Null without a posterior."""
    pool_doubt: float | None
    """The same in the whole pool. Lower is better."""
    by_class: list[Count]
    """Chosen and pool rows by guessed class; of values, none."""
    by_source: list[Count]
    """The same by source; empty without sources."""
    warnings: list[str]
    """Remarks on the choice, such as gold labels of pool rows that it does not use."""
    shift: NotRequired[ShiftPlan]
    """With purpose `shift`, the cover that the rows add."""


class Why(TypedDict):
    """Rows with one reason."""

    why: str
    """Why their label was kept, changed or left out."""
    n: int
    """Rows."""


class ClassCount(TypedDict):
    """Rows that are labelled with one class."""

    name: str
    """The class."""
    n: int
    """Rows."""


class RelabelledSummary(Summary):
    """Labels to train on: kept, changed and left out."""

    task: NotRequired[Literal["regression"]]
    """Only of values."""
    n: int
    """Rows of the labelled set and the pool together."""
    total_weight: float
    """Sum of the rows' weights, each between 0 (left out) and 1 (certain): how many certain labels
    they are worth. Higher is better."""
    n_valued: NotRequired[int]
    """Only of values: rows that have one."""
    values: NotRequired[dict[str, float | None]]
    """Only of values: their spread, in their units."""
    by_reason: list[Why]
    """Rows by reason, the most frequent first."""
    by_class: list[ClassCount]
    """Rows by class; of values, none."""


class RoundResults(TypedDict):
    """Accuracies with the labels of one round; of values, mean squared errors."""

    posterior: NotRequired[Estimate | None]
    """Accuracy of the joined labels on the pool; null where it is unknown."""
    weak_labels: NotRequired[Estimate | None]
    """Accuracy of the weak labels on the pool; null where it is unknown."""
    students: NotRequired[dict[str, Measured]]
    """Accuracy of each method's student on the test rows."""
    teacher: NotRequired[Measured | None]
    """Accuracy of the teacher on the test rows; null where it could not be measured."""
    labelled_only: NotRequired[Measured | None]
    """Accuracy of a student of the labelled rows alone on the test rows."""


class Round(TypedDict):
    """Labels that were added at once."""

    table: str | None
    """Table that they came from; null for the labels of the data set itself."""
    labels: dict[str, str | float]
    """Class or value by id."""
    n_chosen: int
    """How many of these rows were chosen for being doubtful."""
    drawn: list[str]
    """Ids of the rows that were drawn at random."""
    n_labelled: int
    """Labelled rows after it."""
    results: RoundResults | None
    """Accuracies that were measured with them; null where none were, and for the present round."""


class RoundsSummary(Summary):
    """Rounds of labels that a person filled in, of `w2s run --labels`."""

    rounds: list[Round]
    """One record per round, first that of the data set itself."""
