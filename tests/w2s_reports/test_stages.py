"""The stages after scoring: each shown from its own files, or the command that adds it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sealing import seal
from tests.w2s_reports.later_stages import EXPECTED, MEASURED, STAGES, STUDENTS, options
from tests.w2s_reports.test_figures import plotly_specs
from w2s_data.errors import FileFormatError, RunError
from w2s_reports import build_report, render, render_stage, stage_line, summarize
from w2s_reports.figures.base import plot_text
from w2s_reports.formats import format_interval, percent, signed
from w2s_reports.palette import tokens

MakeRun = Callable[..., Path]
ALL = tuple(STAGES)
SHOWN_BY = {
    "forecast": ("forecast", "discrepancy"),
    "groups": ("group_analysis",),
    "select": ("selection",),
    "gain": ("gain",),
}
FIGURES = {
    "forecast": {"accuracies", "spectra", "correlations", "risks", "recovery"},
    "groups": {"shares", "eta"},
    # Without "allocation": what to buy is drawn where the choice beat a random one.
    "select": {"rounds", "posteriors", "overlap-found", "regret"},
    "gain": {"accuracies", "methods", "controls", "weights"},
}


POSTERIOR = {"reliability"}  # of the scores


def shown_text(page: str) -> str:
    return re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.S)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    seal(path.parent)


def test_an_undertrained_ceiling_is_named_beside_its_number(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain",))
    warning = "ceiling: the training loss was still falling at the end"
    before = build_report(run).to_markdown()
    change(run / "gain.json", undertrained={"ceiling": 0.5}, warnings=[warning])
    report = build_report(run)
    terminal = " ".join(render_stage("gain", json.loads((run / "gain.json").read_text())).split())
    for text in (shown_text(report.to_html()), report.to_markdown(), terminal):
        assert warning.removeprefix("ceiling: ") in text
        assert "The gap recovered is flattered, since the ceiling is undertrained." in text
    assert re.search(r"Ceiling: [\d.]+% \(.*\), undertrained", report.to_markdown())
    assert re.search(r"ceiling: [\d.]+% accuracy, undertrained", terminal)
    assert "undertrained" not in before


def test_sizes_of_kept_models_are_said(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain",))
    size = {"parameters": 22_713_000, "trained": 98_000, "students": 2_000_000, "checkpoints": 9e9}
    change(run / "gain.json", kept_size=size, kept={"best": "confidence", "naive": "naive"})
    said = (
        "best (confidence), naive (naive), of 22,713,000 parameters, 98,000 of them trained; 2 MB "
        "on disk, and 9 GB of checkpoints"
    )
    report = build_report(run)
    terminal = " ".join(render_stage("gain", json.loads((run / "gain.json").read_text())).split())
    for text in (shown_text(report.to_html()), report.to_markdown(), terminal):
        assert said in text


@pytest.mark.parametrize("stage", ALL)
def test_one_stage_alone(synthetic_run: MakeRun, stage: str) -> None:
    report = build_report(synthetic_run(stages=(stage,)))
    drawn = (
        set(report.drawing.figures) - {"confidence", "alignment", "map", "densities"} - POSTERIOR
    )
    assert drawn == FIGURES[stage]
    page, markdown = shown_text(report.to_html()), report.to_markdown()
    for other, keys in SHOWN_BY.items():
        for key in keys:
            hint = report.summary[key]["hint"]
            assert (hint is None) == (other == stage)
            if hint and key != "forecast":
                assert hint in markdown
                assert f"<code>w2s {other} RUN" in page
    assert "None" not in page


def test_every_figure_is_one_that_plotly_accepts(synthetic_run: MakeRun) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    run = synthetic_run(stages=ALL)
    baselines = json.loads((run / "selection.json").read_text())["baselines"]
    baselines[0]["evaluated"]["value"] = 0.8  # better than by chance: the plan is drawn as well
    change(run / "selection.json", baselines=baselines)
    figures = build_report(run).drawing.figures
    assert set(figures) >= set().union({"allocation"}, *FIGURES.values())
    for figure in figures.values():
        for spec in plotly_specs(figure):
            text = json.dumps(spec, allow_nan=False)
            for name, colour in sorted(tokens(0).items(), key=lambda pair: -len(pair[0])):
                text = text.replace(f'"--{name}"', f'"{colour[:7]}"')
            go.Figure(json.loads(text.replace('"--sans"', '"Arial"')))
        assert figure.caption
        assert any(character.isdigit() for character in figure.alt)
        assert all(len(trace["x"]) == len(trace["y"]) > 0 for trace in figure.data)


def test_page_and_markdown_say_the_same(synthetic_run: MakeRun) -> None:
    report = build_report(synthetic_run(stages=ALL))
    page, markdown = html.unescape(report.to_html()), report.to_markdown()
    summary = report.summary
    said = [
        *(signed(m["gain"]["value"]) for m in summary["gain"]["methods"]),
        *(format_interval(m["gain"], "points") for m in summary["gain"]["methods"]),
        *(percent(summary["gain"][name]["value"]) for name in ("teacher", "ceiling")),
        *(percent(row["eta_pool"]["value"]) for row in summary["group_analysis"]["rows"]),
        *(row["name"] for row in summary["selection"]["rows"]),
        *(percent(row["probability_best"]) for row in summary["selection"]["rows"]),
        *summary["verdict"]["sentences"],
        *(format_interval(row["weak_accuracy"]) for row in summary["group_analysis"]["rows"]),
    ]
    for text in said:
        assert text in page
        assert text.replace("_", "\\_") in markdown
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_file_that_the_manifest_does_not_name_is_not_shown(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain",))
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    del stages["gain"]["files"]["gain.json"]
    change(run / "manifest.json", stages=stages)
    assert "w2s gain RUN" in summarize(run)["gain"]["hint"]
    del stages["gain"]
    change(run / "manifest.json", stages=stages)
    assert "w2s gain RUN" in summarize(run)["gain"]["hint"]


def test_stage_older_than_its_inputs_is_said_to_be(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=ALL)
    assert not any("again" in w["text"] for w in summarize(run)["verdict"]["warnings"])
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    stages["score"]["key"] = "another"
    change(run / "manifest.json", stages=stages)
    outdated = [w for w in summarize(run)["verdict"]["warnings"] if "again" in w["text"]]
    assert {w["about"] for w in outdated} == {"score", "gain", "groups", "select"}
    assert f"<code>w2s groups {run.name}</code> again" in build_report(run).to_html()


@pytest.mark.parametrize("name", ["gain.json", "gain.parquet", "selection.parquet"])
def test_damaged_file_is_named(synthetic_run: MakeRun, name: str) -> None:
    run = synthetic_run(stages=ALL)
    (run / name).write_bytes(b"{")
    seal(run)
    with pytest.raises(FileFormatError, match=name):
        summarize(run)


def test_other_schema_is_refused(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=ALL)
    change(run / "groups.json", schema=9)
    with pytest.raises(RunError, match=r"groups\.json.*w2s groups"):
        summarize(run)


@pytest.mark.parametrize(
    ("accuracies", "half", "advised", "headline", "reason"),
    [
        (
            (0.70, 0.71, 0.78, 0.81),
            0.02,
            "both",
            "Train on both: measured on test split test: 81.0% against 78.0% with weak labels "
            "alone, +3.0 points (95% interval +1.0 to +5.0)",
            "The lead is more than chance explains: its interval leaves out 0.",
        ),
        (
            (0.70, 0.71, 0.78, 0.79),
            0.03,
            "both",
            "Train on both: measured on test split test: 79.0% against 78.0% with weak labels "
            "alone, +1.0 points (95% interval −2.0 to +4.0)",
            "The lead may be chance, as its interval holds 0: this is the best guess there is.",
        ),
        (
            (0.70, 0.807, 0.78, 0.81),
            0.02,
            "gold",
            "Train on the gold labels: measured on test split test: 80.7% against 81.0% with both, "
            "−0.3 points (95% interval −2.3 to +1.7)",
            "With both it would be more by +0.3 points (95% interval −1.7 to +2.3): "
            "neither significant nor above 0.5 points, so that the cheaper option is as good.",
        ),
        (
            (0.90, 0.71, 0.78, 0.81),
            0.02,
            "teacher",
            "Use the teacher: measured on test split test: 90.0% against 81.0% with both, "
            "+9.0 points (95% interval +7.0 to +11.0)",
            "The lead is more than chance explains: its interval leaves out 0.",
        ),
    ],
)
def test_headline_advises_an_option(
    synthetic_run: MakeRun,
    accuracies: tuple[float, ...],
    half: float,
    advised: str,
    headline: str,
    reason: str,
) -> None:
    run = synthetic_run(stages=("forecast", "gain"))
    named = dict(zip(MEASURED, accuracies, strict=True))
    change(run / "gain.json", **options(named, 0.95, STUDENTS, half, advised))
    verdict = summarize(run)["verdict"]
    assert stage_line("verdict", verdict) == headline
    assert verdict["sentences"][0] == reason
    assert 3 <= len(verdict["sentences"]) <= 10  # two of them on the test splits
    vote = next(text for text in verdict["sentences"] if "the vote" in text)
    assert "+3.5 points (95% interval +1.5 to +5.5) above the advised option" in vote
    rows = {row["name"]: row for row in verdict["options"]}
    assert [row["name"] for row in verdict["options"] if row["advised"]] == [advised]
    for name, row in rows.items():
        assert row["accuracy"]["value"] == named[name]
        # The difference to itself is unknown, as no pair holds one option twice.
        behind = None if name == advised else pytest.approx(named[advised] - named[name])
        assert row["behind"]["value"] == behind
        assert row["student"] == (STUDENTS[name] or None)
        assert row["forecast"]["value"] == EXPECTED[name]
    assert "The forecast had advised" in verdict["sentences"][-2]


def test_options_that_are_missing_say_why(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain",))
    written = options({"teacher": 0.70, "weak": 0.78}, 0.95, STUDENTS, advised="weak")
    nothing = {"value": None, "low": None, "high": None, "reason": "no gold labels"}
    lacking = [{"name": name, "student": "", "accuracy": nothing} for name in ("gold", "both")]
    written["options"] = sorted(
        written["options"] + lacking, key=lambda option: list(MEASURED).index(option["name"])
    )
    change(run / "gain.json", **written)
    summary = summarize(run)
    headline = summary["verdict"]["headline"]
    assert headline["words"] == "Train on weak labels"
    assert headline["evidence"].startswith(
        "measured on test split test: 78.0% against 70.0% with the teacher, +8.0"
    )
    page = build_report(run).to_html()
    assert page.count('<td class="wide text">no gold labels</td>') == 2
    assert render(summary, "terminal", ["verdict"]).count("no gold labels") == 2
    written["options"] = [o for o in written["options"] if o["name"] != "weak"]
    alone = written | {"differences": [], "best": "teacher", "advised": "teacher", "lead": nothing}
    change(run / "gain.json", **alone)
    evidence = summarize(run)["verdict"]["headline"]["evidence"]
    assert evidence == "measured on test split test: 70.0%, and no other option to compare it with"


def test_forecast_alone_gives_the_verdict(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("forecast",))
    verdict = summarize(run)["verdict"]
    assert (verdict["headline"]["words"], verdict["headline"]["kind"]) == (
        "Train on both",
        "expected",
    )
    assert verdict["headline"]["evidence"] == (
        "expected 79.0% against 77.0% with the gold labels alone, +2.0 points "
        "(90% interval 0.0 to +4.0)"
    )
    assert all(row["forecast"] is None for row in verdict["options"])
    (warning,) = verdict["warnings"]
    assert warning == {"level": "misleads", "about": "forecast", "text": "few labelled rows"}
    assert verdict["add"] == [summarize(run)["gain"]["hint"]]
    change(run / "forecast.json", verdict="label first")
    withheld = summarize(run)["verdict"]["headline"]
    assert withheld["words"] == "Label first"
    assert withheld["evidence"].startswith("too little to advise from; the best guess is to train")


def test_no_forecast_and_no_gain_is_one_line(synthetic_run: MakeRun) -> None:
    verdict = summarize(synthetic_run())["verdict"]
    assert "w2s forecast RUN" in verdict["hint"]
    assert verdict["headline"] is None
    assert verdict["sentences"] == verdict["add"] == []


def test_best_control_is_the_one_led_over(synthetic_run: MakeRun) -> None:
    methods = summarize(synthetic_run(stages=("gain",)))["gain"]["methods"]
    assert [m["name"] for m in methods] == ["confidence", "naive"]
    assert methods[0]["lead"]["control"] == "random_subset"
    assert methods[1]["lead"] is None
    assert methods[1]["pgr"]["reason"] == "the headroom is too small"
    assert len(methods[0]["seeds"]) == 3


def test_names_of_methods_and_controls_are_explained(synthetic_run: MakeRun) -> None:
    from w2s_data.finetune import available_methods
    from w2s_reports.summary.gain import MEANINGS

    assert set(available_methods()) <= set(MEANINGS)
    report = build_report(synthetic_run(stages=("gain",)))
    said = {entry["name"]: entry["text"] for entry in report.summary["gain"]["meanings"]}
    assert "random_subset" in said
    for text in said.values():
        assert html.escape(text, quote=False) in report.to_html().replace("&#39;", "'")
        assert text in report.to_markdown()


def test_no_control_is_recommended_where_nothing_gains(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain",))
    found = json.loads((run / "gain.json").read_text())
    for student in found["students"]:
        student["gains"]["accuracy"] = {"value": -0.05, "low": -0.07, "high": -0.03}
    change(run / "gain.json", students=found["students"])
    findings = build_report(run).summary["gain"]["findings"]
    assert findings[0].endswith("gains nothing over the teacher here.")


def test_unknown_predictions_leave_reasons_and_no_figure(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("forecast", "groups"))
    reason = "40 rows cannot tell the dimensions apart"
    unknown = {"schema": 1, "n": 30, "N": 10, "prediction": None, "reading": f"Unknown: {reason}"}
    (run / "discrepancy.json").write_text(
        json.dumps(unknown | {"unknown": [reason], "warnings": []})
    )
    nothing = {"schema": 2, "groups": [], "worst_group": None, "advice": None}
    nothing |= {"reading": "Unknown: one group.", "unknown": [{"group": None, "reason": "one"}]}
    (run / "spurious.json").write_text(json.dumps(nothing | {"warnings": []}))
    seal(run)
    report = build_report(run)
    assert not {"spectra", "correlations", "recovery", "eta"} & set(report.drawing.figures)
    page = shown_text(report.to_html())
    assert reason in page
    assert "Unknown: one group." in page
    assert "None" not in page


def test_vague_optimum_is_not_marked(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("groups",))
    figure = build_report(run).drawing.figures["eta"]
    assert "best at 40% (30.0–50.0%)" in figure.caption
    assert len(figure.layout["shapes"]) == 2
    change(run / "spurious.json", optimal_eta_pool={"value": 0.6, "low": 0.0, "high": 1.0})
    figure = build_report(run).drawing.figures["eta"]
    assert "not determined by these data" in figure.caption
    assert len(figure.layout["shapes"]) == 1


def test_run_without_gold_labels(synthetic_run: MakeRun) -> None:
    page = shown_text(build_report(synthetic_run(stages=ALL, labels=False)).to_html())
    assert "Weak right" not in page
    assert "None" not in page


def test_hostile_names_are_text(synthetic_run: MakeRun) -> None:
    report = build_report(synthetic_run(hostile=True, stages=ALL))
    page = report.to_html()
    assert "<script>window.pwned" not in page
    assert "<img src=x" not in page
    assert "<script" not in report.to_markdown().replace("\\<script", "")
    assert plot_text("--paper") != "--paper"
    for figure in report.drawing.figures.values():
        for said in figure.layout.get("annotations", ()):
            assert "<" not in said["text"]
        for trace in figure.data:
            assert not any("<" in str(text) for text in trace.get("text", ()))
