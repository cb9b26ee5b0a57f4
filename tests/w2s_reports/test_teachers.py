"""Several teachers in a report: one summary on the page, in Markdown and in the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.sealing import seal
from tests.w2s_reports.conftest import HOSTILE
from w2s_data.teachers import assess_teachers
from w2s_data.teachers.rules import label_by_rules
from w2s_data.utils.io import jsonable
from w2s_reports import build_report, summarize
from w2s_reports.artefacts import Artefacts
from w2s_reports.render import render
from w2s_reports.summary.teachers import summarize_teachers

MakeRun = Callable[..., Path]
NAMES = ("expert", "expert again", "legacy", "silent")


def with_teachers(run: Path, names: tuple[str, ...] = NAMES, n_gold: int = 200) -> dict[str, Any]:
    """Add four teachers to a synthetic run; returns the content of `reliability.json`."""
    rng = np.random.default_rng(0)
    classes = rng.integers(2, size=400)
    right = rng.random((400, 2)) < [0.9, 0.6]
    said = np.where(right, classes[:, None], 1 - classes[:, None])
    said[::2, 1] = -1
    said = np.column_stack([said[:, 0], said[:, 0], said[:, 1], np.full(400, -1)])
    proba = np.where(said[..., None] < 0, 0.5, 0.2 + 0.6 * np.eye(2)[said])
    found = assess_teachers(
        proba,
        np.where(np.arange(400) < n_gold, classes, -1),
        names=names,
        class_names=("negative", "positive"),
        sources=np.where(np.arange(400) % 3, "web", "forum"),
        coefficients=dict(zip(names, (0.7, 0.7, 0.2, 0), strict=True)),
        random_state=0,
    ).to_dict()
    (run / "reliability.json").write_text(json.dumps(jsonable({**found, "schema": 2})))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"]["score"]["files"]["reliability.json"] = None
    (run / "manifest.json").write_text(json.dumps(manifest))
    seal(run)
    return found


def test_the_section_compares_the_teachers(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    found = with_teachers(run)
    report = build_report(run)
    page, markdown = report.to_html(), " ".join(report.to_markdown().split())
    terminal = " ".join(render(report.summary, "terminal", ["overlap"]).split())
    expert, _, legacy, silent = found["teachers"]
    right = f"{100 * expert['accuracy']['value']:.1f}%"
    for text in (page.replace("&#39;", "'"), markdown, terminal):
        assert "4 teachers vote on 0% to 100% of the pool" in text
        assert f"Most surely right is expert, on {right} (" in text
        assert "'expert' and 'expert again' are copies of each other." in text
        assert "'silent' abstains on every row of the pool and changes nothing." in text
    assert 'id="teachers"' in page
    assert f"| legacy | 50.0% | {100 * legacy['accuracy']['value']:.1f}% (" in markdown
    assert "| silent | 0.0% | – |" in markdown
    assert "| expert, expert again | 200 | 100.0% | 1.00 (1.00–1.00) |" in markdown
    assert np.isnan(silent["accuracy"]["value"])


def test_matrix_and_parts_have_the_numbers_of_their_pairs(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    found = with_teachers(run)
    section = summarize(run)["teachers"]
    cells = [row["cells"] for row in section["matrix"]]
    pairs = {(p["first"], p["second"]): p for p in found["pairs"]}
    assert cells[0][1] == 1
    assert cells[1][0] == pytest.approx(1)
    assert cells[0][2] == pairs["expert", "legacy"]["agreement"]
    assert cells[2][0] == pairs["expert", "legacy"]["dependence"]["value"]
    assert [cells[k][k] for k in range(4)] == [None] * 4
    by_source, by_class = section["parts"]
    assert [row["name"] for row in by_source["rows"]] == ["forum", "web"]
    forum = found["teachers"][2]["by_source"][0]
    assert by_source["rows"][0]["cells"][2]["value"] == forum["accuracy"]["value"]
    assert by_source["rows"][0]["cells"][2]["coverage"] == forum["coverage"]
    assert by_class["kind"] == "class"


def test_weights_of_raven_stand_beside_those_of_the_posterior(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain",))
    with_teachers(run)
    path = run / "gain.json"
    gain = json.loads(path.read_text())
    ends = {"mean": [0.4, 0.3, 0.2, 0.1], "low": [0.3, 0.2, 0.1, 0], "high": [0.5, 0.4, 0.3, 0.2]}
    weights = {"steps": [0, 9], **{name: [[0.25] * 4, end] for name, end in ends.items()}}
    path.write_text(json.dumps(gain | {"diagnostics": {"raven": {"weights": weights}}}))
    seal(run)
    summary = summarize(run)
    rows = summary["teachers"]["rows"]
    assert [row["raven"]["value"] for row in rows] == ends["mean"]
    assert [row["coefficient"] for row in rows] == [0.7, 0.7, 0.2, 0]
    assert "0.40" in build_report(run).to_html().split('id="teachers"')[1]


def test_few_gold_rows_call_no_teacher_the_best(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    with_teachers(run, n_gold=19)
    reading = summarize(run)["teachers"]["reading"]
    assert reading.endswith("None votes on 20 gold items, so that little is known of any.")


def test_a_single_teacher_has_no_section(synthetic_run: MakeRun) -> None:
    report = build_report(synthetic_run())
    assert report.summary["teachers"] is None
    assert 'id="teachers"' not in report.to_html()
    assert "## Teachers" not in report.to_markdown()
    assert "Teachers:" not in render(report.summary, "terminal", ["overlap"])


def test_names_are_text(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    with_teachers(run, (HOSTILE, "[/red]", "a|b", "`c`"))
    report = build_report(run)
    assert HOSTILE not in report.to_html()
    assert "[/red]" in render(report.summary, "terminal", ["overlap"])
    assert "a\\|b" in report.to_markdown()


def test_rules_of_a_single_teacher_are_a_section_of_their_own() -> None:
    texts = ["good film", "good but bad", "bad", "dull", "good"] * 4
    gold = np.array([1, 0, 0, 0, 0] * 4)
    rules = {"positive": ["good"], "negative": ["bad", "never"]}
    read = label_by_rules(texts, ["negative", "positive"], rules, gold=gold)
    written = {"teachers": [{"name": "words", "summary": read.summary}]}
    scores = pd.DataFrame({"id": [], "region": []})
    artefacts = Artefacts(Path(), {}, {"teachers": written}, scores, False)
    found = summarize_teachers(artefacts)
    assert found is not None
    (own,) = found["rules"]
    assert (own["teacher"], own["n"]) == ("words", 3)
    shown = [(r["name"], r["classes"], r["coverage"], r["conflicts"]) for r in own["rows"]]
    assert shown == [
        *[("good", "positive", 0.6, 0.2), ("bad", "negative", 0.4, 0.2)],
        ("never", "", 0, 0),
    ]
    assert own["rows"][0]["accuracy"]["value"] == pytest.approx(1 / 3)
    assert own["rows"][2]["accuracy"]["value"] is None
    assert found["rows"] == ()
