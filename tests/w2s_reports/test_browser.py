"""The page in a real browser: quiet, offline, usable by mouse and keyboard, safe."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.sealing import seal
from tests.w2s_reports.conftest import SECTIONS
from tests.w2s_reports.later_stages import STAGES
from tests.w2s_reports.value_runs import make_value_run
from w2s_reports import build_report
from w2s_reports.palette import tokens

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]
LOCAL = ("file:", "data:", "blob:", "about:")
MakeRun = Callable[..., Path]
MAP = ("projection",)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, page_path: Path, **settings: Any) -> Iterator[Any]:
    """A page with every figure drawn; afterwards it must have been quiet and offline."""
    context = browser.new_context(accept_downloads=True, **settings)
    page, trouble = context.new_page(), []

    def watch(route: Any) -> None:
        if route.request.url.startswith(LOCAL):
            route.continue_()
        else:
            trouble.append(f"request: {route.request.url}")
            route.abort()

    context.route("**/*", watch)
    page.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.goto(page_path.as_uri())
    # Figures of a part that is closed are drawn when it is opened.
    page.locator("details").evaluate_all("all => all.forEach(one => (one.open = true))")
    for area in page.locator("[data-figure]").all():
        area.scroll_into_view_if_needed()
        area.locator(".main-svg").first.wait_for()
    yield page
    assert trouble == []
    context.close()


def until(page: Any, expression: str, seconds: float = 10) -> None:
    """Wait for an expression; playwright's own wait needs the eval that the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"still not: {expression}"
        page.wait_for_timeout(50)


def settle(page: Any) -> None:
    """Wait until the page has stopped scrolling, which hides the card."""
    place = None
    while place != (place := page.evaluate("scrollY")):
        page.wait_for_timeout(200)


def point_at(page: Any, arrow: str = "ArrowRight") -> tuple[float, float]:
    """Where on the screen the point is that an arrow key finds from the middle of the map."""
    area = page.locator("[data-figure=map]")
    area.scroll_into_view_if_needed()
    area.focus()
    settle(page)
    page.keyboard.press(arrow)
    box = page.locator(".ring").bounding_box()
    page.keyboard.press("Escape")
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def shown_points(page: Any) -> int:
    return int(page.locator("[data-figure=map]").get_attribute("data-shown"))


# Red, green and blue of the map's most opaque pixel.
PAINT = """(() => {
  const painted = document.querySelector("[data-figure=map] canvas");
  const copy = Object.assign(document.createElement("canvas"),
    { width: painted.width, height: painted.height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(painted, 0, 0);
  const { data } = context.getImageData(0, 0, copy.width, copy.height);
  let best = 3;
  for (let k = 3; k < data.length; k += 4) if (data[k] > data[best]) best = k;
  return [...data.slice(best - 3, best)];
})()"""


def report_path(run: Path, **settings: Any) -> Path:
    build_report(run, **settings)
    return run / "report.html"


@pytest.mark.parametrize("kind", ["text", "image", "features"])
def test_sections_figures_and_width(browser: Any, synthetic_run: MakeRun, kind: str) -> None:
    path = report_path(synthetic_run(kind=kind, stages=MAP))
    for width in (1280, 820, 390):
        with opened(browser, path, viewport={"width": width, "height": 800}) as page:
            for name, title in SECTIONS.items():
                assert page.locator(f"#{name} h2").inner_text() == title
            assert page.locator(".main-svg").count() >= 3
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(overflow) == 0
            assert page.locator("[data-figure][role=img][aria-label]").count() == 5
            assert page.locator("figure figcaption").count() == 5
            broken = "[...document.images].filter(i => !i.hidden && !i.naturalWidth).length"
            until(page, "[...document.images].every(i => i.complete)")
            assert page.evaluate(broken) == 0


def test_page_of_values_is_quiet_and_whole(browser: Any, tmp_path: Path) -> None:
    page_path = tmp_path / "page.html"
    build_report(make_value_run(tmp_path / "run"), page_path)
    with opened(browser, page_path, viewport={"width": 390, "height": 900}) as page:
        for name in ("errors", "methods", "predicted", "residuals", "map"):
            assert page.locator(f'[data-figure="{name}"][data-drawn]').count() == 1, name
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("tab", name="Largest errors").click()
        assert page.locator("#panel-worst .card:visible").count() == 6


def test_degenerate_run_is_quiet(browser: Any, synthetic_run: MakeRun) -> None:
    path = report_path(synthetic_run(degenerate=True, labels=False, sources=(), groups=()))
    with opened(browser, path) as page:
        assert page.locator(".big").inner_text() == "undefined"
        assert page.locator("[data-figure]").count() == 2


def test_sorting_by_click_and_keyboard(browser: Any, synthetic_run: MakeRun) -> None:
    with opened(browser, report_path(synthetic_run())) as page:

        def column(i: int) -> list[str]:
            cells = page.locator(f"#sources tbody tr > :nth-child({i + 1})")
            return [str(value) for value in cells.evaluate_all("c => c.map(x => x.dataset.value)")]

        heads = page.locator("#sources thead th")
        density = heads.nth(2)
        density.locator("button").click()
        values = [float(value) for value in column(2)]
        assert density.get_attribute("aria-sort") == "descending"
        assert values == sorted(values, reverse=True)
        density.locator("button").focus()
        page.keyboard.press("Enter")
        assert density.get_attribute("aria-sort") == "ascending"
        assert [float(value) for value in column(2)] == sorted(values)
        heads.nth(0).locator("button").click()
        assert density.get_attribute("aria-sort") is None
        assert column(0) == ["books", "forum", "web"]


def test_search_finds_text_and_id(browser: Any, synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    items = pd.read_parquet(run / "items.parquet").query("split == 'pool'")
    wanted = items["item"].str.contains("tuesday", case=False).sum()
    with opened(browser, report_path(run)) as page:
        page.fill("#search", "Tuesday")
        status = page.locator("#search-status").inner_text()
        assert 0 < int(status.split()[0]) <= wanted  # excerpts may end before the word
        assert page.locator("#telling").is_hidden()
        for quote in page.locator("#results .quote").all_inner_texts():
            assert "tuesday" in quote.lower()
        page.fill("#search", items["id"].iloc[3])
        assert page.locator("#search-status").inner_text() == "1 match"
        page.fill("#search", "no such words anywhere")
        assert page.locator("#search-status").inner_text() == "0 matches"
        page.fill("#search", "")
        assert page.locator("#telling").is_visible()


@pytest.mark.parametrize("hostile", [False, True])
def test_downloads(browser: Any, synthetic_run: MakeRun, hostile: bool) -> None:
    run = synthetic_run(hostile=hostile)
    scores = pd.read_parquet(run / "scores.parquet").query("split == 'pool'")
    with opened(browser, report_path(run)) as page:
        with page.expect_download() as download:
            page.click("#download-scores")
        assert download.value.suggested_filename == "scores.csv"
        raw = Path(download.value.path()).read_bytes().decode("utf-8")
        with page.expect_download() as download:
            page.click("#download-summary")
        summary = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert raw.endswith("\r\n")
    rows = list(csv.DictReader(io.StringIO(raw, newline=""), strict=True))
    assert [row["id"] for row in rows] == scores["id"].tolist()
    assert [row["region"] for row in rows] == scores["region"].tolist()
    assert [row["source"] for row in rows] == scores["source"].tolist()
    assert float(rows[0]["confidence"]) == pytest.approx(scores["confidence"].iloc[0], rel=1e-4)
    assert summary == build_report(run).summary


@pytest.mark.parametrize("kind", ["text", "image"])
def test_pointing_at_a_point_shows_its_item(
    browser: Any, synthetic_run: MakeRun, kind: str
) -> None:
    with opened(browser, report_path(synthetic_run(kind=kind))) as page:
        x, y = point_at(page)
        page.mouse.move(x - 200, y - 200)
        page.mouse.move(x, y, steps=4)
        page.wait_for_selector("#hovercard:not([hidden])")
        shown = page.locator("#hovercard").inner_text()
        assert "margin" in shown
        assert "weak label" in shown
        if kind == "image":
            assert page.locator("#hovercard img").get_attribute("src").startswith("data:image/webp")
        else:
            assert len(page.locator("#hovercard .quote").inner_text().split()) >= 4
        page.keyboard.press("Escape")
        assert page.locator("#hovercard").is_hidden()


def test_map_can_be_read_with_the_keyboard(browser: Any, synthetic_run: MakeRun) -> None:
    with opened(browser, report_path(synthetic_run(stages=MAP))) as page:
        page.locator("[data-figure=map]").focus()
        quotes = []
        for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
            page.keyboard.press(key)
            quotes.append(page.locator("#hovercard .quote").inner_text())
        assert len(set(quotes)) == 3
        page.keyboard.press("Escape")
        assert page.locator("#hovercard").is_hidden()
        assert page.locator(".ring").count() == 0


def test_tapping_a_point_shows_its_item(browser: Any, synthetic_run: MakeRun) -> None:
    path = report_path(synthetic_run(stages=MAP))
    phone = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
    with opened(browser, path, **phone) as page:
        x, y = point_at(page)
        assert page.locator("#hovercard").is_hidden()
        page.touchscreen.tap(x + 5, y)
        page.wait_for_selector("#hovercard:not([hidden])")
        assert "margin" in page.locator("#hovercard").inner_text()
        box = page.locator("#hovercard").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_positions_and_colours_can_be_chosen(browser: Any, synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=MAP)
    pool = pd.read_parquet(run / "scores.parquet").query("split == 'pool'")
    for width in (1280, 390):
        with opened(browser, report_path(run), viewport={"width": width, "height": 900}) as page:
            area, caption = page.locator("[data-figure=map]"), page.locator("#overlap figcaption")
            assert "UMAP" in caption.last.inner_text()
            page.locator("input[value=umap]").focus()
            page.keyboard.press("ArrowRight")
            assert page.locator("input[value=pca]").is_checked()
            assert "31.4% and 15.9%" in caption.last.inner_text()
            assert "first component, 31.4%" in area.inner_text()
            page.locator("input[value=plane]").check()
            assert "margin of the weak label" in area.inner_text()
            assert "UMAP" not in str(area.get_attribute("aria-label"))
            for key, label in (("source", "Source"), ("group", "Group"), ("region", "Region")):
                page.get_by_role("radio", name=label, exact=True).check()
                chips = page.locator("div.legend:not([hidden]) .chip").all_inner_texts()
                counts = pool[key].value_counts()
                assert {tuple(chip.split()) for chip in chips} == {
                    (name, str(n)) for name, n in counts.items()
                }
                assert f"Coloured by {key}" in str(area.get_attribute("aria-label"))
            assert shown_points(page) == 200
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(overflow) == 0


def test_levels_can_be_hidden_with_the_keyboard(browser: Any, synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=MAP)
    pool = pd.read_parquet(run / "scores.parquet").query("split == 'pool'")
    with opened(browser, report_path(run)) as page:
        chip = page.locator(".chip", has_text="overlap")
        chip.focus()
        page.keyboard.press("Space")
        assert chip.get_attribute("aria-pressed") == "false"
        assert shown_points(page) == (pool["region"] != "overlap").sum()
        # Each colouring remembers its own.
        page.get_by_role("radio", name="Weak label").check()
        assert shown_points(page) == 200
        page.locator(".chip:visible", has_text="right").click()
        assert shown_points(page) == (~pool["weak_correct"]).sum()
        page.get_by_role("radio", name="Region").check()
        chip.focus()
        page.keyboard.press("Space")
        assert shown_points(page) == 200


def test_skip_link_is_the_first_stop(browser: Any, synthetic_run: MakeRun) -> None:
    with opened(browser, report_path(synthetic_run(n=60))) as page:
        page.evaluate("scrollTo(0, 0)")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


def test_figures_follow_the_theme(browser: Any, synthetic_run: MakeRun) -> None:
    def paint(page: Any) -> list[int]:
        return [int(value) for value in page.evaluate(PAINT)]

    def painted(theme: int) -> Any:
        colour = tokens(theme)["overlap"]
        return pytest.approx([int(colour[k : k + 2], 16) for k in (1, 3, 5)], abs=3)

    with opened(browser, report_path(synthetic_run(stages=MAP)), color_scheme="light") as page:
        for region in ("easy-only", "hard-only"):
            page.locator(".chip:visible", has_text=region).click()
        light = paint(page)
        assert light == painted(0)
        page.emulate_media(color_scheme="dark")
        until(page, f"String({PAINT}) !== '{','.join(map(str, light))}'")
        assert paint(page) == painted(1)
        # Paper is white: the light colours come back.
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert paint(page) == painted(0)


def test_hostile_data_does_nothing(browser: Any, synthetic_run: MakeRun) -> None:
    with opened(browser, report_path(synthetic_run(hostile=True))) as page:
        page.fill("#search", "script")
        assert page.locator("#results .card").count() == 24
        page.mouse.move(*point_at(page))
        page.wait_for_selector("#hovercard:not([hidden])")
        assert "<script>" in page.locator("#hovercard .quote").inner_text()
        page.locator("#sources thead button").first.click()
        assert page.evaluate("window.pwned") is None


def test_notebook_frame_draws(browser: Any, synthetic_run: MakeRun, tmp_path: Path) -> None:
    notebook = tmp_path / "notebook.html"
    frame = build_report(synthetic_run(n=60))._repr_html_()
    notebook.write_text(f"<!doctype html><meta charset=utf-8>{frame}", encoding="utf-8")
    with opened(browser, notebook) as page:
        inside = page.frame_locator("iframe")
        inside.locator("[data-figure=confidence]").scroll_into_view_if_needed()
        inside.locator("[data-figure=confidence] .main-svg").first.wait_for()


def test_all_stages_together(browser: Any, synthetic_run: MakeRun) -> None:
    path = report_path(synthetic_run(stages=tuple(STAGES)))
    for width in (1280, 390):
        with opened(browser, path, viewport={"width": width, "height": 800}) as page:
            for name, title in SECTIONS.items():
                assert page.locator(f"#{name} h2").inner_text() == title
            assert page.locator("[data-figure][role=img][aria-label]").count() == 19
            assert page.locator("figure figcaption").count() == 19
            assert page.locator("#verdict .words").inner_text() == "Train on both"
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(overflow) == 0
            # Rank and name sort as words, numbers as numbers.
            heads = page.locator("#gain thead").first.locator("button")
            heads.nth(2).click()
            heads.nth(2).click()
            first = page.locator("#gain tbody").first.locator("th").first
            assert first.inner_text() == "naive"


def test_hostile_names_in_all_stages(browser: Any, synthetic_run: MakeRun) -> None:
    path = report_path(synthetic_run(hostile=True, stages=(*STAGES, *MAP)))
    with opened(browser, path, viewport={"width": 390, "height": 800}) as page:
        assert page.evaluate("window.pwned") is None
        assert page.locator("[data-figure] img, [data-figure] a").count() == 0
        assert page.locator("#gain tbody th").first.inner_text().startswith("confidence<script>")
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) == 0


def visible(page: Any, selector: str) -> int:
    return int(
        page.locator(selector).evaluate_all(
            "es => es.filter(e => e.getClientRects().length).length"
        )
    )


def test_tabs_by_mouse_and_keyboard(browser: Any, synthetic_run: MakeRun) -> None:
    with opened(browser, report_path(synthetic_run(stages=("gain", "groups")))) as page:
        tabs = page.locator("#examples [role=tab]")
        assert tabs.evaluate_all("ts => ts.map(t => t.tabIndex)") == [0, -1, -1, -1]
        assert visible(page, "#examples .panel") == 1
        tabs.nth(2).click()
        assert visible(page, "#panel-apart") == 1
        assert visible(page, "#panel-apart .card") == 18  # six of each of three kinds
        page.click("#panel-apart .more")
        assert visible(page, "#panel-apart .card") == 36
        tabs.nth(2).focus()
        for key, name in (("ArrowRight", "twins"), ("ArrowRight", "doubtful"), ("End", "twins")):
            page.keyboard.press(key)
            assert page.evaluate("document.activeElement.id") == f"tab-{name}"
            assert visible(page, f"#panel-{name}") == visible(page, "#examples .panel") == 1
        assert visible(page, "#panel-twins .twins") == 8
        assert page.locator("#panel-twins .twins").first.locator(".card").count() == 2
        page.keyboard.press("Home")
        assert tabs.nth(0).get_attribute("aria-selected") == "true"


def test_filters_and_search_go_together(browser: Any, synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain", "groups"))
    scores = pd.read_parquet(run / "scores.parquet").query("split == 'pool'")
    wrong = scores.query("source == 'web' and not weak_correct")
    with opened(browser, report_path(run)) as page:
        status = page.locator("#search-status")
        assert status.get_attribute("aria-live") == "polite"
        page.select_option("#filter-source", "web")
        page.select_option("#filter-weak", "wrong")
        assert status.inner_text() == f"{len(wrong)} matches"
        assert page.locator("#telling").is_hidden()
        page.fill("#search", f"{wrong['id'].iloc[0]} WEB")
        assert status.inner_text() == "1 match"
        page.fill("#search", "")
        page.select_option("#filter-weak", "")
        n = int((scores["source"] == "web").sum())
        assert status.inner_text() == f"{n} matches, the first 24 shown"
        page.click("#panel-telling .more")
        assert page.locator("#results .card").count() == min(n, 48)
        page.click("#tab-apart")
        shown = page.locator("#panel-apart .card:visible")
        sources = shown.evaluate_all("cs => cs.map(c => c.dataset.source)")
        assert sources
        assert set(sources) == {"web"}
        found, total = re.fullmatch(
            r"(\d+) of the (\d+) disagreements listed here match", status.inner_text()
        ).groups()
        assert 0 < int(found) < int(total)
        page.click("#tab-twins")
        assert "pairs listed here match" in status.inner_text()
        page.fill("#search", "no such words")
        assert status.inner_text().startswith("0 of ")
        page.select_option("#filter-source", "")
        page.fill("#search", "")
        page.click("#tab-telling")
        assert page.locator("#results").is_hidden()
        assert status.inner_text() == ""


def test_odd_texts_stay_in_their_cards(browser: Any, synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain", "groups"))
    items = pd.read_parquet(run / "items.parquet")
    odd = [
        "x" * 100_000,
        "שלום עולם " * 40,
        "\u202eab<script>window.pwned=1</script>",
        "🎭" * 500,
        "",
    ]
    items["item"] = [odd[i % len(odd)] for i in range(len(items))]
    items.to_parquet(run / "items.parquet")
    seal(run)
    path = report_path(run)
    assert path.stat().st_size < 8_000_000
    for width in (1280, 390):
        with opened(browser, path, viewport={"width": width, "height": 800}) as page:
            for tab in ("telling", "apart", "twins"):
                page.click(f"#tab-{tab}")
                overflow = "document.documentElement.scrollWidth"
                assert page.evaluate(f"{overflow} - document.documentElement.clientWidth") == 0
                tall = (
                    "Math.max(...[...document.querySelectorAll('.card')].map(c => c.offsetHeight))"
                )
                assert page.evaluate(tall) < 600
            assert page.evaluate("window.pwned") is None


def test_pairs_show_both_texts_under_the_pointer(browser: Any, synthetic_run: MakeRun) -> None:
    run = synthetic_run(classes=("first preferred", "second preferred"))
    items = pd.read_parquet(run / "items.parquet")
    items["other"] = "the other text"
    items.to_parquet(run / "items.parquet")
    seal(run)
    with opened(browser, report_path(run)) as page:
        page.fill("#search", "other")
        card = page.locator("#results .card").first
        assert card.locator(".side").all_inner_texts() == ["chosen", "rejected"]
        assert "the other text" in card.locator(".quote").all_inner_texts()
        assert page.locator("#filter-label").count() == 0


def test_a_search_among_wrong_labels_covers_all_of_them(
    browser: Any, synthetic_run: MakeRun
) -> None:
    run = synthetic_run(stages=("gain",))
    scores = pd.read_parquet(run / "scores.parquet").query("split == 'pool'")
    trust = pd.read_parquet(run / "posterior.parquet").set_index("id")["trust"]
    scores = scores.assign(trust=trust.loc[scores["id"]].to_numpy())
    wrong = scores.query("trust < 0.5 and source == 'web'").sort_values("trust", kind="stable")
    with opened(browser, report_path(run)) as page:
        page.click("#tab-doubtful")
        listed = page.locator("#panel-doubtful .listed .card:visible").count()
        page.select_option("#filter-source", "web")
        shown = page.locator("#panel-doubtful .found .card")
        assert page.locator("#search-status").inner_text().startswith(f"{len(wrong)} match")
        assert shown.count() == min(len(wrong), 24)
        assert f"trust {wrong['trust'].iloc[0]:.2f}" in shown.first.inner_text()
        page.select_option("#filter-source", "")
        assert page.locator("#panel-doubtful .listed .card:visible").count() == listed
        assert shown.count() == 0


def test_paper_shows_every_part(browser: Any, synthetic_run: MakeRun) -> None:
    with opened(browser, report_path(synthetic_run(stages=("gain", "groups")))) as page:
        page.emulate_media(media="print")
        assert visible(page, "#examples .panel") == 4
        assert visible(page, "#examples .tabs") == 0
        # Nothing can be opened on paper: it shows what is folded, and the screen has its own again.
        closed = "document.querySelectorAll('details:not([open], .screen)').length"
        page.locator("details").evaluate_all("all => all.forEach(one => (one.open = false))")
        assert page.evaluate(closed) > 0
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate(closed) == 0
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert page.evaluate(closed) > 0
