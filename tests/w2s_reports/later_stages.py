"""Artificial artefacts of the stages after scoring: what each of them writes into a run."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd


def _estimate(value: float, half: float = 0.03, level: float = 0.95, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, "level": level, **more}


def _columns(name: str, value: float | None) -> dict[str, Any]:
    limits = (None, None) if value is None else (value - 0.02, value + 0.02)
    return {name: value, f"{name}_low": limits[0], f"{name}_high": limits[1]}


def _named(name: str, value: float | None) -> dict[str, Any]:
    nothing = {"value": None, "low": None, "high": None, "level": 0.95}
    return {name: nothing if value is None else _estimate(value, 0.02, level=0.95)}


def _scores(accuracy: float) -> dict[str, Any]:
    finer = {"auroc": min(accuracy + 0.05, 0.97), "log_loss": 1.2 - accuracy}
    return {"accuracy": _estimate(accuracy)} | {n: _estimate(v) for n, v in finer.items()}


EXPECTED = {"teacher": 0.70, "gold": 0.77, "weak": 0.74, "both": 0.79}
MEASURED = {"teacher": 0.70, "gold": 0.71, "weak": 0.78, "both": 0.81}
STUDENTS = {"teacher": "", "gold": "labelled_only", "weak": "confidence", "both": "stacked"}


def options(
    accuracies: dict[str, float],
    level: float,
    students: dict[str, str] | None = None,
    half: float = 0.02,
    advised: str = "both",
) -> dict[str, Any]:
    """Options with their paired differences, as `forecast.json` and `gain.json` hold them."""
    ranked = sorted(accuracies, key=lambda name: -accuracies[name])
    return {
        "options": [
            {"name": name, "accuracy": _estimate(value, level=level)}
            | ({"student": students[name]} if students else {})
            for name, value in accuracies.items()
        ],
        "differences": [
            {"name": j, "other": k}
            | {"difference": _estimate(accuracies[j] - accuracies[k], half, level)}
            for k, j in combinations(accuracies, 2)
        ],
        "best": ranked[0],
        "advised": advised,
        "lead": _estimate(accuracies[ranked[0]] - accuracies[ranked[1]], half, level),
    }


def _forecast_files(_spec: Any, hostile: str) -> dict[str, Any]:
    sizes = [20 * 2**k for k in range(8)]
    curve = [
        {"N": n, "teacher": 0.2, "student": 0.1 + 4 / n, "ceiling": 10 / n}
        | _columns("pgr", None if n < 60 else 1 - 30 / n)
        for n in sizes
    ]
    names = ("criterion", "weak", "strong", "d_sw", "teacher", "student", "ceiling", "pgr")
    spectrum = {"leading": [4.0, 2.0, 1.0, 0.5], "n_values": 4, "total": 7.5}
    return {
        "forecast.json": {
            "n": 100,
            "N": 200,
            "teacher": _estimate(0.70, level=0.9),
            "student": _estimate(0.74, level=0.9),
            "ceiling": _estimate(0.85, level=0.9),
            "gain": _estimate(0.04, level=0.9),
            "level": 0.9,
            "pgr": 0.27,
            "pgr_reason": "",
            "chance_w2s_helps": 0.91,
            **options(EXPECTED, 0.9),
            "verdict": "train on both",
            "reading": f"a student of both is expected to be best, at 0.790{hostile}",
            "warnings": [f"few labelled rows{hostile}"],
        },
        "discrepancy.json": {
            "n": 100,
            "N": 200,
            "d_w": 4,
            "d_s": 8,
            "correlation_dimension": _estimate(2.5, 0.2),
            "sensitivity": [
                dict(zip(names, ("used", 4, 8, 2.5, 0.2, 0.1, 0.05, 0.6), strict=True)),
                {"criterion": "df1", "weak": 3.5, "strong": 7.5, "d_sw": None},
            ],
            "weak_spectrum": spectrum,
            "strong_spectrum": spectrum,
            "canonical_correlations": [0.9, 0.7, 0.5, 0.2],
            "prediction": {"teacher": 0.2, "ceiling": 0.05}
            | {"student": {"value": 0.12}, "pgr": {"value": 0.85}},
            "curve": curve,
            "break_even": 40.0,
            "needed_pool": [{"share": 0.5, "N": 120.0, "reason": "120 pseudo-labels"}],
            "reading": f"the student keeps 60% of the teacher's variance{hostile}",
            "unknown": [],
            "warnings": [],
        },
    }


def item_ids(spec: Any, hostile: str) -> list[str]:
    """Ids of the items of a run."""
    return [f"{hostile or 'item'}-{i:05d}" for i in range(spec.n)]


def _pairs(spec: Any, hostile: str) -> pd.DataFrame:
    ids = item_ids(spec, hostile)
    n = min(30, spec.n // 2)
    table = pd.DataFrame({"id_a": ids[:n], "id_b": ids[n : 2 * n]})
    table["similarity"] = np.linspace(1, 0.998, n).astype(np.float32)
    table["leaks"] = np.arange(n) < 4
    table["labels_differ"] = np.arange(n) == 1
    for side in "ab":
        table[f"split_{side}"] = np.where(table["leaks"] & (side == "a"), "test", "pool")
        table[f"label_{side}"] = spec.classes[0]
    return table


def _groups_files(spec: Any, hostile: str) -> dict[str, Any]:
    names = [name + hostile for name in spec.groups]
    warning = f"group and label go together more in the pool{hostile}"
    rows = [
        {"group": name, "n": 150, "n_labelled": 50, "n_pool": 100, "n_scored": 150}
        | {"n_gold": 150 if spec.labels else 0}
        | _named("purity", 0.9 - 0.1 * k)
        | {"n_duplicates": 7, "n_leaking": 3, "largest_class": spec.classes[0]}
        | _named("eta_labelled", 0.7 - 0.4 * k)
        | _named("eta_pool", 0.4 + 0.2 * k)
        | _named("overlap_density", 0.3)
        | _named("weak_accuracy", 0.8 - 0.2 * k if spec.labels else None)
        | _named("calibration_error", 0.05 if spec.labels else None)
        for k, name in enumerate(names)
    ]
    curve = [
        {
            "eta_pool": k / 10,
            "average": {"relative_gain": _estimate(0.3 - (k / 10 - 0.4) ** 2)},
            "inside": {"relative_gain": _estimate(0.2 - (k / 10 - 0.6) ** 2)},
            "others": {"relative_gain": _estimate(0.4 - (k / 10 - 0.2) ** 2)},
        }
        for k in range(11)
    ]
    judged = {"group": names[1], "advice": f"hold more of it{hostile}", "eta_pool": _estimate(0.6)}
    judged["remedy"] = "reweight"
    judged["risks"] = {"average": {"relative_gain": _estimate(0.45, 0.1)}}
    return {
        "duplicates.parquet": _pairs(spec, hostile),
        "groups.json": {
            "duplicate_threshold": 0.998,
            "duplicates": {"n_pairs": 300, "n_leaking": 4, "n_labels_differ": 2}
            | {"n_neighbors": 20},
            "student": None,
            "level": 0.95,
            "discovery": "given",
            "reading": f"2 groups were given{hostile}. {warning[0].upper()}{warning[1:]}.",
            "warnings": [warning],
            "groups": rows,
            "sources": [
                {"source": name + hostile, "n": 100, "n_duplicates": 9 * k, "n_leaking": k}
                | _named("purity", 0.9 - 0.1 * k)
                for k, name in enumerate(spec.sources)
            ],
            "association": [
                {"split": "pool", "labels": "gold", "n": 200, "reason": ""}
                | _named("cramers_v", 0.31)
            ],
        },
        "spurious.json": {
            "level": 0.95,
            "groups": [judged],
            "worst_group": names[1],
            "curve": curve,
            "optimal_eta_pool": _estimate(0.4, 0.1),
            "reading": judged["advice"],
            "unknown": [],
            "warnings": [],
        },
    }


def _select_files(spec: Any, hostile: str) -> dict[str, Any]:
    names = [name + hostile for name in spec.sources]
    trace = pd.DataFrame({"round": range(12), "source": [names[k % len(names)] for k in range(12)]})
    trace["kind"] = ["timeout" if k == 7 else "answer" for k in range(12)]
    trace["kept"] = [0 if k == 7 else 10 for k in range(12)]
    trace["reward"] = [np.nan if k < 3 else 0.3 + 0.01 * k for k in range(12)]
    trace["reward_low"], trace["reward_high"] = trace["reward"] - 0.1, trace["reward"] + 0.1
    sources = [
        {"source": name, "cost": 1.0 + k, "items": 40 - k, "spent": 40.0}
        | {"set_aside": 40 - k if k else 0}
        | {"reward": _estimate(0.4 - 0.1 * k, 0.1), "probability_best": 0.9, "recommended": 60}
        | {"status": "stopped" if k else "open"}
        | {"reason": f"its weak labels do not follow{hostile}" if k else ""}
        for k, name in enumerate(names)
    ]
    return {
        "selection.parquet": trace,
        "baselines.parquet": _progress(names),
        "selection.json": {
            "objective": "overlap",
            "reward": "overlap density",
            "budget_unit": "items",
            "policy": "ThompsonSampling()",
            "budget": 120.0,
            "spent": 110.0,
            "rounds": 12,
            "items": 40,
            "set_aside": 70,
            "ended": "the budget is spent",
            "sources": sources,
            "baselines": [
                {"strategy": name, "runs": 1 if name == "chosen" else 5}
                | {"value": _estimate(0.22, 0.02), "evaluated": _estimate(accuracy, 0.02)}
                | {"overlap": _estimate(points, 0.02), "regret": _estimate(50.0 - points, 0.02)}
                | dict.fromkeys(("evaluated_noise", "overlap_noise", "regret_noise"), noise)
                for name, accuracy, points, noise in (
                    ("chosen", 0.72, 40.0, None),
                    ("random", 0.71, 30.0, 0.05),
                    ("round_robin", 0.70, 31.0, 0.05),
                )
            ],
            "regret": {"kind": "estimated", "cumulative": 3.2, "bound": None, "simple": 0.0}
            | {"reason": ""},
            "notes": [f"a note{hostile}"],
        },
    }


def _predictions(spec: Any, hostile: str, students: list[dict[str, Any]]) -> pd.DataFrame:
    """Random answers on random labels, of which some are unknown."""
    rng = np.random.default_rng(spec.seed)
    classes = [spec.classes[0] + hostile, *spec.classes[1:]]
    table = pd.DataFrame({"id": item_ids(spec, hostile)})
    table["split"] = pd.Categorical(np.where(np.arange(spec.n) % 3, "pool", "test"))
    gold = rng.integers(-1, len(classes) if spec.labels else 0, spec.n)
    table["label"] = pd.Categorical.from_codes(gold, classes)
    for name in ("teacher", *(student["name"] for student in students)):
        codes = rng.integers(len(classes), size=spec.n)
        table[f"{name} / label"] = pd.Categorical.from_codes(codes, classes)
        table[f"{name} / proba"] = rng.uniform(0.5, 1, spec.n).astype(np.float32)
        if name != "teacher":
            table[f"{name} / gold proba"] = np.where(gold < 0, np.nan, 0.5).astype(np.float32)
            table[f"{name} / right"] = np.where(gold < 0, np.nan, codes == gold).astype(np.float32)
    return table


def _diagnostics(spec: Any, hostile: str) -> dict[str, Any]:
    n = len(spec.classes)
    path = np.column_stack([np.linspace(0.5, 0.9, 21), np.linspace(0.5, 0.1, 21)])
    even = [1 / n] * n
    stage = {"teachers": [0, 1], "classes_from": "gold", "shares": [[0.75, 0.25]] * n}
    stage |= {"knows": [[True] * n, [False] * n], "own": 0.75, "own_by_chance": 0.5}
    return {
        f"raven{hostile}": {
            "weights": {"steps": list(range(0, 105, 5)), "mean": path.tolist()}
            | {"low": (path - 0.05).tolist(), "high": (path + 0.05).tolist()}
        },
        f"cosupervised{hostile}": {"stages": [stage | {"consensus": 0.9, "kept": 0.88}]},
        f"enhanced{hostile}": {
            "kept": {"share": 0.5, "right": 0.8125, "right_all": 0.7375}
            | {"by_label": even, "by_gold": even if spec.labels else None}
            | {"by_group": {group + hostile: 0.5 for group in spec.groups}}
        },
        f"confidence{hostile}": {"own_weight": [0.25, 0.5, 0.75, 0.75]},
        f"prediction_powered{hostile}": {"power": 0.25},
    }


def _progress(names: list[str]) -> pd.DataFrame:
    """Two rounds of what was chosen and of two runs of each baseline."""
    return pd.DataFrame(
        {"strategy": strategy, "run": run, "round": k, "source": names[k % len(names)]}
        | {"items": 55, "spent": 55.0 * (k + 1), "overlap": (k + 1) * (10.0 + run)}
        | {"regret": (k + 1) * (6.0 - run)}
        for strategy, runs in (("chosen", 1), ("random", 2), ("round_robin", 2))
        for run in range(runs)
        for k in range(2)
    )


def _gain_files(spec: Any, hostile: str) -> dict[str, Any]:
    unknown = {"value": None, "low": None, "high": None, "reason": "no lead over itself"}
    teacher = 0.70
    students = [
        {
            "name": name + hostile,
            "control_of": of and of + hostile,
            "rank_group": "" if of else letter,
            "scores": _scores(teacher + gain),
            "gains": _scores(gain) | {"accuracy": _estimate(gain, 0.02)},
            "groups": {group + hostile: _estimate(teacher + gain) for group in spec.groups},
            "group_gains": {g + hostile: _estimate(gain - 0.01 * k) for k, g in
                            enumerate(spec.groups)},
            "pgr": _estimate(gain / 0.15, 0.1, reason="") if gain > 0
            else unknown | {"reason": "the headroom is too small"},
            "lead": _estimate(0.08 - gain, 0.02, reason="") if of else unknown,
            "over_labelled": _estimate(teacher + gain - 0.71, 0.02, reason=""),
        }
        for name, of, letter, gain in (
            ("confidence", "", "a", 0.08),
            ("random_subset", "confidence", "", 0.03),
            ("naive", "", "b", -0.01),
        )
    ]  # fmt: skip
    by_seed = pd.DataFrame(
        [
            {"role": "control" if s["control_of"] else "method", "student": s["name"]}
            | {"seed": seed, "gain": s["gains"]["accuracy"]["value"] + 0.002 * seed}
            for s in students
            for seed in range(3)
        ]
    )

    def reference(value: float) -> dict[str, Any]:
        groups = {group + hostile: _estimate(value) for group in spec.groups}
        return {"scores": _scores(value), "groups": groups, "reason": ""}

    def split(name: str, shift: float) -> dict[str, Any]:
        gains = {"labelled_only": 0.01, "ceiling": 0.15, "vote": 0.115} | {
            s["name"]: s["gains"]["accuracy"]["value"] for s in students if not s["control_of"]
        }
        rows = [
            {"name": name, "accuracy": _estimate(teacher + gain - 2 * shift)}
            | {"gain": _estimate(gain - shift, 0.02), "over_labelled": _estimate(gain - 0.01)}
            for name, gain in gains.items()
        ]
        rows.insert(0, {"name": "teacher", "accuracy": _estimate(teacher - shift)})
        rows[0] |= {"gain": unknown, "over_labelled": unknown}
        choice = {"best": "weak", "advised": "weak", "reading": "train on weak labels"}
        return {"name": name + hostile, "n": 150, "students": rows, "comparisons": []} | choice

    return {
        "gain.parquet": by_seed,
        "predictions.parquet": _predictions(
            spec, hostile, [s for s in students if not s["control_of"]]
        ),
        "gain.json": {
            "class_names": [name + hostile for name in spec.classes],
            "teachers": [reference(0.7), reference(0.65)],
            "diagnostics": _diagnostics(spec, hostile),
            "students": students,
            "teacher": reference(teacher),
            "ceiling": reference(0.85),
            "labelled_only": reference(0.71),
            "vote": reference(0.815),
            "vote_lead": _estimate(0.035, 0.02),
            **options(MEASURED, 0.95, STUDENTS),
            "failures": {"raven": f"two teachers are needed{hostile}"},
            "forecast": _estimate(0.04, level=0.9)
            | {"student": f"naive{hostile}", "measured": -0.01, "inside": False},
            "tuning": "head",
            "seeds": [0, 1, 2],
            "level": 0.95,
            "n_labelled": 100,
            "n_pool": 200,
            "n_test": 150,
            "main_split": f"test{hostile}",
            "splits": [split("test", 0.0), split("test_news", 0.2)],
            "contrasts": [f"the gain of confidence changes sign{hostile}"],
            "reading": f"confidence gains most over the teacher{hostile}",
            "warnings": [f"a single teacher{hostile}"],
        },
    }


STAGES = {
    "forecast": (("items", "embed"), _forecast_files),
    "groups": (("items", "embed", "score"), _groups_files),
    "select": (("items", "embed", "score"), _select_files),
    "gain": (("items", "embed", "score", "forecast"), _gain_files),
}


def projection_files(n: int, hostile: str, umap: bool = True) -> dict[str, Any]:
    """Return files of the report's map; ids are those of the items, in and out of the pool."""
    rng = np.random.default_rng(5)
    positions = pd.DataFrame(rng.normal(size=(n, 4)), columns=list(PLACES))
    if not umap:
        positions[["umap_x", "umap_y"]] = np.nan
    positions.insert(0, "id", [f"{hostile or 'item'}-{i:05d}" for i in range(n)])
    return {
        "projection.parquet": positions,
        "projection.json": {
            "n": 2 * n // 3,
            "n_scored": 2 * n // 3,
            "explained": [0.314, 0.159],
            "solver": "exact",
            "umap": umap,
            "reason": "" if umap else "UMAP needs more than 15 points; there are 5",
            "max_points": 10_000,
            "seed": 0,
            "n_neighbors": 15,
            "n_epochs": 200,
        },
    }


PLACES = ("pca_x", "pca_y", "umap_x", "umap_y")
DRAWN = {
    "projection": (
        ("items", "embed", "score"),
        lambda spec, hostile: projection_files(spec.n, hostile, spec.umap),
    )
}
