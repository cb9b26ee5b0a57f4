"""Runs that are not finished: a page at every point, and the command that adds what is missing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.sealing import seal
from tests.w2s_reports.later_stages import STAGES
from tests.w2s_reports.test_browser import browser, opened  # noqa: F401
from w2s_data.cli import main
from w2s_data.errors import RunError
from w2s_reports import build_report, summarize

MakeRun = Callable[..., Path]
SCORES = ("scores.parquet", "overlap.json")


def cut_back(run: Path, without: Sequence[str]) -> Path:
    """Take stages away from a run, as if they had never been run."""
    manifest = json.loads((run / "manifest.json").read_text())
    for stage in without:
        del manifest["stages"][stage]
    (run / "manifest.json").write_text(json.dumps(manifest))
    for name in SCORES:
        (run / name).unlink()
    return run


@pytest.mark.parametrize("kind", ["text", "image", "features"])
@pytest.mark.parametrize("without", [("score",), ("score", "embed")])
@pytest.mark.parametrize("stages", [(), ("forecast",), tuple(STAGES)])
def test_a_page_without_scores(
    synthetic_run: MakeRun, kind: str, without: tuple[str, ...], stages: tuple[str, ...]
) -> None:
    run = cut_back(synthetic_run(kind=kind, stages=stages, n=60), without)
    report = build_report(run)
    summary, page = report.summary, (run / "report.html").read_text(encoding="utf-8")
    shown = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.S)
    assert "None" not in shown
    assert "not scored" in repr(report)
    assert "<span>not scored</span>" in shown
    assert "w2s score RUN" in shown
    assert report.to_markdown().count("w2s score RUN") >= 2
    assert summary["data"]["n_items"] == 60
    assert (summary["forecast"]["hint"] is None) == ("forecast" in stages)
    assert not {"confidence", "alignment", "map"} & set(report.drawing.figures)
    for figure in report.drawing.figures.values():
        assert all(len(trace["x"]) for trace in figure.data)


def test_the_command_names_what_the_run_still_needs(synthetic_run: MakeRun) -> None:
    hint = {
        name: summarize(cut_back(synthetic_run(name, kind=kind, n=60), without))["overlap"]["hint"]
        for name, kind, without in (
            ("embedded", "text", ("score",)),
            ("texts", "text", ("score", "embed")),
            ("images", "image", ("score", "embed")),
            ("features", "features", ("score", "embed")),
        )
    }
    assert hint["embedded"].startswith("`w2s score RUN` adds")
    assert hint["texts"].startswith("`w2s score RUN --weak tfidf --strong MODEL` adds")
    assert hint["images"].startswith("`w2s score RUN --weak pixels --strong MODEL` adds")
    files = "--weak-features WEAK.npy --strong-features STRONG.npy"
    assert hint["features"].startswith(f"`w2s score RUN {files}` adds")


def test_scores_of_other_items_are_left_out_once_the_manifest_says_so(
    synthetic_run: MakeRun,
) -> None:
    run = synthetic_run()
    pd.read_parquet(run / "items.parquet").iloc[1:].to_parquet(run / "items.parquet")
    seal(run)
    with pytest.raises(RunError, match="list different items"):
        summarize(run)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"]["score"]["key"] = "of the earlier items"
    (run / "manifest.json").write_text(json.dumps(manifest))
    summary = summarize(run)
    assert "w2s score RUN" in summary["overlap"]["hint"]
    assert [w["about"] for w in summary["verdict"]["warnings"]] == ["score"]


def test_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run directory"):
        summarize(tmp_path)


def test_run_that_lost_everything(synthetic_run: MakeRun) -> None:
    run = cut_back(synthetic_run(n=60), ("score",))
    (run / "items.parquet").unlink()
    with pytest.raises(RunError, match=r"items\.parquet' is missing since"):
        summarize(run)


@pytest.mark.parametrize("name", ["items.parquet", "manifest.json"])
def test_damaged_file_of_an_unscored_run_is_one_line(synthetic_run: MakeRun, name: str) -> None:
    run = cut_back(synthetic_run(n=60), ("score",))
    (run / name).write_bytes((run / name).read_bytes()[:40])
    if name != "manifest.json":
        seal(run)
    with pytest.raises(ValueError, match=r"items|manifest") as error:
        build_report(run)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "key"),
    [("gain.json", "students"), ("forecast.json", "verdict"), ("selection.json", "sources")],
)
def test_file_that_lacks_something_is_one_line(synthetic_run: MakeRun, name: str, key: str) -> None:
    run = synthetic_run(n=60, stages=tuple(STAGES))
    content = json.loads((run / name).read_text())
    del content[key]
    (run / name).write_text(json.dumps(content))
    seal(run)
    with pytest.raises(RunError, match=f"it has no '{key}'; run its stages again"):
        summarize(run)


@pytest.mark.slow
def test_embed_and_forecast_leave_a_report(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = np.arange(200) % 2
    texts = [f"{'good fine' if y else 'bad dull'} story {rng.integers(40)} {i}"
             for i, y in enumerate(labels)]  # fmt: skip
    pd.DataFrame({"text": texts, "label": labels}).to_parquet(tmp_path / "data.parquet")
    strong = np.column_stack([labels, *rng.normal(size=(3, 200))]).astype(np.float32)
    np.save(tmp_path / "strong.npy", strong)
    run = tmp_path / "run"
    said = []
    roles = ("--item", "text", "--label", "label", "--weak", "tfidf:8")
    for command in (
        ["embed", str(tmp_path / "data.parquet"), *roles, "-o", str(run)],
        ["embed", str(run), "--strong-features", str(tmp_path / "strong.npy")],
        ["forecast", str(run)],
        ["report", str(run)],
    ):
        with pytest.raises(SystemExit) as stop:
            main(["-q", *command])
        assert stop.value.code == 0
        said.append((run / "report.html").read_text(encoding="utf-8"))
    assert "<code>w2s score RUN --strong MODEL</code>" in said[0]
    assert "<code>w2s score RUN</code>" in said[1]
    assert "Expected accuracy" in said[2]
    assert "a forecast is not a measurement" in said[2]
    assert said[2] == said[3]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
@pytest.mark.parametrize("stages", [(), tuple(STAGES)])
def test_unscored_page_works_in_a_browser(
    browser: Any,  # noqa: F811
    synthetic_run: MakeRun,
    stages: tuple[str, ...],
) -> None:
    run = cut_back(synthetic_run(stages=stages, n=60), ("score",))
    summary = build_report(run).summary
    with opened(browser, run / "report.html", viewport={"width": 390, "height": 800}) as page:
        assert page.locator("#download-scores").count() == 0
        with page.expect_download() as download:
            page.click("#download-summary")
        assert json.loads(Path(download.value.path()).read_text(encoding="utf-8")) == summary
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) == 0
