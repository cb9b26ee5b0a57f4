"""The summary: every number from the artefacts, none invented, none lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.sealing import seal
from w2s_data.errors import FileFormatError, RunError
from w2s_reports import summarize
from w2s_reports.formats import excerpt, flatten
from w2s_reports.palette import NEUTRALS, REGIONS, tokens

MakeRun = Callable[..., Path]


def test_numbers_are_the_artefacts_numbers(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    overlap = json.loads((run / "overlap.json").read_text())
    summary = summarize(run)
    assert summary["overlap"]["density"] == overlap["density"]
    assert summary["overlap"]["confidence_threshold"] == overlap["confidence_threshold"]
    assert summary["overlap"]["alignment_threshold"]["explained"] is None
    assert [r["key"] for r in summary["overlap"]["regions"]] == [
        "overlap",
        "easy-only",
        "hard-only",
    ]
    for region in summary["overlap"]["regions"]:
        written = overlap["regions"][region["key"]]
        assert region["share"] == written["share"]
        assert region["weak_accuracy"] == written["weak_accuracy"]
    assert len(summary["sources"]["rows"]) == 3
    assert summary["sources"]["rows"][0]["density"]["value"] == overlap["by_source"][0]["density"]
    assert summary["data"]["name"] == "reviews"
    assert summary["provenance"]["models"]["strong"]["model"] == "all-MiniLM-L6-v2"


def test_summary_is_plain_json(synthetic_run: MakeRun) -> None:
    for kind in ("text", "image", "features"):
        summary = summarize(synthetic_run(kind, kind=kind))
        assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_examples_are_the_furthest_from_the_threshold(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    scores = pd.read_parquet(run / "scores.parquet").query("split == 'pool'")
    best = {region["region"]: region["items"] for region in summarize(run)["examples"]["regions"]}
    overlap = scores[scores["region"] == "overlap"]
    assert best["overlap"][0]["alignment"] == overlap["alignment"].max()
    assert best["easy-only"][0]["alignment"] == scores["alignment"].min()
    assert best["hard-only"][0]["confidence"] == scores["confidence"].min()
    assert best["overlap"][0]["text"]
    assert all(len(items) <= 6 for items in best.values())


def test_missing_columns_leave_hints(synthetic_run: MakeRun) -> None:
    summary = summarize(synthetic_run(sources=(), groups=(), labels=False))
    assert summary["sources"]["rows"] == []
    assert "--source COLUMN" in summary["sources"]["hint"]
    assert "--group COLUMN" in summary["groups"]["hint"]
    assert summary["overlap"]["weak_accuracy"] is None
    assert all(r["weak_accuracy"] is None for r in summary["overlap"]["regions"])


def test_degenerate_run_has_undefined_density(synthetic_run: MakeRun) -> None:
    overlap = summarize(synthetic_run(degenerate=True))["overlap"]
    assert overlap["density"] == {"value": None, "low": None, "high": None, "level": None}


def test_files_that_no_manifest_vouches_for_are_not_believed(synthetic_run: MakeRun) -> None:
    with pytest.raises(RunError, match=r"not a run directory .it has no manifest\.json."):
        summarize(synthetic_run(manifest=False))


def test_object_with_a_path_is_a_run(synthetic_run: MakeRun) -> None:
    class Run:
        path = synthetic_run()

    assert summarize(Run()) == summarize(Run.path)


@pytest.mark.parametrize("name", ["overlap.json", "scores.parquet"])
def test_unscored_run_says_which_command_helps(synthetic_run: MakeRun, name: str) -> None:
    run = synthetic_run()
    (run / name).unlink()
    with pytest.raises(
        RunError, match=rf"{name}' is missing since stage 'score' wrote it.*w2s score"
    ):
        summarize(run)


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run directory"):
        summarize(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["scores.parquet", "items.parquet"])
def test_truncated_table_is_named(synthetic_run: MakeRun, name: str) -> None:
    run = synthetic_run()
    (run / name).write_bytes((run / name).read_bytes()[:100])
    seal(run)
    with pytest.raises(FileFormatError, match=name):
        summarize(run)


def test_damaged_json_is_named(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    (run / "overlap.json").write_text("{")
    seal(run)
    with pytest.raises(FileFormatError, match=r"overlap\.json"):
        summarize(run)


def test_other_schema_is_refused(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    (run / "overlap.json").write_text('{"schema": 99}')
    seal(run)
    with pytest.raises(RunError, match="schema 2"):
        summarize(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.drop(columns="confidence"), "lacks the columns 'confidence'"),
        (lambda s: s.assign(region="easy"), "regions 'easy'; expected 'overlap'"),
        (lambda s: s.iloc[1:], "list different items"),
        (lambda s: s.iloc[::-1], "list different items"),
    ],
)
def test_tables_that_disagree(
    synthetic_run: MakeRun, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    run = synthetic_run()
    change(pd.read_parquet(run / "scores.parquet")).to_parquet(run / "scores.parquet")
    seal(run)
    with pytest.raises(RunError, match=message):
        summarize(run)


@pytest.mark.parametrize("text", ["", "short", "ünï" * 99, "漢字" * 99, "😀" * 99, "a\n\tb " * 50])
def test_excerpt_never_exceeds_its_bytes(text: str) -> None:
    for limit in (8, 33, 160):
        cut = excerpt(text, limit)
        assert len(cut.encode()) <= limit
        assert "\n" not in cut


def test_flatten_keeps_every_leaf_that_is_set() -> None:
    assert flatten({"a": {"b": [1, 2], "c": {}}, "d": None}) == {"a.b": "1, 2"}


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_contrast(theme: int) -> None:
    colours = tokens(theme)
    for ground in ("paper", "raised"):
        for text in ("ink", "muted", "accent"):
            assert _contrast(colours[text], colours[ground]) >= 4.5
        for region in REGIONS:
            assert _contrast(colours[region.token], colours[ground]) >= 3
    assert _contrast(colours["ink"], colours["warn"]) >= 4.5
    assert set(NEUTRALS) <= set(colours)
