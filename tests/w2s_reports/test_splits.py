"""Several test splits in the report: a column each, the worst of them, and the verdict."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.w2s_reports.later_stages import STAGES
from w2s_data.utils.io import read_json
from w2s_reports import build_report
from w2s_reports.gate import check
from w2s_reports.summary import summarize
from w2s_reports.summary.splits import SHOWN, summarize_splits

MakeRun = Callable[..., Path]


@pytest.fixture
def result(synthetic_run: MakeRun) -> dict[str, Any]:
    return read_json(synthetic_run(stages=tuple(STAGES)) / "gain.json")


def test_teacher_and_students_have_a_cell_for_each_split(result: dict[str, Any]) -> None:
    splits = summarize_splits(result)
    assert splits["about"] == "test"
    assert [column["name"] for column in splits["columns"]] == ["test", "test_news"]
    names = [row["name"] for row in splits["rows"]]
    assert names == ["teacher", "gold labels alone", "confidence", "naive", "vote", "ceiling"]
    confidence = splits["rows"][2]["cells"]
    assert [cell["accuracy"]["value"] for cell in confidence] == pytest.approx([0.78, 0.38])
    assert [cell["gain"]["value"] for cell in confidence] == pytest.approx([0.08, -0.12])
    assert splits["rows"][0]["cells"][0]["gain"]["value"] is None
    assert splits["findings"] == [
        "confidence is least right on test split test_news: 38.0%, its teacher 50.0%.",
        "The gain of confidence changes sign.",
    ]
    assert splits["least"]["group"] == "test_news"


def test_of_many_splits_the_worst_are_shown_after_the_main_one(result: dict[str, Any]) -> None:
    first, news = result["splits"]
    result["splits"] = [first]
    for k in range(9):
        more = copy.deepcopy(news) | {"name": f"test_{k}"}
        for student in more["students"]:
            student["accuracy"]["value"] += 0.01 * k
        result["splits"].append(more)
    splits = summarize_splits(result)
    assert splits["n"] == 10
    assert [c["name"] for c in splits["columns"]] == [
        "test",
        *(f"test_{k}" for k in range(SHOWN - 1)),
    ]


def test_one_test_split_has_no_table(result: dict[str, Any]) -> None:
    none = summarize_splits(result | {"splits": [], "main_split": "", "contrasts": []})
    assert (none["columns"], none["rows"], none["findings"], none["about"]) == ([], [], [], None)


def test_every_format_shows_the_splits_and_says_what_the_verdict_is_about(
    synthetic_run: MakeRun,
) -> None:
    run = synthetic_run(stages=tuple(STAGES))
    summary = summarize(run)
    verdict = summary["verdict"]
    assert verdict["headline"]["evidence"].startswith("measured on test split test: 81.0%")
    assert any("150 test items of test split test the teacher" in t for t in verdict["sentences"])
    assert summary["gain"]["splits"]["findings"][0] in verdict["sentences"]
    [outcome] = check(["worst_split_gain<0"], summary)
    assert outcome.failed
    report = build_report(run)
    for text in (report.to_html(), report.to_markdown()):
        assert "Test split by test split" in text
        assert "test_news" in text.replace("\\", "")
