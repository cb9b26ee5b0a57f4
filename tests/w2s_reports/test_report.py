"""The report: one file, whole or absent, self-contained, the same numbers in every form."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.w2s_reports.conftest import SECTIONS
from tests.w2s_reports.later_stages import STAGES
from w2s_data.errors import InputError
from w2s_reports import build_report
from w2s_reports.axes import scale
from w2s_reports.formats import format_interval, percent
from w2s_reports.report import POINTS_BYTES
from w2s_reports.summary.examples import shown_rows

MakeRun = Callable[..., Path]
MEGABYTE = 1_000_000


def test_default_path_and_representations(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    report = build_report(run)
    assert (run / "report.html").read_text(encoding="utf-8") == report.to_html()
    assert json.loads(report.to_json()) == report.summary
    assert report.to_markdown().startswith("# Weak-to-strong report: reviews\n")
    assert repr(report).startswith("Report('reviews', overlap density ")
    assert not list(run.glob(".*partial"))


def test_page_json_and_markdown_say_the_same(synthetic_run: MakeRun) -> None:
    report = build_report(synthetic_run())
    page, markdown = html.unescape(report.to_html()), report.to_markdown()
    overlap = report.summary["overlap"]
    estimates = [overlap["density"], *(region["share"] for region in overlap["regions"])]
    estimates += [row["density"] for row in report.summary["sources"]["rows"]]
    for estimate in estimates:
        for said in (percent(estimate["value"]), format_interval(estimate)):
            assert said in page
            assert said in markdown


@pytest.mark.parametrize("kind", ["text", "image", "features"])
@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("sources", [(), ("web", "books")])
def test_every_shape_of_run_has_every_section(
    synthetic_run: MakeRun, kind: str, labels: bool, sources: tuple[str, ...]
) -> None:
    run = synthetic_run(kind=kind, labels=labels, sources=sources, groups=(), n=90)
    page = build_report(run).to_html()
    for name, title in SECTIONS.items():
        assert f'<section id="{name}"' in page
        assert f">{title}</h2>" in page
    assert ("--source COLUMN" in page) == (not sources)
    shown = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.S)
    assert ("data:image/webp;base64," in shown) == (kind == "image")
    assert "None" not in shown


PLOTLY = r'<script type="application/gzip" id="data-plotly">(.*?)</script>'


def unpacked(script: str) -> str:
    """A script that the page carries packed."""
    return gzip.decompress(base64.b64decode(script)).decode()


def test_page_is_self_contained(synthetic_run: MakeRun) -> None:
    page = build_report(synthetic_run()).to_html()
    shell = re.sub(PLOTLY + "|<script>.*?</script>", "", page, flags=re.S)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", shell)
    assert "http" not in re.sub(r"http-equiv", "", shell)
    (packed,) = re.findall(PLOTLY, page)
    assert unpacked(packed).count("plotly.js v") == 1
    assert len(page) < 3e6


def test_policy_allows_exactly_the_two_scripts(synthetic_run: MakeRun) -> None:
    page = build_report(synthetic_run()).to_html()
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1])
    scripts = [unpacked(re.search(PLOTLY, page)[1])]
    scripts += re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_hostile_text_is_escaped(synthetic_run: MakeRun) -> None:
    page = build_report(synthetic_run(hostile=True)).to_html()
    assert "<script>window.pwned" not in page
    assert "<img src=x" not in page
    # A script, a packed one, four data blocks: nothing in the data opened or closed another.
    assert len(re.findall(r"<script[ >]", page)) == len(re.findall(r"</script>", page)) == 6


@pytest.mark.slow
def test_a_page_of_1500_photographs_stays_under_three_megabytes(synthetic_run: MakeRun) -> None:
    run = synthetic_run(kind="image", photographs=True, n=2_250, stages=(*STAGES, "projection"))
    report = build_report(run)
    assert report.summary["data"]["n_scored"] == 1_500
    assert (run / "report.html").stat().st_size < 3 * MEGABYTE
    # Every card has a picture, and every fourth point at least, though grain takes much room.
    assert len(report.drawing.images) == len(shown_rows(report.summary["examples"]))
    assert np.mean([uri is not None for uri in report.drawing.points["image"]]) > 1 / 4


@pytest.mark.slow
def test_ten_thousand_points_stay_under_eight_megabytes(synthetic_run: MakeRun) -> None:
    run = synthetic_run(n=16_000)
    report = build_report(run)
    assert (run / "report.html").stat().st_size < 8 * MEGABYTE
    assert len(report.drawing.points["id"]) == 10_000
    assert "10,000 of 10,666 scored points" in report.to_html()
    assert report.summary["data"]["n_scored"] == 10_666


def test_huge_ids_reduce_the_drawing_not_the_numbers(
    synthetic_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("w2s_reports.report.POINTS_BYTES", 20_000)
    report = build_report(synthetic_run())
    assert 0 < len(report.drawing.points["id"]) < 200
    assert report.summary["data"]["n_scored"] == 200
    assert POINTS_BYTES > 20_000


@pytest.mark.parametrize("max_points", [0, -5])
def test_bad_max_points(synthetic_run: MakeRun, max_points: int) -> None:
    with pytest.raises(InputError, match="at least 1"):
        build_report(synthetic_run(), max_points=max_points)


def test_folder_as_path(synthetic_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        build_report(synthetic_run(), tmp_path)


def test_twice_gives_the_same_bytes(synthetic_run: MakeRun, tmp_path: Path) -> None:
    run = synthetic_run(kind="image", n=60)
    build_report(run, tmp_path / "a.html")
    build_report(run, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_notebook_display_is_an_isolated_frame(synthetic_run: MakeRun) -> None:
    shown = build_report(synthetic_run(n=30))._repr_html_()
    assert shown.startswith("<iframe")
    assert 'sandbox="allow-scripts allow-downloads"' in shown
    assert shown.count("<") == 2


@pytest.mark.parametrize(
    ("values", "start", "expected"),
    [
        ([0.31], 0.0, (0.0, 0.4)),
        ([0.3], 0.0, (0.0, 0.3)),
        ([1.0, None], 0.0, (0.0, 1.0)),
        ([0.72, 0.88], None, (0.7, 0.9)),
        ([1.0], None, (0.9, 1.0)),
        ([], 0.0, (0.0, 1.0)),
    ],
)
def test_scale(
    values: list[float | None], start: float | None, expected: tuple[float, float]
) -> None:
    low, high = scale([{"value": v, "low": None, "high": None} for v in values], start)
    assert (low, high) == pytest.approx(expected)
    assert all(low <= value <= high for value in values if value is not None)
