"""Every number that the page shows is in the JSON summary, and the Markdown says it too."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.w2s_reports.later_stages import STAGES
from tests.w2s_reports.test_browser import browser, opened  # noqa: F401
from tests.w2s_reports.test_comparison import other_data
from tests.w2s_reports.test_partial import cut_back
from w2s_reports import Report, build_report, formats

MakeRun = Callable[..., Path]
NUMBER = re.compile(r"(?<![\w.])[+\u2212-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?(?!\w)")
# Parts that state no number: drawings, names and texts of the data, keys of axes, controls.
LEFT_OUT = {"figure", "script", "style", "template", "bdi", "button", "form", "code", "time"}
LEFT_OUT_CLASSES = {"key", "quote", "tables", "downloads"}
VOID = {"img", "input", "br", "meta", "link", "hr"}
# Markdown shows fewer of the items.
ITEMS = {"examples"}
SECTION = re.compile(r'<section id="(\w+)".*?</section>', flags=re.S)


class Statements(HTMLParser):
    """The text of a section without what is left out; cells are parted."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            self.text.append(" ")
            return
        classes = set((dict(attrs).get("class") or "").split())
        left_out = tag in LEFT_OUT or bool(classes & LEFT_OUT_CLASSES)
        self.open.append((tag, left_out or (bool(self.open) and self.open[-1][1])))
        self.text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass
        self.text.append(" ")

    def handle_data(self, data: str) -> None:
        if not (self.open and self.open[-1][1]):
            self.text.append(data)


def statements(page: str) -> dict[str, str]:
    """Return the text of each section of a page."""
    said = {}
    for section in SECTION.finditer(page):
        parser = Statements()
        parser.feed(section[0])
        said[section[1]] = " ".join("".join(parser.text).split())
    return said


def numbers(text: str) -> set[str]:
    """The numbers of a text as they are spelled there, but for a plus and a sign of percent."""
    found = NUMBER.findall(text.replace("\u2013", " "))
    return {number.strip("+%").replace(formats.MINUS, "-") for number in found}


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        yield len(value)
        for inner in value:
            yield from leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield value


def spellings(summary: Mapping[str, Any]) -> set[str]:
    """Every way in which a number of the summary may be spelled."""
    found: set[str] = set()
    for value in leaves(summary):
        if isinstance(value, str):
            found |= numbers(value)
            continue
        spelled = [formats.count(round(value)), formats.amount(value), formats.duration(value)]
        for digits in range(5):
            spelled += [formats.number(value, digits), formats.percent(value, digits)]
            spelled += [formats.signed(value, digits)]
        found |= numbers(" ".join(spelled))
    for iso in (value for value in leaves(summary) if isinstance(value, str)):
        found |= numbers(formats.day(iso))
    return found


def assert_parity(report: Any, page: str) -> None:
    markdown = numbers(report.to_markdown().replace("\\", ""))
    known = spellings(report.summary)
    shown = statements(page)
    assert {"verdict", "gain", "overlap", "provenance"} <= shown.keys()
    for section, text in shown.items():
        found = numbers(text)
        assert found <= known, f"{section} shows numbers of its own: {sorted(found - known)}"
        missing = sorted(found - markdown)
        assert section in ITEMS or not missing, (
            f"Markdown lacks numbers of {section}: {missing}\n{text}"
        )


@pytest.fixture
def full(synthetic_run: MakeRun) -> Report:
    base = other_data(synthetic_run("base", stages=tuple(STAGES), seed=2, n=240))
    run = synthetic_run(stages=tuple(STAGES))
    return build_report(run, baseline=base, fail_on=["density<0.1", "gain<0.2", "leaking>3"])


def test_page_markdown_and_json_say_the_same_numbers(full: Report) -> None:
    assert_parity(full, full.to_html())
    assert len(numbers(statements(full.to_html())["gain"])) >= 30


@pytest.mark.parametrize(
    "settings", [{}, {"labels": False, "sources": (), "groups": ()}, {"shift": True}]
)
@pytest.mark.parametrize("stages", [(), ("forecast",)])
def test_partial_runs_too(
    synthetic_run: MakeRun, stages: tuple[str, ...], settings: dict[str, Any]
) -> None:
    report = build_report(synthetic_run(stages=stages, **settings))
    assert_parity(report, report.to_html())
    unscored = build_report(cut_back(synthetic_run("u", stages=stages, **settings), ("score",)))
    assert_parity(unscored, unscored.to_html())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_the_page_in_a_browser(
    browser: Any,  # noqa: F811
    full: Report,
    tmp_path: Path,
) -> None:
    with opened(browser, full.write_html(tmp_path / "page.html")) as page:
        assert_parity(full, page.content())


def test_a_number_that_is_left_out_is_noticed(full: Report) -> None:
    page = full.to_html()
    density = formats.percent(full.summary["overlap"]["density"]["value"])
    with pytest.raises(AssertionError, match=r"verdict shows numbers of its own: .*123.4"):
        assert_parity(full, page.replace(f">{density}<", ">123.4%<"))
    silent = full.to_markdown().replace(density, "")
    lacking = SimpleNamespace(summary=full.summary, to_markdown=lambda: silent)
    with pytest.raises(AssertionError, match=f"Markdown lacks numbers of .*{density[:-1]}"):
        assert_parity(lacking, page)
