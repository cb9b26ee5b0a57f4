"""Artificial runs whose labels are values, so that the report is tested without any stage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.w2s_reports.conftest import HOSTILE, LATER, make_run
from w2s_data.run import Run
from w2s_data.stages.graph import stage_of
from w2s_data.utils.manifest import FileRecord

N = 240
MEASURED = {"teacher": 1.0, "gold": 0.6, "weak": 0.7, "both": 0.4}
EXPECTED = {"teacher": 1.05, "gold": 0.55, "weak": 0.75, "both": 0.45}
STUDENTS = {"teacher": "", "gold": "labelled_only", "weak": "naive", "both": "stacked"}
VARIANCE = 2.0  # of the targets


def _estimate(value: float, half: float = 0.1) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, "level": 0.95}


def _errors(mse: float) -> dict[str, Any]:
    r2 = 1 - mse / VARIANCE
    return {
        "mse": _estimate(mse),
        "rmse": _estimate(mse**0.5),
        "mae": _estimate(0.8 * mse**0.5),
        "r2": _estimate(r2),
    }


def _options(errors: dict[str, float], students: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "options": [
            {"name": name, "student": (students or {}).get(name, ""), **_errors(mse)}
            for name, mse in errors.items()
        ],
        "differences": [
            {"name": dear, "other": cheap, "difference": _estimate(errors[dear] - errors[cheap])}
            for cheap, dear in combinations(errors, 2)
        ],
        "advised": "both",
    }


def gain_summary(extra: str = "") -> dict[str, Any]:
    """Return what a gain of two methods writes."""
    methods = [
        {
            "name": name,
            "rank_group": letter,
            **_errors(mse),
            "gain": _estimate(1.0 - mse),
            "relative_gain": _estimate(1.0 - mse),
            "pgr": _estimate((1.0 - mse) / 0.8),
            "pgr_reason": "",
            "over_labelled": _estimate(0.6 - mse),
            "opr": None,
            "opr_reason": f"opr is not defined: no gold student{extra}",
        }
        for name, letter, mse in (("stacked", "a", 0.4), ("naive", "b", 0.7))
    ]
    return {
        "task": "regression",
        "metric": "mse",
        "level": 0.95,
        "n_labelled": 80,
        "n_pool": 80,
        "n_test": 80,
        "seeds": [0, 1],
        "tuning": "head",
        "head": "ridge",
        "target": {"mean": 5.0, "sd": VARIANCE**0.5, "low": 1.0, "high": 9.0},
        "teacher": _errors(1.0),
        "ceiling": _errors(0.2),
        "posterior": {"reason": "no teacher at use"},
        "labelled_only": _errors(0.6),
        "methods": methods,
        **_options(MEASURED, STUDENTS),
        "sentence": f"train on both: MSE 0.4{extra}",
        "splits": [],
        "groups": [],
        "failures": {"confidence": f"has no meaning for values{extra}"},
        "warnings": [f"few items{extra}"] if extra else [],
    }


def forecast_summary() -> dict[str, Any]:
    """Return what a forecast writes."""
    return {
        "task": "regression",
        "reading": "both is expected to be best",
        "verdict": "train on both",
        "level": 0.95,
        "n": 80,
        "N": 80,
        **_options(EXPECTED),
        "gain": _estimate(0.3),
        "chance_w2s_helps": 0.97,
        "warnings": [],
    }


def make_value_run(
    folder: Path, stages: Sequence[str] = ("gain", "forecast"), **settings: Any
) -> Path:
    """Write a scored run of N items, a third each labelled, pool and test, and later stages."""
    make_run(folder, n=N, posterior=False, shift=None, **settings)
    extra = HOSTILE if settings.get("hostile") else ""
    rng = np.random.default_rng(1)
    target = 5 + VARIANCE**0.5 * rng.normal(size=N)
    teacher, student = target + rng.normal(size=N), target + 0.6 * rng.normal(size=N)
    split = np.array(["labelled", "pool", "test"])[np.arange(N) % 3]
    items = pd.read_parquet(folder / "items.parquet").assign(label=target, split=split)
    items.to_parquet(folder / "items.parquet")
    scores = pd.read_parquet(folder / "scores.parquet").drop(columns=["weak_label", "weak_correct"])
    scores.assign(weak_value=teacher, split=split).to_parquet(folder / "scores.parquet")
    posterior = {"id": items["id"], "value": student, "error": rng.uniform(0.5, 0.7, N)}
    pd.DataFrame(posterior).to_parquet(folder / "posterior.parquet")
    overlap = json.loads((folder / "overlap.json").read_text())
    overlap |= {"task": "regression", "class_names": [], "weak_accuracy": None}
    overlap["confident_accuracy"] = None
    for part in (*overlap["regions"].values(), *overlap["by_source"], *overlap["by_group"]):
        for name in [name for name in part if "accuracy" in name]:
            part[name] = None
    _write(folder / "overlap.json", overlap)
    views = {"teacher": 0.2, "gold values": 0.5, "student": 0.3}
    _write(
        folder / "posterior.json",
        {
            "schema": 2,
            "unknown": "",
            "n_gold": 80,
            "n_pool": 80,
            "n_known": 80,
            "level": 0.95,
            "weights": views,
        }
        | {"mse": _estimate(0.36), "weak_mse": _estimate(1.0), "warnings": [], "notes": []},
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["data"] |= {"task": "regression", "class_names": []}
    manifest["stages"]["score"]["files"] |= {"posterior.json": None, "posterior.parquet": None}
    values = {"teacher": teacher, "stacked": student, "naive": teacher}
    columns = {
        f"{name} / value": np.where(split == "test", v, np.nan) for name, v in values.items()
    }
    predictions = pd.DataFrame({"id": items["id"], "split": split, "target": target, **columns})
    contents: dict[str, dict[str, Any]] = {
        "gain": {
            "gain.json": gain_summary(extra),
            "gain.parquet": pd.DataFrame({"student": ["stacked"], "mse": [0.4]}),
            "predictions.parquet": predictions,
        },
        "forecast": {
            "forecast.json": forecast_summary(),
            "discrepancy.json": {
                "reading": "Not known here.",
                "unknown": ["no weak features"],
                "warnings": [],
            },
        },
    }
    for name in stages:
        for file, value in contents[name].items():
            if isinstance(value, pd.DataFrame):
                value.to_parquet(folder / file)
            else:
                _write(folder / file, {"schema": stage_of(name).schema, **value})
        manifest["stages"][name] = {"settings": {}, "seconds": 1.0, "finished": LATER}
        manifest["stages"][name]["files"] = dict.fromkeys(contents[name])
    run = Run(folder, manifest)
    for name, record in manifest["stages"].items():
        record["key"] = run.key(stage_of(name), record["settings"])
        record["files"] = {f: FileRecord.of(folder / f).model_dump() for f in record["files"]}
    _write(folder / "manifest.json", manifest)
    return folder


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
