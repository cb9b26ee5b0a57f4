"""Two runs side by side: every number of both, honest about what tells them apart."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sealing import seal
from tests.w2s_reports.later_stages import STAGES
from tests.w2s_reports.test_partial import cut_back
from w2s_data.errors import RunError
from w2s_reports import build_report, summarize
from w2s_reports.summary.comparison import SAME_ITEMS, WEAK_EVIDENCE
from w2s_reports.summary.parts import difference, estimate

MakeRun = Callable[..., Path]
ALL = tuple(STAGES)


def edit(run: Path, file: str, change: Callable[[dict[str, Any]], None]) -> Path:
    content = json.loads((run / file).read_text())
    change(content)
    (run / file).write_text(json.dumps(content))
    seal(run)
    return run


def other_data(run: Path) -> Path:
    def change(manifest: dict[str, Any]) -> None:
        manifest["data"] |= {"fingerprint": "ff" * 32, "name": "older"}
        manifest["stages"]["embed"]["settings"]["strong"]["layer"] = 4
        manifest["seed"] = 7

    return edit(run, "manifest.json", change)


def rows_of(compared: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for section in compared["sections"] for row in section["rows"]}


def test_no_baseline_no_section(synthetic_run: MakeRun) -> None:
    report = build_report(synthetic_run())
    assert report.summary["comparison"] is None
    assert "Comparison" not in report.to_markdown()
    assert 'id="comparison"' not in report.to_html()


def test_numbers_are_those_of_the_two_runs(synthetic_run: MakeRun) -> None:
    run = synthetic_run("a", stages=ALL)
    base = other_data(synthetic_run("b", stages=ALL, seed=3, sources=("web", "books", "wiki")))
    compared = summarize(run, baseline=base)["comparison"]
    one, two = summarize(run), summarize(base)
    rows = rows_of(compared)
    assert rows["overlap density"]["value"] == one["overlap"]["density"]
    assert rows["overlap density"]["other"] == two["overlap"]["density"]
    assert rows["web"]["other"]["value"] == two["sources"]["rows"][1]["density"]["value"]
    assert rows["gain of naive, points"]["value"]["value"] == -0.01
    assert {"short", "long", "weak accuracy", "margin threshold"} <= rows.keys()
    assert {"forecast gain, points", "gain in the worst group, points"} <= rows.keys()
    for row in rows.values():
        found = row["difference"]["value"]
        assert found == pytest.approx(row["value"]["value"] - row["other"]["value"])
    assert compared["lacking"] == [
        "Overlap density by source, in this run alone: forum",
        "Overlap density by source, in the baseline alone: wiki",
    ]
    changed = {row["name"]: (row["value"], row["other"]) for row in compared["settings"]}
    assert changed["strong features: layer"] == ("6", "4")
    assert changed["seed"] == ("0", "7")
    assert "data fingerprint" in changed
    assert "device" not in changed
    assert compared["notes"][0] == WEAK_EVIDENCE


def test_interval_of_a_difference_covers_the_truth() -> None:
    """Two binomial shares with skewed intervals: the nominal 95 % is met."""
    rng, n, hits, trials = np.random.default_rng(0), 60, 0, 4000
    z, truth = 1.959964, (0.85, 0.6)

    def wilson(p: float) -> dict[str, Any]:
        centre, spread = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        limits = {"low": (centre - spread) / scale, "high": (centre + spread) / scale}
        return estimate({"value": p, **limits}, 0.95)

    for _ in range(trials):
        one, two = (wilson(rng.binomial(n, p) / n) for p in truth)
        found = difference(one, two)
        hits += found["low"] <= truth[0] - truth[1] <= found["high"]
    assert 0.935 <= hits / trials <= 0.97


def test_difference_without_limits_has_none() -> None:
    known = estimate({"value": 0.3, "low": 0.2, "high": 0.4}, 0.95)
    assert difference(known, estimate({"value": 0.2})) == estimate({"value": pytest.approx(0.1)})
    assert difference(known, known | {"level": 0.9}) == estimate({"value": 0.0})
    assert difference(known, estimate(None))["value"] is None


@pytest.mark.parametrize(
    ("density", "result"),
    [
        ((0.05, 0.03, 0.07), "higher: the intervals do not overlap"),
        ((0.9, 0.88, 0.92), "lower: the intervals do not overlap"),
        ((None, None, None), "unknown in one run"),
        ((0.35, None, None), "no interval"),
    ],
)
def test_words_follow_the_intervals(
    synthetic_run: MakeRun, density: tuple[float | None, ...], result: str
) -> None:
    run, base = synthetic_run("a"), other_data(synthetic_run("b"))
    found = dict(zip(("value", "low", "high"), density, strict=True))
    edit(base, "overlap.json", lambda overlap: overlap.update(density=found))
    assert (
        rows_of(summarize(run, baseline=base)["comparison"])["overlap density"]["result"] == result
    )


def test_intervals_may_overlap_where_the_difference_is_clear(synthetic_run: MakeRun) -> None:
    run, base = synthetic_run("a"), other_data(synthetic_run("b"))
    for folder, value in ((run, 0.40), (base, 0.34)):
        found = {"value": value, "low": value - 0.04, "high": value + 0.04, "level": 0.95}
        edit(folder, "overlap.json", lambda overlap, f=found: overlap.update(density=f))
    compared = summarize(run, baseline=base)["comparison"]
    row = rows_of(compared)["overlap density"]
    assert row["result"] == "higher: the intervals overlap, that of the difference excludes 0"
    assert compared["sentences"][0].endswith("overlap density +6.0 points.")


def test_the_same_items_are_not_independent(synthetic_run: MakeRun) -> None:
    run, base = synthetic_run("a", stages=ALL), synthetic_run("b", stages=ALL)
    edit(base, "forecast.json", lambda f: f["gain"].update(value=0.05, low=0.02, high=0.08))
    compared = summarize(run, baseline=base)["comparison"]
    assert compared["same_items"]
    assert SAME_ITEMS in compared["notes"]
    for row in rows_of(compared).values():
        assert row["difference"]["low"] is None
    result = rows_of(compared)["forecast gain, points"]["result"]
    assert result == "no significant difference by these intervals"
    assert rows_of(compared)["overlap density"]["result"] == "equal"


def test_intervals_of_different_levels_are_not_compared(synthetic_run: MakeRun) -> None:
    run, base = synthetic_run("a"), other_data(synthetic_run("b", seed=1))
    edit(base, "overlap.json", lambda overlap: overlap["density"].update(level=0.9))
    row = rows_of(summarize(run, baseline=base)["comparison"])["overlap density"]
    assert row["result"] == "intervals of different levels"
    assert row["difference"]["low"] is None


def test_runs_without_a_common_stage(synthetic_run: MakeRun) -> None:
    base = cut_back(other_data(synthetic_run("b")), ("score",))
    report = build_report(synthetic_run("a"), baseline=base)
    assert report.summary["comparison"]["sections"] == []
    assert "no stage in common" in report.to_markdown()
    assert "comparison" not in report.drawing.figures


def test_stage_of_one_run_alone_is_one_line(synthetic_run: MakeRun) -> None:
    base = synthetic_run("b")
    compared = summarize(synthetic_run("a", stages=("forecast",)), baseline=base)["comparison"]
    assert compared["settings"] == [{"name": "stage forecast", "value": "finished", "other": None}]
    assert compared["lacking"][0].startswith("Forecast, in this run alone: forecast gain, chance")


def test_page_and_markdown(synthetic_run: MakeRun) -> None:
    run, base = synthetic_run("a", stages=ALL), other_data(synthetic_run("b", stages=ALL))
    report = build_report(run, baseline=base)
    page, markdown = html.unescape(report.to_html()), report.to_markdown()
    order = [page.index(f'<section id="{name}"') for name in ("verdict", "comparison", "gain")]
    assert order == sorted(order)
    assert markdown.index("## Advice") < markdown.index("## Comparison") < markdown.index("## Gain")
    assert {"comparison", "comparison-gains"} <= report.drawing.figures.keys()
    assert "strong features: layer" in page
    assert "strong features: layer" in markdown


def test_missing_baseline_is_one_line(synthetic_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run directory"):
        build_report(synthetic_run(), baseline=tmp_path / "nowhere")
