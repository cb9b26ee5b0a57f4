"""Synthetic scored runs, so that the report is tested without running any stage."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from tests.w2s_reports.later_stages import DRAWN, STAGES
from w2s_data.run import Run
from w2s_data.stages.graph import SCORE, stage_of
from w2s_data.utils.manifest import SCHEMA, FileRecord
from w2s_reports.render import OPTIONAL, TITLES

# Sections of a report on a single teacher and without a baseline.
SECTIONS = {name: title for name, title in TITLES.items() if name not in OPTIONAL}
HOSTILE = "<script>window.pwned=1</script>\"'</script><img src=x onerror=window.pwned=1>"
LATER = "2026-11-20T20:02:00Z"
POSTERIOR_FILES = ("posterior.parquet", "posterior.json")
SHIFT_FILE = "shift.json"
REGIONS = ("hard-only", "easy-only", "overlap")
SENTENCE = (
    "a quiet film that earns its tears without asking for them and never once looks away "
    "from its people the plot wanders badly in the middle but the final act pays back "
    "every minute of patience it asked of a tired audience on a rainy Tuesday evening"
)
WORDS = SENTENCE.split()


@dataclass(frozen=True)
class RunSpec:
    """Options of a synthetic run."""

    kind: str = "text"
    n: int = 300
    labels: bool = True
    sources: tuple[str, ...] = ("web", "books", "forum")
    groups: tuple[str, ...] = ("short", "long")
    classes: tuple[str, ...] = ("negative", "positive")
    degenerate: bool = False
    hostile: bool = False
    manifest: bool = True
    warnings: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    umap: bool = True
    photographs: bool = False  # instead of tiny scans
    posterior: bool = True
    shift: bool | None = False  # whether there is an alarm; None leaves the file out
    seed: int = 0


def make_run(folder: Path, **settings: Any) -> Path:
    """Write a scored run directory of the given shape."""
    spec = RunSpec(**settings)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(spec.seed)
    scores = _scores(spec, rng)
    items = scores[[c for c in ("id", "split", "source", "group") if c in scores]].copy()
    if spec.kind != "features":
        items["item"] = [_item(spec, rng, i) for i in range(spec.n)]
    label = scores.pop("label")
    items["label"] = label if spec.labels else None
    items.to_parquet(folder / "items.parquet")
    if spec.posterior:
        scores["trust"], summary = _posterior(spec, scores, label, rng)
        labels = np.where(rng.random(spec.n) < 0.9, label, scores["weak_label"])
        table = scores[["id", "trust"]].assign(label=labels)
        table.to_parquet(folder / "posterior.parquet")
        _write(folder / "posterior.json", summary)
    if spec.shift is not None:
        _write(folder / SHIFT_FILE, _shift(spec, scores))
    scores.to_parquet(folder / "scores.parquet")
    _write(folder / "overlap.json", _overlap(spec, scores))
    if spec.manifest:
        manifest = _manifest(spec)
        if spec.posterior:
            manifest["stages"]["score"]["files"] |= dict.fromkeys(POSTERIOR_FILES)
        if spec.shift is not None:
            manifest["stages"]["score"]["files"][SHIFT_FILE] = None
        run = Run(folder, manifest)
        for name in spec.stages:
            _, files = {**STAGES, **DRAWN}[name]
            content = files(spec, HOSTILE if spec.hostile else "")
            for file, value in content.items():
                if isinstance(value, pd.DataFrame):
                    value.to_parquet(folder / file)
                else:
                    _write(folder / file, {"schema": stage_of(name).schema, **value})
            manifest["stages"][name] = {"settings": {}, "seconds": 1.0, "finished": LATER}
            manifest["stages"][name]["files"] = dict.fromkeys(content)
        for name, record in manifest["stages"].items():
            record["key"] = run.key(stage_of(name), record["settings"])
            record["files"] = {f: FileRecord.of(folder / f).model_dump() for f in record["files"]}
        _write(folder / "manifest.json", manifest)
    return folder


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _scores(spec: RunSpec, rng: np.random.Generator) -> pd.DataFrame:
    n, classes = spec.n, list(spec.classes)
    if spec.hostile:
        classes[0] += HOSTILE
    region = rng.choice(REGIONS, n, p=(0.35, 0.3, 0.35))
    hard = region == "hard-only"
    confidence = np.where(hard, rng.beta(2, 7, n) * 0.5, 0.45 + 0.55 * rng.beta(4, 1.6, n))
    alignment = np.where(region == "overlap", rng.normal(0.42, 0.05, n), rng.normal(0.2, 0.06, n))
    threshold = 0.31
    alignment = np.where(
        region == "overlap", np.maximum(alignment, threshold), np.minimum(alignment, threshold)
    )
    if spec.degenerate:
        region = np.full(n, "hard-only")
        confidence, hard = np.zeros(n), np.ones(n, dtype=bool)
    label = rng.choice(classes, n)
    correct = rng.random(n) < np.where(hard, 0.6, 0.92)
    other = np.array([classes[(classes.index(c) + 1) % len(classes)] for c in label])
    frame = pd.DataFrame(
        {
            "id": [f"{HOSTILE if spec.hostile else 'item'}-{i:05d}" for i in range(n)],
            "split": np.where(np.arange(n) % 3 == 0, "labelled", "pool"),
            "region": region,
            "confidence": confidence,
            "alignment": np.where(hard, np.nan, alignment),
            "weak_label": np.where(correct, label, other),
            "weak_correct": pd.array(correct if spec.labels else [None] * n, dtype="boolean"),
            "label": label,
        }
    )
    for column, names in (("source", spec.sources), ("group", spec.groups)):
        if names:
            extra = HOSTILE if spec.hostile else ""
            frame[column] = [names[i % len(names)] + extra for i in rng.permutation(n)]
    return frame


def _shift(spec: RunSpec, scores: pd.DataFrame) -> dict[str, Any]:
    ids = scores.loc[scores["split"] == "pool", "id"].tolist()
    name = f"source web{HOSTILE if spec.hostile else ''}"

    def compared(name: str, kind: str, alarm: bool) -> dict[str, Any]:
        auc = {"value": 0.81, "low": 0.77, "high": 0.85, "level": 0.95}
        share = {"value": 0.4, "low": 0.33, "high": 0.47, "level": 0.95}
        if not alarm:
            auc, share = auc | {"value": 0.52, "low": 0.46, "high": 0.58}, dict.fromkeys(share, 0.0)
        view = {"view": "strong", "n_reference": 60, "n_other": len(ids), "auc": auc}
        view |= {"p_value": 0.0002, "share": share, "reference_share": share, "alarm": alarm}
        named = {"name": name, "kind": kind, "n": len(ids), "alarm": alarm, "share": share}
        rows = {"typical": ids[:8], "nearest": ids[-8:]}
        return named | rows | {"effective_size": 14.2, "views": [view]}

    sets = [
        compared("pool", "split", bool(spec.shift)),
        compared("test", "split", False),
        compared(name, "source", bool(spec.shift)),
    ]
    return {
        "schema": SCORE.schema,
        "unknown": "",
        "alarm": spec.shift,
        "pool_alarm": spec.shift,
        "reading": f"The pool is not where the labels came from{HOSTILE if spec.hostile else ''}.",
        "level": 0.95,
        "significance": 0.01,
        "n_labelled": 60,
        "effective_size": 14.2,
        "unexplained": sets[0]["share"],
        "sets": sets,
        "notes": ["test has 12 rows, fewer than the 20 that can be compared"],
    }


def _posterior(
    spec: RunSpec, scores: pd.DataFrame, label: pd.Series, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return trust, which is high where the weak label is right, and the summary."""
    right = (scores["weak_label"] == label).to_numpy()
    trust = np.where(right, rng.beta(6, 1.5, spec.n), rng.beta(1.5, 4, spec.n))
    trust[:5] = np.nan  # abstentions
    pool = trust[(scores["split"] == "pool").to_numpy()]
    known = pool[np.isfinite(pool)]
    confidence = np.linspace(0.55, 0.97, 6)
    hostile = HOSTILE if spec.hostile else ""
    return trust, {
        "schema": SCORE.schema,
        "unknown": "",
        "n_gold": 60,
        "n_pool": len(pool),
        "n_learned": len(pool),
        "level": 0.95,
        "equal_weights": False,
        "weights": {f"teacher{hostile}": 0.4, "gold labels": 0.7, "student": 0.2},
        "offsets": dict.fromkeys(spec.classes, 0.0),
        "accuracy": {"value": 0.88, "low": 0.84, "high": 0.92, "level": 0.95},
        "weak_accuracy": {"value": 0.8, "low": 0.75, "high": 0.85, "level": 0.95},
        "student_accuracy": {"value": 0.82, "low": 0.78, "high": 0.86, "level": 0.95},
        "teacher_accuracies": {},
        "accuracy_by": "calibration",
        "n_known": 0,
        "lead": {"value": 0.08, "low": 0.03, "high": 0.13, "level": 0.95},
        "calibration_error": 0.03,
        "reliability": [
            {"n": 10, "confidence": c, "accuracy": c - 0.02}
            | {"accuracy_low": c - 0.2, "accuracy_high": min(1.0, c + 0.2)}
            for c in confidence
        ],
        "n_abstained": len(pool) - len(known),
        "n_doubtful": int((known < 0.5).sum()),
        "warnings": [f"60 gold rows are few{hostile}"],
        "notes": [f"students learned from a sample{hostile}"],
    }


def _item(spec: RunSpec, rng: np.random.Generator, i: int) -> Any:
    if spec.kind == "image":
        if spec.photographs:
            return _photograph(rng)
        image = Image.new("L", (28, 28), 0)
        ImageDraw.Draw(image).ellipse(sorted(rng.integers(2, 26, 4).tolist()), fill=200)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return b"no picture" if i == 5 else buffer.getvalue()
    words = " ".join(rng.choice(WORDS, rng.integers(4, 30)))
    return f"{HOSTILE}{words}" if spec.hostile else words


def _photograph(rng: np.random.Generator) -> bytes:
    """Coloured patches with some grain, which take as many bytes as a real photograph."""
    patches = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8))
    image = np.asarray(patches.resize((96, 96)), dtype=np.float64)
    grain = rng.normal(0, 12, image.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(image + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def _slices(scores: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    if column not in scores:
        return []
    rows = []
    for name, part in scores.groupby(column):
        share = part["region"].value_counts(normalize=True)
        density, right = float(share.get("overlap", 0)), part["weak_correct"].dropna()
        known = float(right.astype(float).mean()) if len(right) else None
        rows.append(
            {
                "name": name,
                "n": len(part),
                "density": density,
                "density_low": max(0, density - 0.06),
                "density_high": min(1, density + 0.06),
                "hard_only": float(share.get("hard-only", 0)),
                "easy_only": float(share.get("easy-only", 0)),
                "confident": 1 - float(share.get("hard-only", 0)),
                "confident_low": max(0, 0.94 - float(share.get("hard-only", 0))),
                "confident_high": min(1, 1.06 - float(share.get("hard-only", 0))),
                "confident_accuracy": None if known is None else min(1, known + 0.1),
                "weak_accuracy": known,
                "weak_accuracy_low": None if known is None else known - 0.05,
                "weak_accuracy_high": None if known is None else min(1, known + 0.05),
            }
        )
    return rows


def _accuracy(points: pd.DataFrame) -> dict[str, Any] | None:
    known = points["weak_correct"].dropna()
    if not len(known):
        return None
    share = float(known.astype(float).mean())
    low, high = max(0.0, share - 0.03), min(1.0, share + 0.03)
    return {"value": share, "low": low, "high": high, "level": 0.95, "n": len(known)}


def _overlap(spec: RunSpec, scores: pd.DataFrame) -> dict[str, Any]:
    pool = scores[scores["split"] == "pool"]
    regions = {}
    for name in REGIONS:
        n = int((pool["region"] == name).sum())
        share = n / len(pool)
        regions[name] = {
            "n": n,
            "share": {
                "value": share,
                "low": max(0, share - 0.04),
                "high": min(1, share + 0.04),
                "level": 0.95,
            },
            "weak_accuracy": _accuracy(pool[pool["region"] == name]),
        }
    nothing = {"value": None, "low": None, "high": None}
    share = regions["overlap"]["share"]["value"]
    density = {"value": share, "low": max(0, share - 0.04), "high": share + 0.04, "level": 0.95}
    hostile = HOSTILE if spec.hostile else ""
    return {
        "schema": SCORE.schema,
        "n_items": spec.n,
        "n_scored": len(pool),
        "scored_split": "pool",
        "class_names": [spec.classes[0] + hostile, *spec.classes[1:]],
        "level": 0.95,
        "density": nothing if spec.degenerate else density,
        "regions": regions,
        "confidence_threshold": nothing
        if spec.degenerate
        else {"value": 0.45, "low": 0.43, "high": 0.48, "level": 0.95, "explained": 0.93},
        "alignment_threshold": nothing
        if spec.degenerate
        else {"value": 0.31, "low": 0.30, "high": 0.325},
        "weak_accuracy": _accuracy(pool),
        "confident_accuracy": _accuracy(pool[pool["region"] != "hard-only"]),
        "by_source": _slices(pool, "source"),
        "by_group": _slices(pool, "group"),
        "settings": {"alignment": "top-share", "share": 0.2, "n_anchors": 4096},
        "reading": f"About a third of this pool is overlap.{hostile}",
        "warnings": [*spec.warnings, *([hostile] if hostile else [])],
    }


def _manifest(spec: RunSpec) -> dict[str, Any]:
    hostile = HOSTILE if spec.hostile else ""
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "created": "2026-11-20T20:00:00+00:00",
        "data": {
            "name": f"reviews{hostile}",
            "source": "reviews.parquet",
            "kind": spec.kind,
            "fingerprint": "3f9a" * 16,
            "n_items": spec.n,
            "class_names": list(spec.classes),
            "weak_names": [],
            "notes": ["12 duplicate texts were kept in one split"],
        },
        "seed": 0,
        "device": "cpu",
        "versions": {"python": "3.12.7", "torch": "2.13.0", "w2s-data": "0.1.0"},
        "stages": {
            "items": {
                "settings": {"seed": 0},
                "seconds": 0.4,
                "finished": "2026-11-20T20:00:00Z",
                "files": {"items.parquet": None},
            },
            "embed": {
                "settings": {
                    "weak": {"encoder": "tfidf", "dim": 64},
                    "strong": {"encoder": "text", "model": "all-MiniLM-L6-v2", "layer": 6},
                },
                "seconds": 83.2,
                "finished": "2026-11-20T20:01:00Z",
                "files": {},
            },
            "score": {
                "settings": {"n_boot": 200},
                "seconds": 1.2,
                "finished": LATER,
                "files": {"scores.parquet": None, "overlap.json": None},
            },
        },
    }


@pytest.fixture
def synthetic_run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a run directory of the asked shape below `tmp_path`."""

    def write(name: str = "run", **settings: Any) -> Path:
        return make_run(tmp_path / name, **settings)

    return write
