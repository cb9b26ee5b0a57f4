"""The report of a run that the toolkit itself made, so that writer and reader agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from w2s_data.cli import main
from w2s_reports import build_report
from w2s_reports.formats import format_interval, format_value


@pytest.mark.slow
def test_run_of_digits(tmp_path: Path) -> None:
    models = ["--weak", "pixels:3", "--strong", "pixels:8"]
    with pytest.raises(SystemExit) as stop:
        main(["score", "example:digits", *models, "-o", str(tmp_path / "run")])
    assert stop.value.code == 0
    overlap = json.loads((tmp_path / "run" / "overlap.json").read_text(encoding="utf-8"))
    report = build_report(tmp_path / "run", tmp_path / "report.html")
    page = report.to_html()
    assert overlap["reading"] == report.summary["reading"]["sentence"]
    names = ["reliability", "confidence", "alignment", "map", "densities"]
    assert list(report.drawing.figures) == names
    assert len(report.drawing.images) == 42  # of 18 examples, and of weak labels probably wrong
    for row in report.summary["sources"]["rows"]:
        for name in ("density", "weak_accuracy"):
            assert format_value(row[name]["value"]) in page
            assert format_interval(row[name]) in page
