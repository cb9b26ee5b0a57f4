"""The section on shift: loud with an alarm, one sentence without, unknown where it is."""

import json

import pytest

from tests.sealing import seal
from tests.w2s_reports.conftest import HOSTILE
from w2s_data.errors import InputError
from w2s_reports import summarize
from w2s_reports.gate import check
from w2s_reports.render import render
from w2s_reports.report import build_report


def outcome(summary, condition):
    (found,) = check([condition], summary)
    return found.failed, found.value


def test_an_alarm_stands_in_the_verdict_with_what_it_means_and_what_to_do(synthetic_run):
    summary = summarize(synthetic_run(shift=True))
    (warning,) = (w for w in summary["verdict"]["warnings"] if w["about"] == "shift")
    assert warning["text"].startswith("The pool is not where the labels came from")
    assert "where the 60 are then worth about 14: fewer than the 30" in warning["text"]
    assert warning["level"] == "overturns"
    commands = [step["command"] for step in summary["verdict"]["steps"]]
    assert "w2s next run --for shift" in commands
    assert "w2s next RUN --for shift" in render(summary, "terminal", ["overlap"])


def test_the_table_and_the_examples_name_the_shifted_sets(synthetic_run):
    report = build_report(synthetic_run(shift=True))
    page, text = report.to_html(), report.to_markdown()
    assert "Table of comparisons" in page
    assert 'id="panel-shifted"' in page
    assert "| 0.81 (0.77–0.85)" in " ".join(text.split())
    names = [(part["name"], len(part["items"])) for part in report.summary["examples"]["shifted"]]
    assert names == [("pool", 6), ("pool", 6), ("source web", 6), ("source web", 6)]


@pytest.mark.parametrize("measured", [True, False])
def test_a_withheld_forecast_shows_its_reason_and_no_number(synthetic_run, measured):
    run = synthetic_run(shift=True, stages=("forecast", *(("gain",) if measured else ())))
    path = run / "forecast.json"
    forecast = json.loads(path.read_text())
    nothing = {"value": None, "low": None, "high": None, "level": 0.95}
    for name in ("teacher", "student", "gain", "ceiling", "lead"):
        forecast[name] = nothing
    for option in forecast["options"]:
        option["accuracy"] = nothing
    for pair in forecast["differences"]:
        pair["difference"] = nothing
    reading = "The forecast is withheld: 60 gold rows are worth 14"
    changes = {"best": "", "advised": "", "verdict": "label first", "reading": reading}
    path.write_text(json.dumps(forecast | changes | {"chance_w2s_helps": None, "pgr": None}))
    seal(run)
    report = build_report(run)
    headline = report.summary["verdict"]["headline"]
    if not measured:
        assert headline["words"] == "Label first"
        assert headline["evidence"].startswith(reading)
        assert headline["advised"] is None
    for text in (report.to_html(), report.to_markdown(), render(report.summary, "terminal")):
        assert reading in " ".join(text.split())
        assert "The forecast had advised" not in text


@pytest.mark.parametrize("alone", [True, False])
def test_class_shares_that_differ_have_a_table_and_a_sentence(synthetic_run, alone):
    run = synthetic_run(shift=False)
    share = {"value": 0.81, "low": 0.7, "high": 0.89, "level": 0.95}
    one = {"name": "pos", "labelled_share": 0.5, "pool_share": share, "black_box_share": share}
    found = {"shifted": True, "alone": alone, "classes": [one], "reading": "Class 'pos' is 81%."}
    path = run / "shift.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"label_shift": found}))
    seal(run)
    report = build_report(run)
    page = report.to_html()
    assert "Table of class shares" in page
    text = " ".join(report.to_markdown().split())
    assert "| pos | 50.0% | 81.0% (70.0–89.0%) |" in text
    section = page.split("Table of class shares")[0].rpartition("<section")[2]
    assert ("warnings" in section) is not alone
    assert "Class 'pos' is 81%." in render(report.summary, "terminal", ["overlap"])


def test_without_an_alarm_it_is_one_sentence(synthetic_run):
    report = build_report(synthetic_run(shift=False))
    assert "Table of comparisons" not in report.to_html()
    assert 'id="panel-shifted"' not in report.to_html()
    assert not [w for w in report.summary["verdict"]["warnings"] if w["about"] == "shift"]


def test_the_gate_knows_the_largest_alarm_and_each_set(synthetic_run):
    summary = summarize(synthetic_run(shift=True))
    assert outcome(summary, "shift>0.7") == (True, 0.81)
    assert outcome(summary, "shift.pool>0.9") == (False, 0.81)
    assert outcome(summary, "shift.web>0.7") == (True, 0.81)
    assert outcome(summary, "shift.test>0.7") == (False, 0.5)
    assert outcome(summarize(synthetic_run(shift=False)), "shift>0.7") == (False, 0.5)
    with pytest.raises(InputError, match="nowhere"):
        outcome(summary, "shift.nowhere>0.7")


def test_unknown_shift_is_unknown_everywhere(synthetic_run):
    run = synthetic_run(shift=False)
    unknown = {"schema": 2, "unknown": "few rows", "alarm": None, "sets": [], "notes": []}
    (run / "shift.json").write_text(json.dumps(unknown))
    seal(run)
    summary = summarize(run)
    assert summary["shift"]["hint"] == "Not known: few rows."
    assert outcome(summary, "shift>0.7") == (None, None)
    assert outcome(summary, "shift.pool>0.7") == (None, None)
    assert outcome(summarize(synthetic_run(shift=None)), "shift>0.7") == (None, None)


def test_names_of_sets_are_escaped(synthetic_run):
    report = build_report(synthetic_run(shift=True, hostile=True))
    assert HOSTILE not in report.to_html()
