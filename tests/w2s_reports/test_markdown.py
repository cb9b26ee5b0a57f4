"""Markdown says the same numbers, and the data cannot break out of its cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from w2s_reports import render, summarize
from w2s_reports.formats import percent
from w2s_reports.tables import markdown_table

MakeRun = Callable[..., Path]


def test_every_section_and_number(synthetic_run: MakeRun) -> None:
    summary = summarize(synthetic_run(warnings=("the curve hardly bends",)))
    text = render(summary, "markdown")
    for heading in (
        *("Advice", "Gain", "Overlap", "Sources", "Selection", "Groups", "Discrepancy"),
        *("Examples", "Provenance"),
    ):
        assert f"\n## {heading}\n" in text
    assert "overlap: the curve hardly bends (this concerns another number on this page" in text
    assert f"**{percent(summary['overlap']['density']['value'])}**" in text
    for row in summary["sources"]["rows"] + summary["groups"]["rows"]:
        assert f"| {row['name']} " in text
        assert percent(row["density"]["value"]) in text
        assert percent(row["weak_accuracy"]["value"]) in text


def test_tables_are_aligned() -> None:
    lines = markdown_table([["Source", "n"], ["a", "1"], ["a longer name", "12,345"]]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_hostile_text_stays_text(synthetic_run: MakeRun) -> None:
    text = render(summarize(synthetic_run(hostile=True)), "markdown")
    assert "<script" not in text.replace("\\<script", "")
    assert "<img" not in text.replace("\\<img", "")


def test_degenerate_run(synthetic_run: MakeRun) -> None:
    text = render(summarize(synthetic_run(degenerate=True, sources=(), labels=False)), "markdown")
    assert "Overlap density **–**" in text
    assert "`w2s score DATA --source COLUMN`" in text
    assert "nan" not in text.lower().split()
