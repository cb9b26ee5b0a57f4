"""Conditions on a run: read, held against its numbers, and an exit code for a pipeline."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.w2s_reports.later_stages import MEASURED, STAGES
from tests.w2s_reports.test_partial import cut_back
from w2s_data.cli import main
from w2s_reports import build_report, summarize
from w2s_reports.gate import METRICS, OF_VALUES, Condition, GateError, Outcome, check, parse

MakeRun = Callable[..., Path]
ALL = tuple(STAGES)


@pytest.fixture
def summary(synthetic_run: MakeRun) -> dict[str, Any]:
    return summarize(synthetic_run(stages=ALL))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("density<0.2", ("density", "<", 0.2)),
        (" density <= 20% ", ("density", "<=", 0.2)),
        ("gain==0", ("gain", "==", 0.0)),
        ("gain!=-0.5", ("gain", "!=", -0.5)),
        ("leaking>=1e2", ("leaking", ">=", 100.0)),
        ("density.a<b > c>0.1", ("density.a<b > c", ">", 0.1)),
        ("gain.overlap:0.5<0", ("gain.overlap:0.5", "<", 0.0)),
    ],
)
def test_reading(text: str, expected: tuple[str, str, float]) -> None:
    assert parse(text) == Condition(*expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("density", "reads METRIC<NUMBER"),
        ("density=0.2", "reads METRIC<NUMBER"),
        ("<0.2", "reads METRIC<NUMBER"),
        ("density<low", "'low'.*not a number"),
        ("density<nan", "'nan'.*not a number"),
        ("densty<0.2", "no metric 'densty'; did you mean 'density'"),
        ("gain.<0", r"no metric 'gain\.'"),
        ("pgr.naive<0", "no metric"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str, message: str) -> None:
    with pytest.raises(GateError, match=message) as error:
        parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("task", "without", "shown"),
    [("regression", "accuracy", "'mse.OPTION'"), ("classification", "mse", "'accuracy.OPTION'")],
)
def test_only_metrics_of_the_task_are_suggested(task: str, without: str, shown: str) -> None:
    with pytest.raises(GateError, match="no metric 'accuracy'") as error:
        parse("accuracy<0.5", task)
    offered = str(error.value).removeprefix("there is no metric 'accuracy'")
    assert shown in offered
    assert without not in offered


def test_every_metric_has_its_number(summary: dict[str, Any]) -> None:
    found = {name: check([f"{name}>-1"], summary)[0] for name in METRICS if name not in OF_VALUES}
    assert all(outcome.failed for outcome in found.values())
    value = {name: outcome.value for name, outcome in found.items()}
    overlap, best = summary["overlap"], summary["gain"]["methods"][0]
    assert value["density"] == overlap["density"]["value"]
    assert value["density_low"] == overlap["density"]["low"]
    assert value["weak_accuracy"] == overlap["weak_accuracy"]["value"]
    assert (
        value["gain"]
        == best["gain"]["value"]
        == max(m["gain"]["value"] for m in summary["gain"]["methods"])
    )
    assert value["gain_low"] == best["gain"]["low"]
    assert value["lead"] == pytest.approx(MEASURED["both"] - MEASURED["weak"])
    assert value["lead_low"] == pytest.approx(value["lead"] - 0.02)
    assert value["pgr"] == best["pgr"]["value"]
    assert (value["forecast_gain"], value["forecast_chance"]) == (0.04, 0.91)
    assert value["worst_group_gain"] == min(g["gain"]["value"] for g in summary["gain"]["groups"])
    assert value["worst_split_gain"] == pytest.approx(best["gain"]["value"] - 0.2)
    assert value["worst_group_density"] == min(
        g["density"]["value"] for g in summary["groups"]["rows"]
    )
    assert (value["leaking"], value["duplicates"]) == (6, 14)


@pytest.mark.parametrize(
    ("operator", "holds"),
    [("<", False), ("<=", True), (">", False), (">=", True), ("==", True), ("!=", False)],
)
def test_operators_at_the_threshold(summary: dict[str, Any], operator: str, holds: bool) -> None:
    [outcome] = check([f"leaking{operator}6"], summary)
    assert outcome.failed is holds


def test_one_method_and_one_source(summary: dict[str, Any]) -> None:
    outcomes = check(["gain.naive<0", "density.web<0.1"], summary)
    assert [outcome.failed for outcome in outcomes] == [True, False]
    with pytest.raises(GateError, match="no method 'confidense'; did you mean 'confidence'"):
        check(["gain.confidense<0"], summary)
    with pytest.raises(GateError, match="no source 'wob'; did you mean 'web'"):
        check(["density.wob<0"], summary)
    outcomes = check(["accuracy.both<0.8", "accuracy.gold<0.8"], summary)
    assert [outcome.value for outcome in outcomes] == [MEASURED["both"], MEASURED["gold"]]
    assert [outcome.failed for outcome in outcomes] == [False, True]
    assert outcomes[1].unit == "share"
    with pytest.raises(GateError, match="no option 'bath'; did you mean 'both'"):
        check(["accuracy.bath<0"], summary)


def test_no_sources_says_how_to_have_them(synthetic_run: MakeRun) -> None:
    with pytest.raises(GateError, match="--source COLUMN"):
        check(["density.web<0"], summarize(synthetic_run(sources=())))


def test_missing_stage_names_its_command(synthetic_run: MakeRun) -> None:
    summary = summarize(cut_back(synthetic_run(), ("score",)))
    for condition, command in (
        ("density<0", "w2s score RUN"),
        ("density.web<0", "w2s score RUN"),
        ("gain<0", "w2s gain RUN"),
        ("gain.naive<0", "w2s gain RUN"),
        ("forecast_gain<0", "w2s forecast RUN"),
        ("leaking>0", "w2s groups RUN"),
    ):
        [outcome] = check([condition], summary)
        assert outcome.failed is None
        assert command in outcome.reason


def test_undefined_numbers_are_unknown_not_passed(synthetic_run: MakeRun) -> None:
    summary = summarize(synthetic_run(degenerate=True, labels=False, groups=()))
    for condition in ("density<0.2", "weak_accuracy<0.5", "worst_group_density<0.1"):
        [outcome] = check([condition], summary)
        assert (outcome.failed, outcome.value) == (None, None)
        assert outcome.reason


def test_page_json_and_markdown_show_the_gate(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=ALL)
    report = build_report(run, fail_on=["density<0.9", "gain<0"])
    page = html.unescape((run / "report.html").read_text(encoding="utf-8"))
    verdict = page[page.index('id="verdict"') : page.index('id="gain"')]
    assert "Gate: failed" in verdict
    assert "Failed: <code>density<0.9</code>" in verdict
    assert "- FAILED density\\<0.9" in report.to_markdown()
    assert [Outcome(**outcome) for outcome in json.loads(report.to_json())["gate"]] == list(
        report.gate
    )
    assert "Gate" not in build_report(run).to_markdown()
    assert [str(o) for o in build_report(run, fail_on="gain<0").gate] == [
        "passed  gain<0: +8.0 points (+6.0 to +10.0)"
    ]


def run_main(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments), "--no-map"])
    return int(stop.value.code or 0)


def test_exit_codes(synthetic_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = synthetic_run(stages=("groups",))
    assert run_main("report", run, "--fail-on", "density<0.01", "--fail-on", "leaking>100") == 0
    out, err = capsys.readouterr()
    assert out.count("passed") == 2
    assert err == ""
    assert run_main("report", run, "--fail-on", "density<0.9", "--fail-on", "leaking>100") == 1
    out, err = capsys.readouterr()
    assert "FAILED  density<0.9: 40.5% (36.5–44.5%, sampling only)" in out
    assert err == "gate failed: density<0.9\n"
    (run / "report.html").unlink()
    assert run_main("report", run, "--fail-on", "gain<0") == 2
    assert f"error: 'gain<0' cannot be checked: `w2s gain {run}`" in capsys.readouterr().err
    assert (run / "report.html").is_file()
    assert run_main("report", run, "--fail-on", "gian<0") == 2
    assert "did you mean 'gain'" in capsys.readouterr().err


def test_formats(synthetic_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = synthetic_run()
    assert run_main("report", run, "--format", "json", "--to", "-", "--fail-on", "density<0.9") == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["gate"][0]["failed"] is True
    assert "FAILED" in err
    assert run_main("report", run, "--format", "markdown") == 0
    assert (run / "report.md").read_text(encoding="utf-8") == build_report(run).to_markdown()
    assert run_main("report", run, "--to", "-") == 2
    assert "format to json or markdown" in capsys.readouterr().err
    assert run_main("report", run, "--format", "json", "--to", run) == 2
    assert "is a folder" in capsys.readouterr().err
