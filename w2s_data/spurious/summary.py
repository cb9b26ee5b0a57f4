"""What groups cost that teacher and pool hold in different shares: `spurious.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from w2s_data.spurious.results import PARTS, GroupSummary
from w2s_data.utils.io import jsonable

if TYPE_CHECKING:
    from w2s_data.spurious import SpuriousAnalyzer

SCHEMA = 1


def summarize_spurious(analyzer: SpuriousAnalyzer, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that `spurious.json` holds.

    Parameters
    ----------
    analyzer : SpuriousAnalyzer
        Fitted.
    notes : sequence of str
        Warnings raised on the way.

    Returns
    -------
    dict
        Plain JSON values; risks in label-noise variances, intervals that are unknown None.
    """
    found = {
        "schema": SCHEMA,
        "n_labelled": analyzer.n_labelled_,
        "n_pool": analyzer.n_pool_,
        "d_w": analyzer.d_w_,
        "d_s": analyzer.d_s_,
        "level": analyzer.level,
        "groups": [_group(analyzer, summary) for summary in analyzer._summaries],
        "worst_group": analyzer.worst_,
        "curve": analyzer.curve().to_dict("records"),
        "optimal_eta_pool": analyzer._summaries[0].optimal_eta_pool.to_dict(),
        "fails": _by_part(analyzer.fails_),
        "chance_fails": _by_part(analyzer.chance_fails_),
        "advice": analyzer.advice_,
        "settings": {
            name: value for name, value in analyzer.get_params().items() if name != "random_state"
        },
        "reading": analyzer.advice_[0].upper() + analyzer.advice_[1:] + ".",
        "unknown": [{"group": k, "reason": reason} for k, reason in analyzer.unknown_.items()],
        "warnings": list(notes),
    }
    result: dict[str, Any] = jsonable(found)
    return result


def unknown_spurious(reason: str, notes: Sequence[str] = ()) -> dict[str, Any]:
    """What `spurious.json` holds where no group could be judged, and why.

    >>> unknown_spurious("all rows belong to one group")["reading"]
    'Unknown: all rows belong to one group.'
    """
    return {
        "schema": SCHEMA,
        "groups": [],
        "worst_group": None,
        "advice": None,
        "reading": f"Unknown: {reason}.",
        "unknown": [{"group": None, "reason": reason}],
        "warnings": list(notes),
    }


def _group(analyzer: SpuriousAnalyzer, summary: GroupSummary) -> dict[str, Any]:
    prediction = analyzer.predict(group=summary.group)
    shifts = {name: estimate.to_dict() for name, estimate in summary.evidence.shifts().items()}
    return {
        "group": summary.group,
        "n_rows": summary.n_rows,
        "eta_labelled": summary.eta_labelled.to_dict(),
        "eta_pool": summary.eta_pool.to_dict(),
        **shifts,
        "risks": {
            part: getattr(prediction, part).to_dict()
            for part in ("others", "inside", "average", "worst")
        },
        "fails": _by_part(summary.fails),
        "optimal_eta_pool": summary.optimal_eta_pool.to_dict(),
        "covariance_difference": summary.covariance_difference,
        "advice": analyzer.advise(summary.group),
    }


def _by_part(values: Any) -> dict[str, Any]:
    return {PARTS[share]: value for share, value in values.items()}
