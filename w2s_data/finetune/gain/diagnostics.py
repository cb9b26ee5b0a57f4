"""Diagnostics of a method, per seed and averaged, small enough for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.errors import listing
from w2s_data.finetune.gain.data import GainData
from w2s_data.finetune.methods.cosupervised import CoSupervised
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray
from w2s_data.utils.votes import abstains, mean_label, votes

if TYPE_CHECKING:
    from w2s_data.finetune.student import Student

# A specialist may give a little to classes that it never saw, so that it rules none out.
UNKNOWN = 1e-3
MOST_STEPS = 200  # as many points as a curve on a page can show
# Diagnostics of whole models; a reference has no others.
TRAINING = ("undertrained", "loss_slope", "learning_rate", "steps", "real_token_share")
ROUNDING = 1e-9  # of a mean over test items
DIGITS = 6  # float32 holds no more; longer numbers would only make the summary larger


def diagnose_seeds(student: Student, data: GainData) -> list[dict[str, Any]]:
    """Return the diagnostics of each seed, in plain JSON types; only those that the method has.

    `weights`
        For `raven`: `steps` (T,), at most 200 and both ends, and `path` (T, M).
    `stages`
        For `cosupervised`, one entry per stage after the first: `teachers`, their numbers; `shares`
        (C, teachers), the part of each class's points that was assigned to a teacher, a row None
        where the class has no point; `classes_from` ("gold" where the whole pool has gold labels,
        else "weak"); `knows` (teachers, C); `own`, the share of points whose teacher knows their
        class, and `own_by_chance`; `consensus`; `kept`; `right`, the share of assigned labels that
        are right, and `right_by_oracle`, if gold labels had assigned them (None if unknown).
    `kept`
        For methods that choose points: `share`; `by_label`, `by_gold` and `by_group`, the kept
        shares by predicted class, gold class and group; `right` and `right_all`, accuracy of the
        weak labels among kept and among all points. None is unknown.
    `beyond_l2_x10`
        For `crossfit`: share of the pool that it labels otherwise than its control.
    `power`
        For `prediction_powered`: lambda, in [0, 1].
    `own_weight`
        For `confidence`: weight of the student's own label by epoch.
    `undertrained`, `loss_slope`, `learning_rate`, `steps`, `real_token_share`
        For whole models, see `WholeTask`.
    """
    pool, diagnostics, history = _Pool(data), student.diagnostics, student.history
    trained = data.training_rows(student.method.uses_gold)
    of_pool = data.splits[trained] == "pool"
    result: list[dict[str, Any]] = []
    trainings = diagnose_training(student)
    for i, seed in enumerate(student.seeds):
        own: dict[str, Any] = trainings[i]
        if "weight_path" in diagnostics:
            path = diagnostics["weight_path"][i]
            steps = np.unique(np.linspace(0, len(path) - 1, MOST_STEPS).round().astype(np.int64))
            own["weights"] = {"steps": steps, "path": path[steps].astype(np.float64).round(DIGITS)}
        if isinstance(student.method, CoSupervised):
            stages = student.method.teachers_by_stage(pool.weak_proba.shape[1])
            own["stages"] = [
                pool.stage(
                    members,
                    *(diagnostics[name][n, i] for name in ("assignment", "consensus", "kept")),
                )
                for n, members in enumerate(stages[1:], start=1)
            ]
        elif "kept" in diagnostics:
            own["kept"] = pool.kept(diagnostics["kept"][i, of_pool])
        for name in ("power", "beyond_l2_x10"):
            if name in diagnostics:
                own[name] = float(diagnostics[name][i])
        if "own_weight" in history:
            rows = (history["seed"] == seed) & (history["stage"] == "student")
            own["own_weight"] = history.loc[rows, "own_weight"].round(DIGITS).to_numpy()
        result.append(jsonable(own))
    return result


def diagnose_training(student: Student) -> list[dict[str, Any]]:
    """Return how the training of each seed went; nothing of heads."""
    known = [name for name in TRAINING if name in student.diagnostics]
    return [
        {name: float(student.diagnostics[name][i]) for name in known}
        for i in range(student.n_seeds)
    ]


class _Pool:
    """The pool's rows, for shares of them."""

    def __init__(self, data: GainData) -> None:
        rows = data.rows("pool")
        self.weak_proba = data.weak_proba[rows]
        self.codes: IntArray = votes(mean_label(self.weak_proba))
        self.gold: IntArray = data.labels[rows]
        self.groups = None if data.groups is None else data.groups[rows].astype(str)
        self.n_classes = len(data.class_names)

    def stage(
        self, members: IntArray, assigned: IntArray, consensus: float, kept: BoolArray
    ) -> dict[str, Any]:
        # Gold classes show who teaches what; a mix of both would compare unlike rows.
        is_known = bool((self.gold >= 0).all())
        classes = self.gold if is_known else self.codes
        named = classes >= 0
        shares = [_shares(assigned == member, classes, self.n_classes) for member in members]
        voted = ~abstains(self.weak_proba)[..., None]
        knows: BoolArray = np.any(voted & (self.weak_proba > UNKNOWN), axis=0)  # (M, C)
        return {
            "teachers": members,
            "classes_from": "gold" if is_known else "weak",
            "shares": np.stack(shares, axis=1),
            "knows": knows[members],
            "own": _mean(knows[assigned[named], classes[named]]),
            "own_by_chance": _mean(knows[members][:, classes[named]].ravel()),
            "consensus": float(consensus),
            "kept": float(kept.mean()),
            **self._assigned(members, assigned),
        }

    def _assigned(self, members: IntArray, assigned: IntArray) -> dict[str, float]:
        """Shares of assigned labels that are right, by the student and if gold labels assigned."""
        known = np.flatnonzero(self.gold >= 0)
        right = votes(self.weak_proba[known]) == self.gold[known, None]  # (n, M)
        of_gold = self.weak_proba[known, :, self.gold[known]][:, members]
        told, rows = members[of_gold.argmax(axis=1)], np.arange(len(known))
        return {
            "right": _mean(right[rows, assigned[known]]),
            "right_by_oracle": _mean(right[rows, told]),
        }

    def kept(self, kept: BoolArray) -> dict[str, Any]:
        known = self.gold >= 0
        right = votes(mean_label(self.weak_proba)) == self.gold
        result: dict[str, Any] = {
            "share": float(kept.mean()),
            "by_label": _shares(kept, self.codes, self.n_classes),
            "by_gold": _shares(kept, self.gold, self.n_classes) if known.any() else None,
            "right": _mean(right[kept & known]),
            "right_all": _mean(right[known]),
        }
        if self.groups is not None:
            names = np.unique(self.groups)
            result["by_group"] = {str(n): float(kept[self.groups == n].mean()) for n in names}
        return result


def _shares(part: BoolArray, codes: IntArray, n: int) -> FloatArray:
    """Share of True among the rows of each code, NaN where there are none; -1 is left out."""
    counted = codes >= 0
    sums, total = (np.bincount(codes[rows], minlength=n) for rows in (counted & part, counted))
    result = np.full(n, np.nan)
    np.divide(sums, total, out=result, where=total > 0)
    return result


def _mean(values: AnyArray) -> float:
    return float(values.mean()) if len(values) else np.nan


# A reference that is too low flatters what is measured against it.
_FLATTERED = {
    "ceiling": "an undertrained ceiling is too low and flatters PGR",
    "labelled_only": (
        "an undertrained student of the gold labels alone is too low and flatters the weak labels"
    ),
}


def undertrained_notes(shares: Mapping[str, float]) -> list[str]:
    """Name the students whose loss was still falling, and the numbers that this flatters.

    `shares` are those of the seeds, by reference and method.

    >>> print(*undertrained_notes({"naive": 0.5}))
    naive: the training loss was still falling at the end; raise epochs or learning_rate, unless it
    falls because errors of the weak labels are learned by heart
    """
    falling = "the training loss was still falling at the end"
    remedy = "raise epochs or learning_rate"
    notes = [
        f"{name}: {falling}, and {text}; {remedy}"
        for name, text in _FLATTERED.items()
        if shares.get(name)
    ]
    methods = [name for name, share in shares.items() if share and name not in _FLATTERED]
    if methods:
        notes.append(
            f"{listing(methods, 4, quoted=False)}: {falling}; {remedy}, unless it falls because "
            "errors of the weak labels are learned by heart"
        )
    return notes


def constant_notes(
    accuracies: Sequence[float], labels: IntArray, class_names: Sequence[object]
) -> list[str]:
    """Say where no option, of these accuracies, beats naming the largest class of all test rows.

    >>> print(*constant_notes([0.9, 0.85], np.array([0, 1, *[0] * 8]), ["no", "yes"]))
    no option is right more often than naming 'no' for every item, which is right on 90.0% of the
    test items: an accuracy says little here, so look at macro F1 and at each class
    """
    largest, count = max(enumerate(np.bincount(labels).tolist()), key=lambda own: own[1])
    known = [value for value in accuracies if not np.isnan(value)]
    if not known or max(known) > count / len(labels) + ROUNDING:
        return []
    return [
        f"no option is right more often than naming {str(class_names[largest])!r} for every item, "
        f"which is right on {count / len(labels):.1%} of the test items: an accuracy says little "
        "here, so look at macro F1 and at each class"
    ]


def average_diagnostics(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the diagnostics over seeds; for weights also return the lowest and highest.

    A part that some seed lacks, or has in another shape, is left out.
    """
    result: dict[str, Any] = {}
    for name in seeds[0] if seeds else ():
        parts = [each[name] for each in seeds if name in each]
        if len(parts) < len(seeds):
            continue
        if name != "weights":
            result[name] = _average(parts)
        elif all(part["steps"] == parts[0]["steps"] for part in parts):
            paths = np.array([part["path"] for part in parts])
            result[name] = {
                "steps": parts[0]["steps"],
                "mean": paths.mean(axis=0).round(DIGITS),
                "low": paths.min(axis=0),
                "high": paths.max(axis=0),
            }
    return dict(jsonable({name: part for name, part in result.items() if part is not None}))


def _average(parts: Sequence[Any]) -> Any:
    """Average equally nested numbers; words, and values that all parts share, stay."""
    first = parts[0]
    if isinstance(first, Mapping):
        return {name: _average([part[name] for part in parts]) for name in first}
    if isinstance(first, list):
        if any(len(part) != len(first) for part in parts):
            return None
        return [_average(values) for values in zip(*parts, strict=True)]
    if all(part == first for part in parts):
        return first
    known = [part for part in parts if part is not None]
    return float(np.mean(known)) if known else None
