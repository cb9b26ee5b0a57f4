"""Names and texts that try to be something else: nothing runs, breaks the layout or the writer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.sealing import seal
from tests.w2s_reports import conftest
from tests.w2s_reports.conftest import SECTIONS
from tests.w2s_reports.later_stages import STAGES
from tests.w2s_reports.test_browser import browser, opened  # noqa: F401
from w2s_data.utils.io import read_json
from w2s_reports import build_report

SURROGATE = "LONE-SURROGATE"  # Parquet has no word for one; JSON does
MARKUP = "<script>window.pwned=1</script>\"'</script><img src=x onerror=window.pwned=1>"
HOSTILE = {
    "markup": f"{MARKUP}<!--<script>--><!--</script>-->]]><style>*{{display:none}}</style>",
    "formats": "{{7*7}}{% x %} %{text} <extra> `code` | a \\ $x$ &lt;b&gt; &#x3c;i&#x3e; __proto__",
    "long word": "x" * 100_000,
    "scripts": "\u202eright to left\u202c שלום עולם \u2067\u200f"
    + "👩‍👩‍👧‍👦🏳️‍🌈" * 40
    + "word " * 20_000,
    "control": "".join(map(chr, range(1, 32))) + f"\x00\x7f\x85\u2028\ufeff\ufffe{SURROGATE}",
}


def hostile_run(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with all stages whose every name and text ends in `text`."""
    monkeypatch.setattr(conftest, "HOSTILE", text)
    run = conftest.make_run(folder, hostile=True, stages=tuple(STAGES), n=60)
    for path in run.glob("*.json"):
        path.write_text(path.read_text().replace(SURROGATE, "\\ud800"))
    return seal(run)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
@pytest.mark.parametrize("name", HOSTILE)
def test_page_is_unharmed(
    browser: Any,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    run = hostile_run(tmp_path / "run", HOSTILE[name], monkeypatch)
    report = build_report(run, baseline=run, fail_on=["density<0.1"])
    report.to_markdown().encode("utf-8")
    report.to_json().encode("utf-8")
    assert (run / "report.html").stat().st_size < 8_000_000
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    with opened(browser, run / "report.html", viewport={"width": 390, "height": 800}) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate(overflow) <= 0
        assert page.locator("section > h2").count() == len(SECTIONS) + 1
        assert page.locator("main img:not([hidden]), main style, main script").count() == 0
        page.fill("#search", "e")
        assert page.evaluate("window.pwned") is None


def test_lone_surrogates_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = hostile_run(tmp_path / "run", SURROGATE, monkeypatch)
    assert "\ud800" in read_json(run / "overlap.json")["reading"]
    report = build_report(run)
    assert "\ufffd" in report.summary["reading"]["sentence"]
    assert "\ud800" not in report.to_html() + report.to_markdown() + report.to_json()
