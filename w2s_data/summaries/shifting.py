"""Summary of `w2s score` about shift."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from w2s_data.summaries.parts import Estimate, Summary


class ShiftView(TypedDict):
    """A compared set as one kind of feature sees it."""

    view: str
    """`strong`, `weak` or `predictions`."""
    n_reference: int
    """Labelled rows that were compared."""
    n_other: int
    """Rows of the set that were compared."""
    auc: Estimate
    """AUC of telling the set from the labelled rows; .5 is no shift."""
    p_value: float
    """P-value of no shift."""
    share: Estimate
    """Share of the set that is unlike all labelled rows. Lower is better."""
    reference_share: Estimate
    """Share of the labelled rows that is unlike the set."""
    alarm: bool
    """Whether this view sets off the alarm."""


class ShiftedSet(TypedDict):
    """A split or source of the pool, compared with the labelled rows."""

    name: str
    """Name of the split or source."""
    kind: str
    """`split` or `source`."""
    n: int
    """Its rows."""
    alarm: bool
    """Whether it comes from elsewhere than the labelled rows, by any view."""
    share: Estimate
    """Share of it that is unlike all labelled rows, the largest of any view. Lower is better."""
    effective_size: float
    """Labelled rows that they are worth for it. Higher is better."""
    typical: list[str]
    """Ids of its most typical shifted rows."""
    nearest: list[str]
    """Ids of its rows that are most like the labelled ones."""
    views: list[ShiftView]
    """One record per kind of feature."""


class ClassShare(TypedDict):
    """Share of one class in the labelled rows and in the pool."""

    name: str
    """The class."""
    labelled_share: float
    """Share in the labelled rows."""
    pool_share: Estimate
    """Share in the pool, by expectation-maximisation."""
    black_box_share: Estimate
    """Share in the pool, by black-box estimation."""


class LabelShift(TypedDict):
    """Class shares of the pool beside those of the labelled rows."""

    unknown: str
    """Why shares are unknown; empty where they are known."""
    shifted: bool | None
    """Whether shares differ significantly; null where they are unknown."""
    alone: bool | None
    """Whether nothing else differs; null where shares are unknown or do not differ."""
    p_value: float | None
    """P-value of equal shares; null where they are unknown."""
    classes: list[ClassShare]
    """One record per class."""
    reading: str
    """The result in words."""


class ShiftSummary(Summary):
    """Whether pool and test rows come from where the labels came from."""

    unknown: str
    """Why shift is unknown; empty where it is known. Keys without a value are missing then."""
    alarm: bool | None
    """Whether any set comes from elsewhere than the labelled rows; null where it is unknown."""
    pool_alarm: bool | None
    """Whether the pool does."""
    sets: list[ShiftedSet]
    """One record per compared set."""
    notes: list[str]
    """Remarks that change no number."""
    label_shift: NotRequired[LabelShift]
    """Class shares of the pool; missing where labels are values."""
    reading: NotRequired[str]
    """The result in words."""
    level: NotRequired[float]
    """Coverage of every interval, such as .95."""
    significance: NotRequired[float]
    """Share of false alarms that is accepted."""
    n_labelled: NotRequired[int]
    """Labelled rows."""
    effective_size: NotRequired[float]
    """Labelled rows that they are worth for the pool. Higher is better."""
    unexplained: NotRequired[Estimate]
    """Share of the pool that is unlike all labelled rows. Lower is better."""
