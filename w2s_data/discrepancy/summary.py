"""Summary of a discrepancy as plain numbers: `discrepancy.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from w2s_data.discrepancy import theory
from w2s_data.discrepancy.analyzer import DiscrepancyAnalyzer
from w2s_data.discrepancy.dimensions import clip_shared
from w2s_data.errors import InputError
from w2s_data.utils.io import jsonable
from w2s_data.utils.jackknife import LEFT_OUT

LEADING = 256  # spectral values kept: more than a figure shows, few enough for a small file
SHARES = (0.5, 0.8, 0.9)  # of the attainable gain; the whole of it needs an endless pool
N_CURVE = 33  # pool sizes in the curve, evenly spaced in their logarithm


def summarize_discrepancy(
    analyzer: DiscrepancyAnalyzer,
    n: int | None = None,
    N: int | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the content of `discrepancy.json`; unknown values are None, with reasons in `unknown`.

    Nothing is predicted without the numbers n, N of labelled and pool rows. `notes` are the
    warnings of the fit.
    """
    learned = analyzer.to_dict()
    prediction, curve, pools, unknown = _predictions(analyzer, n, N)
    if learned["correlation_dimension"]["low"] is None:
        unknown.append(
            "intervals: switched off"
            if analyzer.n_jackknife == 0
            else f"intervals: {LEFT_OUT.partition('. ')[0]}"
        )
    summary: dict[str, Any] = jsonable(
        {"n": n, "N": N}
        | learned
        | {
            "sensitivity": _sensitivity(analyzer, n, N),
            "weak_spectrum": _spectrum(analyzer.weak_spectrum_),
            "strong_spectrum": _spectrum(analyzer.strong_spectrum_),
            "canonical_correlations": analyzer.canonical_correlations_[:LEADING],
            "prediction": prediction,
            "curve": curve,
            "needed_pool": pools,
            "reading": prediction["reading"] if prediction else f"Unknown: {unknown[0]}",
            "unknown": unknown,
            "warnings": list(notes),
        }
    )
    return summary


def unknown_discrepancy(reason: str, n: int, N: int) -> dict[str, Any]:
    """Return the content of `discrepancy.json` where the features could not be fitted."""
    return {
        "n": n,
        "N": N,
        "prediction": None,
        "reading": f"Unknown: {reason}",
        "unknown": [reason],
        "warnings": [],
    }


def _predictions(
    analyzer: DiscrepancyAnalyzer, n: int | None, N: int | None
) -> tuple[dict[str, Any] | None, list[Any] | None, list[Any] | None, list[str]]:
    """Return prediction, curve, pool sizes for shares of the gain, and reasons for gaps."""
    if n is None or N is None:
        return None, None, None, ["predictions: the numbers of labelled and pool rows"]
    try:
        prediction = analyzer.predict_variance(n, N)
    except InputError as error:
        return None, None, None, [f"{error}{_would_do(analyzer, n)}"]
    unknown = []
    if not np.isfinite(prediction.student.value):
        unknown.append(
            f"student: N = {N} pool rows do not determine {analyzer.d_s_} strong dimensions"
        )
    if not np.isfinite(prediction.sft):
        unknown.append(
            f"supervised fine-tuning: n = {n} labels do not determine {analyzer.d_s_} strong "
            "dimensions"
        )
    curve = analyzer.curve(n, _pool_sizes(analyzer, N)).to_dict("records")
    pools = [analyzer.needed_pool(share, n).to_dict() for share in SHARES]
    return prediction.to_dict(), curve, pools, unknown


def _would_do(analyzer: DiscrepancyAnalyzer, n: int) -> str:
    """Name the settings that would determine the teacher."""
    weak = analyzer.sensitivity_["weak"]
    fits: dict[int, list[str]] = {}
    for name in ("variance_99", "variance_95", "marchenko_pastur"):
        if 1 <= weak[name] < n - (2 if analyzer.intercept else 1):
            fits.setdefault(int(weak[name]), []).append(name.replace("_", " "))
    named = [f"weak_components={d} ({', '.join(names)})" for d, names in fits.items()]
    return f": {' or '.join(named)} would do" if named else ""


def _sensitivity(
    analyzer: DiscrepancyAnalyzer, n: int | None, N: int | None
) -> list[dict[str, Any]]:
    """Return the dimensions of each criterion, and the risks predicted with them."""
    records = []
    for criterion, row in analyzer.sensitivity_.iterrows():
        strong, weak, d_sw = (float(row[name]) for name in ("strong", "weak", "d_sw"))
        record: dict[str, Any] = {
            "criterion": str(criterion),
            "strong": strong,
            "weak": weak,
            "d_sw": d_sw,
        }
        needed = weak + (2 if analyzer.intercept else 1)
        if n is not None and N is not None and N >= 1 and n > needed and not np.isnan(d_sw):
            shared = clip_shared(d_sw, d_s=strong, d_w=weak)
            risks = theory.risks(
                n, N, d_s=strong, d_w=weak, d_sw=shared, intercept=analyzer.intercept
            )
            record |= risks.to_dict()
        records.append(record)
    return records


def _pool_sizes(analyzer: DiscrepancyAnalyzer, N: int) -> list[int]:
    """Return sizes from where the student is determined to ten times pool or break-even."""
    first = analyzer.d_s_ + (3 if analyzer.intercept else 2)
    last = 10 * max(N, analyzer.break_even_)
    sizes = {round(size) for size in np.geomspace(first, last, N_CURVE)}
    return sorted(sizes | ({N} if first <= N else set()))


def _spectrum(values: Any) -> dict[str, Any]:
    return {"leading": values[:LEADING], "n_values": len(values), "total": float(values.sum())}
