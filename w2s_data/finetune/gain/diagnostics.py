"""What a method's diagnostics say, of each seed and over all, small enough for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.finetune.gain.inputs import GainData
from w2s_data.finetune.methods.cosupervised import CoSupervised
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from w2s_data.finetune.student import Student

MOST_STEPS = 200  # of a training that are kept
DIGITS = 6


def diagnose_seeds(student: Student, data: GainData) -> list[dict[str, Any]]:
    """What is told of each seed, in plain JSON types; only what the method has.

    `weights`
        Of `raven`: `steps` (T,), at most 200 and both ends, and `path` (T, M).
    `levels`
        Of `cosupervised`, a level each after the first: `teachers`, their numbers; `shares`
        (C, teachers), the part of each class's points that a teacher was given, a row None where
        the class has no point; `classes_from` ("gold" where the whole pool has gold labels, else
        "weak"); `knows` (teachers, C); `own`, the share of points that went to a teacher who knows
        their class, and `own_by_chance`; `consensus`; `kept`.
    `kept`
        Of methods that choose points: `share`; `by_label`, `by_gold` and `by_group`, shares of the
        points of each predicted class, gold class and group that were kept; `right` and
        `right_all`, accuracy of the weak labels among kept and among all points. None is unknown.
    `own_weight`
        Of `confidence`: weight of the student's own label by epoch.
    """
    pool = _Pool(data)
    found: list[dict[str, Any]] = []
    diagnostics = student.diagnostics
    for i, seed in enumerate(student.seeds):
        told: dict[str, Any] = {}
        if "weight_path" in diagnostics:
            told["weights"] = _weights(diagnostics["weight_path"][i])
        if isinstance(student.method, CoSupervised) and "assignment" in diagnostics:
            members = student.method.teachers_by_level(pool.weak_proba.shape[1])
            told["levels"] = [
                pool.level(
                    members[level],
                    diagnostics["assignment"][level, i],
                    diagnostics["consensus"][level, i],
                    diagnostics["kept"][level, i],
                )
                for level in range(1, len(members))
            ]
        elif "kept" in diagnostics:
            told["kept"] = pool.kept(diagnostics["kept"][i])
        history = student.history
        if "own_weight" in history:
            own = history[(history["seed"] == seed) & (history["stage"] == "student")]
            told["own_weight"] = own["own_weight"].round(DIGITS).to_numpy()
        found.append(jsonable(told))
    return found


class _Pool:
    """The pool's rows, for shares of them."""

    def __init__(self, data: GainData) -> None:
        rows = data.rows("pool")
        self.weak_proba = data.weak_proba[rows]
        self.codes: IntArray = self.weak_proba.mean(axis=1).argmax(axis=1)
        self.gold: IntArray = data.labels[rows]
        self.groups = None if data.groups is None else data.groups[rows].astype(str)
        self.n_classes = len(data.class_names)

    @property
    def _is_known(self) -> bool:
        return bool((self.gold >= 0).all())

    def level(
        self, members: IntArray, assigned: IntArray, consensus: float, kept: BoolArray
    ) -> dict[str, Any]:
        classes = self.gold if self._is_known else self.codes
        chosen = assigned[:, None] == members  # (N, teachers)
        shares = [_shares(chosen[:, m], classes, self.n_classes) for m in range(len(members))]
        knows: BoolArray = np.any(self.weak_proba > 0, axis=0)  # (M, C)
        return {
            "teachers": members,
            "classes_from": "gold" if self._is_known else "weak",
            "shares": np.stack(shares, axis=1),
            "knows": knows[members],
            "own": float(knows[assigned, classes].mean()),
            "own_by_chance": float(knows[members][:, classes].mean()),
            "consensus": float(consensus),
            "kept": float(kept.mean()),
        }

    def kept(self, kept: BoolArray) -> dict[str, Any]:
        known = self.gold >= 0
        right = self.codes == self.gold
        told: dict[str, Any] = {
            "share": float(kept.mean()),
            "by_label": _shares(kept, self.codes, self.n_classes),
            "by_gold": _shares(kept, self.gold, self.n_classes) if known.any() else None,
            "right": _mean(right[kept & known]),
            "right_all": _mean(right[known]),
        }
        if self.groups is not None:
            names = np.unique(self.groups)
            told["by_group"] = {str(n): float(kept[self.groups == n].mean()) for n in names}
        return told


def _weights(path: FloatArray) -> dict[str, Any]:
    """A path (steps + 1, M), thinned."""
    steps = np.unique(np.linspace(0, len(path) - 1, MOST_STEPS).round().astype(np.int64))
    return {"steps": steps, "path": path[steps].astype(np.float64).round(DIGITS)}


def _shares(part: BoolArray, codes: IntArray, n: int) -> FloatArray:
    """Share of True among the rows of each code, NaN where there are none; -1 is left out."""
    counted = codes >= 0
    total = np.bincount(codes[counted], minlength=n)
    result = np.full(n, np.nan)
    sums = np.bincount(codes[counted & part], minlength=n)
    np.divide(sums, total, out=result, where=total > 0)
    return result


def _mean(values: AnyArray) -> float:
    return float(values.mean()) if len(values) else np.nan


def average_diagnostics(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `diagnose_seeds` told, over the seeds: means, and of weights the lowest and highest.

    A part that not every seed tells, or not in the same shape, is left out.
    """
    if not told:
        return {}
    found: dict[str, Any] = {}
    for name in told[0]:
        parts = [each[name] for each in told if name in each]
        if len(parts) < len(told):
            continue
        if name != "weights":
            found[name] = _over_seeds(parts)
        elif all(part["steps"] == parts[0]["steps"] for part in parts):
            paths = np.array([part["path"] for part in parts])
            found[name] = {
                "steps": parts[0]["steps"],
                "mean": paths.mean(axis=0).round(DIGITS),
                "low": paths.min(axis=0),
                "high": paths.max(axis=0),
            }
    return dict(jsonable({name: part for name, part in found.items() if part is not None}))


def _over_seeds(parts: Sequence[Any]) -> Any:
    """The mean of equally nested numbers; words, and what is the same for all, stay."""
    first = parts[0]
    if isinstance(first, Mapping):
        return {name: _over_seeds([part[name] for part in parts]) for name in first}
    if isinstance(first, list):
        if any(len(part) != len(first) for part in parts):
            return None
        return [_over_seeds(values) for values in zip(*parts, strict=True)]
    if all(part == first for part in parts):
        return first
    known = [part for part in parts if part is not None]
    return float(np.mean(known)) if known else None
