"""Rounds of labels, rows to label next and labels to train on, in every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from w2s_data.utils.manifest import FileRecord
from w2s_reports import build_report, render_stage, summarize

MakeRun = Callable[..., Path]

CHOSEN = {
    "round": 2,
    "n": 20,
    "n_pool": 180,
    "n_labelled": 60,
    "by_posterior": True,
    "doubt": 0.41,
    "pool_doubt": 0.17,
    "by_class": [
        {"name": "negative", "chosen": 12, "pool": 80},
        {"name": "positive<b>", "chosen": 8, "pool": 100},
    ],
    "by_source": [],
    "warnings": ["the pool has 20 rows: all of them are in the table"],
}
EXPORTED = {
    "n": 300,
    "total_weight": 210.5,
    "by_reason": [{"why": "weak label kept", "n": 200}, {"why": "gold", "n": 100}],
    "by_class": [],
}


def accuracy(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.04, "high": value + 0.04, "level": 0.95}


def with_rounds(run: Path) -> Path:
    """Add a record of two rounds to a run, as the items stage writes it."""
    results = {
        "posterior": accuracy(0.71),
        "weak_labels": accuracy(0.62),
        "students": {"stacked": accuracy(0.73), "naive": accuracy(0.66)},
        "teacher": accuracy(0.6),
        "labelled_only": accuracy(0.69),
    }
    rounds: list[dict[str, Any]] = [
        {"table": None, "labels": {}, "n_labelled": 40, "results": results},
        {"table": "<i>one</i>.csv", "labels": {"a": "neg"}, "n_labelled": 41, "results": None},
    ]
    path = run / "rounds.json"
    path.write_text(json.dumps({"schema": 1, "rounds": rounds}))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"]["items"]["files"]["rounds.json"] = FileRecord.of(path).model_dump()
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


def test_a_run_without_rounds_names_the_command(synthetic_run: MakeRun) -> None:
    labels = summarize(synthetic_run())["labels"]
    assert labels["hint"].startswith("`w2s next RUN` chooses the rows")
    assert labels["rounds"] == []


def test_each_round_has_the_results_that_were_measured_with_its_labels(
    synthetic_run: MakeRun,
) -> None:
    run = with_rounds(synthetic_run(stages=("gain",)))
    labels = summarize(run)["labels"]
    first, last = labels["rounds"]
    assert (first["number"], first["n_labelled"], first["added"]) == (0, 40, 0)
    assert first["posterior"]["value"] == 0.71
    assert first["by_student"]["stacked"]["low"] == 0.73 - 0.04
    gain = summarize(run)["gain"]
    # The last round is the run as it is.
    for name in ("teacher", "labelled_only"):
        assert last[name]["value"] == gain[name]["value"]
    assert set(last["by_student"]) == {row["name"] for row in gain["methods"]}
    own = [row["name"] for row in gain["methods"] if row["name"] != "labelled_only"]
    assert labels["students"] == own[:3]


def test_rounds_are_on_the_page_and_in_markdown_with_everything_escaped(
    synthetic_run: MakeRun,
) -> None:
    run = with_rounds(synthetic_run())
    report = build_report(run)
    page = (run / "report.html").read_text(encoding="utf-8")
    section = page[page.index('id="labels"') : page.index('id="examples"')]
    assert "1, <bdi>&lt;i&gt;one&lt;/i&gt;.csv</bdi>" in section
    assert "71.0%" in section
    assert "w2s next RUN" in section
    markdown = report.to_markdown()
    assert "Labelled items" in markdown[markdown.index("## Labels") :]


def test_a_terminal_shows_the_rows_to_label_by_class() -> None:
    text = render_stage("next", CHOSEN)
    assert "Round 2: 20 of 180 pool items to label" in text
    assert "wrong in 41%" in " ".join(text.split())
    assert "warning: the pool has 20 rows" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["negative", "12", "80"] in lines
    random = render_stage("next", CHOSEN | {"by_posterior": False, "doubt": None, "by_class": []})
    assert "drawn at random" in " ".join(random.split())


def test_a_terminal_shows_why_labels_are_kept_or_left_out() -> None:
    text = render_stage("export", EXPORTED)
    assert "Labels of 300 items to train on" in text
    assert ["gold", "100"] in [line.split() for line in text.splitlines()]
