"""Terminal text: every stage in a table and a line, and nothing of the data is obeyed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.w2s_reports.conftest import make_run
from tests.w2s_reports.later_stages import STAGES
from w2s_data.errors import InputError
from w2s_data.utils.io import read_json
from w2s_data.utils.text import printable
from w2s_reports import render, render_stage, stage_line, summarize
from w2s_reports.formats import name_of
from w2s_reports.tables import align_rows

MakeRun = Callable[..., Path]
FILES = {
    "score": "overlap.json",
    "groups": "groups.json",
    "forecast": "forecast.json",
    "select": "selection.json",
    "gain": "gain.json",
}
# Markup of rich, of terminals and of the templates themselves.
NAMES = (
    "[/red]",
    "[link] b",
    "\x1b[31mred\x1b]8;;x\x07",
    "a\nb\tc",
    "{{ 7 * 7 }} | `x` \x1f",
    ":tada:",
)


def results(run: Path) -> dict[str, dict[str, Any]]:
    """Return the results of the stages of a run."""
    content = {name: read_json(run / file) for name, file in FILES.items()}
    content["groups"]["spurious"] = read_json(run / "spurious.json")
    content["forecast"]["discrepancy"] = read_json(run / "discrepancy.json")
    content["score"] = read_json(run / "overlap.json")
    content["groups"]["minority"] = []
    content["select"]["stopped"] = {"books": "its weak labels do not follow"}
    return content


@pytest.fixture(params=[80, 140])
def columns(request: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def test_stages(synthetic_run: MakeRun, columns: int) -> None:
    found = results(synthetic_run(stages=tuple(STAGES)))
    text = {name: render_stage(name, result) for name, result in found.items()}
    assert "web" in text["score"]
    assert "About a third of this pool is overlap." in text["score"]
    assert "train on both" in text["forecast"]
    assert "70.0% (67.0–73.0%)" in text["forecast"]
    assert "group" in text["groups"]
    assert "stopped" in text["select"]
    assert "confidence" in text["gain"]
    for name, lines in text.items():
        assert max(map(len, lines.splitlines())) <= columns, name
        assert "None" not in lines


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("forecast", "train on both; the best option leads by +2.0 (0.0 to +4.0) points"),
        ("groups", "2 groups given; 6 items have near-duplicates in another split"),
        ("select", "40 items from 3 sources in 12 rounds; stopped: books; 70 items set aside"),
        (
            "gain",
            "+8.0 (+6.0 to +10.0) points over the teacher by confidence, the best of 2 methods",
        ),
    ],
)
def test_lines(synthetic_run: MakeRun, name: str, line: str) -> None:
    assert stage_line(name, results(synthetic_run(stages=tuple(STAGES)))[name]) == line


def test_lines_of_one_group_and_of_pairs_that_share_a_prompt(synthetic_run: MakeRun) -> None:
    groups = results(synthetic_run(stages=tuple(STAGES)))["groups"]
    one = {"groups": groups["groups"][:1], "discovery": "gaps"}
    assert stage_line("groups", groups | one).startswith("1 group discovered; 3 items have")
    pairs = groups | {"duplicates": groups["duplicates"] | {"of": "prompts"}}
    line = stage_line("groups", pairs)
    assert line == "2 groups given; 6 pairs share a prompt with a pair of another split"


def test_line_of_the_density_and_of_the_verdict(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=tuple(STAGES))
    score = results(run)["score"]
    assert stage_line("score", score).endswith(" of 200 pool items")
    assert stage_line("score", score | {"range": [0.041, 0.574]}) == (
        "overlap density between 4% and 57% of 200 pool items (no level can be relied on)"
    )
    verdict = stage_line("verdict", summarize(run)["verdict"])
    assert verdict == (
        "Train on both: measured on test split test: 81.0% against 78.0% with weak labels alone, "
        "+3.0 points (95% interval +1.0 to +5.0)"
    )
    unknown = stage_line("verdict", summarize(synthetic_run("bare"))["verdict"])
    assert unknown.startswith("Not known yet")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("columns")
def test_nothing_of_the_data_is_obeyed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = (f"A{name}", "books", "forum")
    run = make_run(
        tmp_path / "run", sources=sources, groups=("short", f"G{name}"), stages=tuple(STAGES)
    )
    for stage, result in results(run).items():
        for text in (render_stage(stage, result), stage_line(stage, result)):
            assert not any(ord(c) < 32 and c != "\n" for c in text), stage
    monkeypatch.setenv("COLUMNS", "140")
    named = printable(name_of(f"source A{name}"))
    assert named in " ".join(render_stage("score", results(run)["score"]).split())
    markdown = render(summarize(run), "markdown")
    assert "\x1b" not in markdown
    for line in markdown.splitlines():
        assert not line.startswith("|") or line.endswith("|")


def test_rows_are_plain_text() -> None:
    text = align_rows([("ray", "pip install 'w2s-data[ray]'"), ("[b]x[/b]", "\x1b[0m")], 60)
    assert "pip install 'w2s-data[ray]'" in text
    assert "[b]x[/b]" in text
    assert "\\x1b[0m" in text


def test_whole_summary_and_unknown_names(synthetic_run: MakeRun) -> None:
    summary = summarize(synthetic_run(stages=tuple(STAGES)), fail_on=["density<0.9"])
    text = render(summary, "terminal")
    assert "FAILED  density<0.9" in text
    assert render(summary, "terminal", ["gain"]) in text
    assert set(render(summary, "json", ["gain"])) > set("{}")
    assert "## Gain" in render(summary, "markdown", ["gain"])
    assert "## Overlap" not in render(summary, "markdown", ["gain"])
    with pytest.raises(InputError, match="no section 'gian'; did you mean 'gain'"):
        render(summary, "markdown", ["gian"])
    with pytest.raises(InputError, match="no format 'htm'"):
        render(summary, "htm")  # type: ignore[arg-type]


def test_partial_summary_in_a_terminal(synthetic_run: MakeRun) -> None:
    text = render(summarize(synthetic_run()), "terminal")
    assert "`w2s gain RUN`" in text


def test_page_without_a_drawing(synthetic_run: MakeRun) -> None:
    page = render(summarize(synthetic_run(stages=tuple(STAGES))), "html", ["verdict", "gain"])
    assert '<section id="gain"' in page
    assert '<section id="overlap"' not in page
    assert "<figure" not in page
