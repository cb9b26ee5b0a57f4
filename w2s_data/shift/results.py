"""Results of a search for shift."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from w2s_data.utils.intervals import Estimate


@dataclass(frozen=True)
class Comparison:
    """The reference rows against those of one other set, in one view.

    Attributes
    ----------
    name : str
        Name of the other set.
    view : str
        "strong", "weak" or "predictions".
    n_reference, n_other : int
        Rows compared, samples of larger sets.
    auc : Estimate
        AUC of a held-out domain classifier, in [0, 1]: .5 where sides cannot be told apart.
    p_value : float
        By permutation, corrected for all pairs looked at (Holm).
    share, reference_share : Estimate
        Rows of the other set that the reference cannot explain, and the reverse, at least.
    alarm : bool
        Whether the two are significantly and noticeably different.
    """

    name: str
    view: str
    n_reference: int
    n_other: int
    auc: Estimate
    p_value: float
    share: Estimate
    reference_share: Estimate
    alarm: bool

    def row(self) -> dict[str, Any]:
        """Return the row of a table, with three columns for each estimate."""
        return {
            "name": self.name,
            "view": self.view,
            "n_reference": self.n_reference,
            "n_other": self.n_other,
            **self.auc.columns("auc"),
            "p_value": self.p_value,
            **self.share.columns("share"),
            **self.reference_share.columns("reference_share"),
            "alarm": self.alarm,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain types."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Shift:
    """One other set against the reference, all views together.

    Attributes
    ----------
    name : str
    alarm : bool
        Whether any view sets it off.
    share : Estimate
        Rows of the set that the reference cannot explain, the largest share of any view.
    effective_size : float
        Reference rows that weighted ones are worth for estimates on the set: at most n, and n
        where nothing is shifted.
    typical, nearest : tuple of int
        Row numbers of the set: the most typical shifted rows, and those most like the reference.
    """

    name: str
    alarm: bool
    share: Estimate
    effective_size: float
    typical: tuple[int, ...]
    nearest: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain types."""
        return asdict(self)
