"""The page by keyboard, at any width, and by the rules of axe."""

from __future__ import annotations

from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.w2s_reports.later_stages import STAGES
from tests.w2s_reports.test_browser import (  # noqa: F401
    MAP,
    MakeRun,
    browser,
    opened,
    pytestmark,
    report_path,
    until,
)

# Beside its own driver of playwright this package carries axe-core, which otherwise needs npm.
AXE = find_spec("axe_playwright_python")
SERIOUS = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => [id, nodes[0].html]);
}"""
CUT = """[...document.querySelectorAll(".scroll")]
  .filter((place) => place.offsetParent && place.scrollWidth > place.clientWidth + 1)
  .map((place) => place.getAttribute("aria-label"))"""


@pytest.fixture
def full(synthetic_run: MakeRun) -> Path:
    return report_path(synthetic_run(stages=(*STAGES, *MAP)))


def test_the_page_by_keyboard_and_at_any_width(browser: Any, full: Path) -> None:  # noqa: F811
    settings = {"permissions": ["clipboard-read", "clipboard-write"]}
    with opened(browser, full, **settings) as page:
        command = page.locator("#verdict .next code").inner_text()
        page.locator("#verdict .next .copy").focus()
        page.keyboard.press("Enter")
        until(page, "document.querySelector('#verdict .next .copy').textContent === 'Copied'")
        assert command.startswith("w2s ")
        assert page.evaluate("navigator.clipboard.readText()") == command
        # The name of a group leads to its items.
        link = page.locator("#groups [data-look]").first
        link.focus()
        page.keyboard.press("Enter")
        assert page.locator("#filter-group").input_value() == link.get_attribute("data-look")
        assert "match" in page.locator("#search-status").inner_text()
        for width in (1280, 820, 390):
            page.set_viewport_size({"width": width, "height": 800})
            until(page, f"{CUT}.length === 0")


@pytest.mark.skipif(AXE is None, reason="axe-playwright-python is not installed")
def test_axe_finds_no_serious_fault(browser: Any, full: Path) -> None:  # noqa: F811
    axe = resources.files("axe_playwright_python") / "axe.min.js"
    with opened(browser, full, bypass_csp=True) as page:
        page.evaluate(axe.read_text(encoding="utf-8"))
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(SERIOUS) == []
