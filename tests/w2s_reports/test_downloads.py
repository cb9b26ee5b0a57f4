"""Tables as CSV: each list of records of the summary, with its numbers, safe in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.w2s_reports.later_stages import STAGES
from tests.w2s_reports.test_browser import browser, opened  # noqa: F401
from w2s_reports import build_report, summarize
from w2s_reports.downloads import csv_tables

MakeRun = Callable[..., Path]
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", 'a,"b"', "plain")


def test_every_list_of_records_is_a_table(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=tuple(STAGES))
    found = {table["path"]: table["rows"] for table in csv_tables(summarize(run))}
    assert found["sources.rows"] == 3
    assert found["groups.rows"] == found["group_analysis.rows"] == 2
    assert found["gain.methods"] == 2
    assert found["gain.groups"] == 4  # groups x methods
    assert found["selection.rows"] == 3
    assert found["examples.regions"] == 18  # regions x items
    assert not any(path.startswith("verdict") for path in found)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_downloaded_tables(browser: Any, synthetic_run: MakeRun) -> None:  # noqa: F811
    run = synthetic_run(stages=tuple(STAGES), sources=FORMULAS)
    base = synthetic_run("base", stages=tuple(STAGES), seed=1)
    summary = build_report(run, baseline=base, fail_on=["density<0.1"]).summary
    found = {}
    with opened(browser, run / "report.html") as page:
        for table in csv_tables(summary):
            page.wait_for_timeout(120)  # Chromium drops more than ten downloads a second
            with page.expect_download() as download:
                page.click(f'[data-table="{table["path"]}"]')
            raw = Path(download.value.path()).read_bytes().decode("utf-8")
            assert download.value.suggested_filename == table["path"].replace(".", "-") + ".csv"
            assert raw.endswith("\r\n")
            rows = list(csv.DictReader(io.StringIO(raw, newline=""), strict=True))
            assert len(rows) == table["rows"], table
            assert not any(None in row for row in rows)
            found[table["path"]] = rows
    sources = found["sources.rows"]
    assert sorted(row["name"] for row in sources) == sorted(
        f"'{name}" if name[0] in "=+-@\t" else name for name in map(str.strip, FORMULAS)
    )
    for row, known in zip(sources, summary["sources"]["rows"], strict=True):
        assert float(row["density.value"]) == known["density"]["value"]
        assert int(row["n"]) == known["n"]
    assert float(found["gain.methods"][1]["gain.value"]) == -0.01  # a number stays a number
    assert found["gain.groups"][0]["gains.name"] == "confidence"
    assert json.loads(found["gate"][0]["failed"]) is False
    assert {row["title"] for row in found["comparison.sections"]} >= {"Overlap", "Measured gain"}
