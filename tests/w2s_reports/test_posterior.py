"""The label posterior in a report: section, map, examples, filter, gate, and runs without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.sealing import seal
from tests.w2s_reports.test_browser import browser, opened  # noqa: F401
from w2s_reports import build_report, summarize
from w2s_reports.gate import check
from w2s_reports.render import render, stage_line
from w2s_reports.trust import TRUST_LEVELS

MakeRun = Callable[..., Path]


def pool_of(run: Path) -> pd.DataFrame:
    scores = pd.read_parquet(run / "scores.parquet")
    labels = pd.read_parquet(run / "posterior.parquet")["label"]
    return scores.assign(should_be=labels).query("split == 'pool'")


def rewrite(run: Path, **values: Any) -> None:
    path = run / "posterior.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    seal(run)


def test_the_section_compares_labels_and_names_the_doubtful(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    report = build_report(run)
    doubtful = (pool_of(run)["trust"] < 0.5).sum()
    page = report.to_html()
    for text in (page, report.to_markdown()):
        assert "right on 88.0% (84.0–92.0%), the weak labels alone on 80.0% (75.0–85.0%)" in text
        assert "a lead of +8.0 (+3.0 to +13.0) points, more than chance explains" in text
        assert f"{doubtful} of 197 weak labels" in text  # five abstentions, two of them labelled
        assert "for pool items like the gold ones" in text
    assert "The largest weight is that of gold labels (0.70)" in page
    terminal = render(report.summary, "terminal", ["overlap"])
    assert "Label posterior: Joined with the gold labels of 60 different items" in " ".join(
        terminal.split()
    )


def test_the_section_says_how_accuracies_were_measured(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    report = build_report(run)
    page, markdown = report.to_html(), " ".join(report.to_markdown().split())
    for text in (page, markdown, render(report.summary, "terminal", ["overlap"])):
        assert "calibration on the held-out gold labels" in text.replace("&#39;", "'")
    assert "| A student of the weak labels | 82.0%" in markdown
    each = {"value": 0.7, "low": 0.65, "high": 0.75, "level": 0.95}
    rewrite(run, accuracy_by="pool labels", n_known=40, teacher_accuracies={"a": each, "b": each})
    markdown = " ".join(build_report(run).to_markdown().split())
    assert "from the 40 of its items whose gold label is known" in markdown
    assert "are a random sample of it" in markdown
    assert "| b | 70.0% (65.0–75.0%) |" in markdown


def test_the_reliability_curve_has_confidence_across_and_accuracy_up(
    synthetic_run: MakeRun,
) -> None:
    figure = build_report(synthetic_run()).drawing.figures["reliability"]
    _, bins = figure.data
    assert bins["x"] == pytest.approx([0.55, 0.634, 0.718, 0.802, 0.886, 0.97])
    assert bins["y"] == pytest.approx([x - 0.02 for x in bins["x"]])
    assert bins["error_y"]["arrayminus"] == pytest.approx([0.18] * 6)
    assert "0.030" in figure.caption


def test_trust_colours_the_map_and_its_levels_count_every_point(synthetic_run: MakeRun) -> None:
    run = synthetic_run(n=900)
    report = build_report(run, max_points=100)
    trust = pool_of(run)["trust"]
    colours = {c["key"]: c for c in report.drawing.figures["map"].colours}
    starts = [level.start for level in TRUST_LEVELS]
    ends = [*starts[1:], 1.1]
    expected = [((trust >= a) & (trust < b)).sum() for a, b in zip(starts, ends, strict=True)]
    levels = colours["trust_level"]["levels"]
    assert [level["n"] for level in levels] == [*expected, trust.isna().sum()]
    points = report.drawing.points
    for value, code in zip(points["trust"], points["trust_level"]["codes"], strict=True):
        assert code == (-1 if value is None else sum(value >= start for start in starts) - 1)


def test_doubtful_labels_are_listed_worst_first_with_what_they_should_be(
    synthetic_run: MakeRun,
) -> None:
    run = synthetic_run()
    pool = pool_of(run)
    doubtful = pool[pool["trust"] < 0.5].sort_values("trust")
    found = summarize(run)["examples"]["doubtful"]
    assert found["n"] == len(doubtful)
    shown = found["items"]
    assert [item["id"] for item in shown] == doubtful["id"].head(24).tolist()
    for item in shown:
        row = doubtful.loc[item["row"]]
        differs = row["should_be"] != row["weak_label"]
        assert item["should_be"] == (row["should_be"] if differs else None)
    wrong = 1 - doubtful["weak_correct"].astype(bool).mean()
    assert len(doubtful) >= 30
    assert found["reading"].startswith(f"{len(doubtful)} of 197 weak labels")
    assert f"{100 * wrong:.1f}% are wrong indeed" in found["reading"]


def test_examples_open_with_doubtful_labels_where_there_are_any(
    browser: Any,  # noqa: F811
    synthetic_run: MakeRun,
) -> None:
    run = synthetic_run()
    markdown = build_report(run).to_markdown()
    assert markdown.index("### Weak labels that are probably") < markdown.index("### overlap,")
    with opened(browser, run / "report.html") as page:
        tabs = page.locator("#examples [role=tab]").evaluate_all("ts => ts.map(t => t.id)")
        assert tabs[:2] == ["tab-doubtful", "tab-telling"]
        assert page.locator("#examples .panel:visible").get_attribute("id") == "panel-doubtful"
        page.fill("#search", "Tuesday")  # before a list was chosen: all points
        assert page.locator("#results .card:visible").count() > 0


def test_examples_open_with_telling_points_where_no_label_is_doubtful(
    synthetic_run: MakeRun,
) -> None:
    run = synthetic_run()
    scores = pd.read_parquet(run / "scores.parquet")
    scores.assign(trust=0.9).to_parquet(run / "scores.parquet")
    seal(run)
    report = build_report(run)
    page, markdown = report.to_html(), report.to_markdown()
    assert page.index('id="panel-telling"') < page.index('id="panel-doubtful"')
    assert markdown.index("### overlap,") < markdown.index("### Weak labels that are probably")


def test_filters_show_points_of_one_level_of_trust(browser: Any, synthetic_run: MakeRun) -> None:  # noqa: F811
    run = synthetic_run()
    build_report(run)
    trust = pool_of(run)["trust"]
    with opened(browser, run / "report.html") as page:
        page.select_option("#filter-trust_level", "0.95 and above")
        status = page.locator("#search-status").inner_text()
        assert status.startswith(f"{(trust >= 0.95).sum()} match")
        page.click("#tab-doubtful")
        assert page.locator("#panel-doubtful .card:visible").count() == 0
        page.select_option("#filter-trust_level", "below 0.5")
        few = int((trust < 0.5).sum())
        assert page.locator("#panel-doubtful .card:visible").count() == min(few, 24)
        page.check("input[name=map-colour][value=trust_level]", force=True)
        assert page.locator("div.legend[data-colour=trust_level]").is_visible()


def test_a_condition_on_trust_is_about_its_corrected_mean(synthetic_run: MakeRun) -> None:
    summary = summarize(synthetic_run())
    failed, passed = check(["trust<0.9", "trust<0.6"], summary)
    assert (failed.failed, passed.failed) == (True, False)
    assert (failed.value, failed.low, failed.high) == (0.8, 0.75, 0.85)
    (unknown,) = check(["trust<0.6"], summarize(synthetic_run("without", posterior=False)))
    assert unknown.failed is None
    assert "w2s score RUN" in unknown.reason


@pytest.mark.parametrize("earlier", [True, False])
def test_a_run_without_posterior_says_why(synthetic_run: MakeRun, earlier: bool) -> None:
    run = synthetic_run(posterior=not earlier)
    if not earlier:
        rewrite(run, unknown="a posterior requires gold labels")
        scores = pd.read_parquet(run / "scores.parquet")
        scores.assign(trust=float("nan")).to_parquet(run / "scores.parquet")
        seal(run)
    reason = "w2s score RUN" if earlier else "None here: a posterior requires gold labels."
    report = build_report(run)
    assert "reliability" not in report.drawing.figures
    assert "trust" not in report.drawing.points
    hints = report.summary["posterior"]["hint"], report.summary["examples"]["doubtful"]["hint"]
    assert all(reason in hint for hint in hints)
    for text in (report.to_html(), report.to_markdown()):
        assert reason in text


def test_few_gold_labels_and_abstentions_read_well(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    nothing = {"value": None, "low": None, "high": None, "level": 0.95}
    rewrite(run, equal_weights=True, weak_accuracy=nothing, lead=nothing, n_doubtful=0)
    rewrite(run, n_abstained=200)
    found = summarize(run)["posterior"]
    assert "weak labels alone" not in found["reading"]
    assert found["trusted"] == "All weak models abstain on every pool item."
    assert "All views have the same weight" in build_report(run).to_html()


def test_with_abstentions_every_accuracy_names_its_items(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    voted = {"value": 0.9, "low": 0.85, "high": 0.95, "level": 0.95}
    own = {"value": 0.7, "low": 0.6, "high": 0.8, "level": 0.95}
    weak = {"value": 0.82, "low": 0.75, "high": 0.88, "level": 0.95}
    rewrite(run, voted_accuracy=voted, accuracy=own, weak_accuracy=weak)
    report = build_report(run)
    for text in (report.to_html(), " ".join(report.to_markdown().split())):
        assert (
            "labels of the 197 items of the pool with a weak label are expected to be right on "
            "90.0% (85.0–95.0%), the weak labels alone on 82.0% (75.0–88.0%): a lead of +8.0"
        ) in text
        assert "Those of all 200 items, with or without a weak label, are expected to be" in text
        assert "The same, of items with a weak label" in text
        assert "Weak labels are judged on the items that they label." in text
    rewrite(run, n_known=200)
    reading = summarize(run)["posterior"]["reading"]
    assert reading.endswith(
        "right on 70.0%; on the 197 items with a weak label they are right on 90.0%, the weak "
        "labels alone on 82.0%."
    )


def test_no_weak_label_is_called_wrong_where_they_are_right_more_often_alone(
    synthetic_run: MakeRun,
) -> None:
    run = synthetic_run()
    worse = {"value": -0.2, "low": -0.27, "high": -0.14, "level": 0.95}
    rewrite(run, lead=worse)
    report = build_report(run)
    assert "points, worse than chance explains" in report.summary["posterior"]["reading"]
    assert report.summary["examples"]["doubtful"]["n"] == 0
    for text in (report.to_html(), " ".join(report.to_markdown().split())):
        assert text.count("so that none of them is called wrong") == 2
        assert "more probably wrong than right" not in text
    overlap, found = (json.loads((run / f"{n}.json").read_text()) for n in ("overlap", "posterior"))
    line = stage_line("score", overlap | {"posterior": found})
    assert line.endswith("; no weak label called wrong, as they are right more often alone")


def test_where_all_gold_labels_are_known_a_few_lost_labels_are_chance(
    synthetic_run: MakeRun,
) -> None:
    run = synthetic_run()
    for lost, n in ((2, 16), (40, 0)):
        value = -lost / 197
        lead = {"value": value, "low": value, "high": value, "level": 0.95}
        rewrite(run, lead=lead, n_known=200, n_doubtful=16)
        assert summarize(run)["posterior"]["n_doubtful"] == n


def test_every_interval_of_a_density_says_sampling_only(synthetic_run: MakeRun) -> None:
    report = build_report(synthetic_run(), fail_on=["density<0.2", "density.web<0.2"])
    summary = report.summary
    low, high = (100 * summary["overlap"]["density"][side] for side in ("low", "high"))
    interval = f"{low:.1f}–{high:.1f}%"
    page, markdown = report.to_html(), report.to_markdown()
    for text in (page, markdown, repr(report), *map(str, report.gate)):
        assert f"{interval}, sampling only" in text or "density.web" in text
        assert f"{interval})" not in text
        assert "sampling only" in text
    assert "Overlap, sampling only" in page
    assert "Overlap density, sampling only" in markdown
    assert "intervals (sampling only)" in render(summary, "terminal", ["overlap"])
    assert "intervals, sampling only" in report.drawing.figures["densities"].caption


def test_rewards_that_are_densities_and_confident_shares_say_sampling_only(
    synthetic_run: MakeRun,
) -> None:
    run = synthetic_run(stages=("select",))
    report = build_report(run)
    summary = report.summary
    page, markdown = report.to_html(), report.to_markdown()
    terminal = render(summary, "terminal", ["selection"])
    for text in (page, markdown, " ".join(terminal.split())):
        assert "verlap density, sampling only" in text
        assert "ensity found, sampling only" in text
    for text in (page, markdown):
        assert "Confident, sampling only" in text
    assert "sampling only" in report.drawing.figures["posteriors"].caption
    result = json.loads((run / "selection.json").read_text())
    result |= {"objective": "screen", "reward": "label consistency"}
    (run / "selection.json").write_text(json.dumps(result))
    seal(run)
    assert "sampling only" not in render(summarize(run), "markdown", ["selection"])


def test_a_doubtful_density_is_grey_small_and_called_so(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    overlap = json.loads((run / "overlap.json").read_text())
    overlap["confidence_threshold"]["explained"] = 0.6
    (run / "overlap.json").write_text(json.dumps(overlap))
    seal(run)
    report = build_report(run)
    page, markdown = report.to_html(), report.to_markdown()
    assert '<p class="big">' not in page.split('id="overlap"')[1].split("</section>")[0]
    assert '<td class="doubtful"' in page
    assert "doubtful, since the margin of these points falls" in markdown
    assert "Overlap density **" not in markdown
    assert report.drawing.figures["densities"].data[0]["marker"]["color"] == "--muted"
    assert "doubtful" in render(report.summary, "terminal", ["overlap"])
