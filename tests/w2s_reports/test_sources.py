"""Sources, selection, worst groups: what is said of them follows from the numbers."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sealing import seal
from w2s_reports import build_report, summarize
from w2s_reports.formats import format_interval, percent
from w2s_reports.summary.parts import difference, estimate
from w2s_reports.summary.worst import worst_groups

MakeRun = Callable[..., Path]


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    seal(path.parent)


def with_sources(run: Path, rows: dict[str, tuple[float, float]], half: float = 0.04) -> None:
    """Give sources an overlap density and a share of confident points, with intervals."""
    records = []
    for name, shares in rows.items():
        record: dict[str, Any] = {"name": name, "n": 100, "weak_accuracy": None}
        for key, value in zip(("density", "confident"), shares, strict=True):
            record |= {key: value, f"{key}_low": value - half, f"{key}_high": value + half}
        records.append(record)
    change(run / "overlap.json", by_source=records, density={"value": 0.3, "low": 0.2, "high": 0.4})


def test_who_lies_apart(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    with_sources(run, {"a": (0.50, 0.9), "b": (0.31, 0.6), "c": (0.20, 0.5), "d": (0.10, 0.4)})
    found = summarize(run)["sources"]
    assert found["reading"][0] == (
        "Clearly more overlap than the whole (30.0%): a 50.0% (46.0–54.0%, sampling only); clearly "
        "less: d 10.0% (6.0–14.0%, sampling only), c 20.0% (16.0–24.0%, sampling only); the other "
        "one does not differ significantly."
    )
    assert found["agreement"] == pytest.approx(1)
    assert "Spearman 1.00 over only 4 sources" in found["reading"][1]
    assert "little that the margin does not say" in found["reading"][1]
    with_sources(run, {"a": (0.32, 0.4), "b": (0.31, 0.5), "c": (0.30, 0.6), "d": (0.29, 0.7)})
    found = summarize(run)["sources"]
    assert "treat all 4 as equal" in found["reading"][0]
    assert found["agreement"] == pytest.approx(-1)
    assert "Spearman \u22121.00" in found["reading"][1]


def test_few_many_and_no_sources(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    with_sources(run, {"a": (0.5, 0.6), "b": (0.3, 0.7)})
    found = summarize(run)["sources"]
    assert found["agreement"] is None
    assert found["reading"][1] == "Overlap density puts a first, the margin alone b."
    with_sources(run, {f"s{k}": (0.1 + 0.005 * k, 0.5) for k in range(60)})
    report = build_report(run)
    assert report.summary["sources"]["agreement"] is None  # confidence puts all on a level
    assert "by chance alone" in report.summary["sources"]["reading"][1]
    figure = report.drawing.figures["densities"]
    assert len(figure.data[0]["x"]) == 16
    assert "The first 16 of 60 sources" in figure.caption
    assert report.to_html().count('class="scroll long"') == 1
    with_sources(run, {"a": (0.5, 0.6)})
    alone = build_report(run)
    assert "densities" not in alone.drawing.figures
    assert alone.summary["sources"]["reading"] == alone.summary["sources"]["advice"] == []


def test_columns_come_from_the_stages_that_ran(synthetic_run: MakeRun) -> None:
    bare = summarize(synthetic_run("bare"))["sources"]
    assert ["`w2s groups" in line or "`w2s select" in line for line in bare["missing"]] == [
        True
    ] * 2
    assert all(row["reliability"]["value"] is None and row["cost"] is None for row in bare["rows"])
    report = build_report(synthetic_run("full", stages=("groups", "select")))
    found = report.summary["sources"]
    assert found["missing"] == []
    page, markdown = report.to_html(), report.to_markdown()
    for row in found["rows"]:
        assert row["per_cost"]["value"] == pytest.approx(row["density"]["value"] / row["cost"])
        for text in (
            percent(row["confident"]["value"]),
            format_interval(row["confident"]),
            format_interval(row["reliability"]),
            format_interval(row["per_cost"], "number", 2),
        ):
            assert text in page
            assert text in markdown
    for text in found["reading"] + found["advice"]:
        assert text in page
    assert any("near-duplicates" in text and "18.0%" in text for text in found["advice"])


def test_score_of_an_earlier_version_is_still_read(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("select",))
    rows = json.loads((run / "overlap.json").read_text())["by_source"]
    for row in rows:
        for name in [name for name in row if name.startswith("confident")]:
            del row[name]
    (run / "baselines.parquet").unlink()
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["stages"]["select"]["files"]["baselines.parquet"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    change(run / "overlap.json", by_source=rows)
    report = build_report(run)
    assert len(report.drawing.figures["densities"].data) == 1
    assert not {"overlap-found", "regret"} & set(report.drawing.figures)
    assert report.summary["selection"]["curve"] == []


@pytest.mark.parametrize(
    ("accuracy", "words", "advice"),
    [
        (0.72, "is within noise", "not clearly better than random choice: buy evenly"),
        (0.80, "is beyond noise", "Buy from the sources as"),
        (0.60, "is beyond noise", "Do not follow the selection"),
        (None, None, "was not measured"),
    ],
)
def test_comparison_with_random_choice(
    synthetic_run: MakeRun, accuracy: float | None, words: str | None, advice: str
) -> None:
    run = synthetic_run(stages=("select",))
    baselines = json.loads((run / "selection.json").read_text())["baselines"]
    baselines[0]["evaluated"] = accuracy and {"value": accuracy, "low": None, "high": None}
    change(run / "selection.json", baselines=baselines)
    found = summarize(run)["selection"]
    assert advice in found["advice"]
    said = [text for text in found["comparison"] if text.startswith("Accuracy")]
    assert len(said) == (words is not None)
    if words is not None:
        assert words in said[0]
        assert "of random choice 71.0%, of round robin 70.0%" in said[0]
        assert "(single random runs lie up to 5.0 off)" in said[0]


def test_items_of_stopped_sources_are_counted_and_left_out(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("select",))
    found = summarize(run)["selection"]
    names = [row["name"] for row in found["rows"] if row["set_aside"]]
    numbers = [row["set_aside"] for row in found["rows"] if row["set_aside"]]
    listed = ", ".join(f"{name} {n}" for name, n in zip(names, numbers, strict=True))
    assert found["aside"].startswith(f"{sum(numbers)} items were bought before their source was")
    assert f"are set aside: {listed}. They were paid for" in found["aside"]
    assert found["aside"] in html.unescape(build_report(run).to_html())
    baselines = json.loads((run / "selection.json").read_text())["baselines"]
    baselines.insert(1, {**baselines[0], "strategy": "all_bought"})
    baselines[1] |= {"evaluated": {"value": 0.64, "low": None, "high": None}}
    change(run / "selection.json", baselines=baselines)
    said = summarize(run)["selection"]["aside"]
    assert said.endswith("Its accuracy is 72.0%, with them it would be 64.0%.")
    assert len(summarize(run)["selection"]["comparison"]) == 3
    change(run / "selection.json", objective="screen")  # overlap is not what it sought
    assert len(summarize(run)["selection"]["comparison"]) == 1
    change(run / "selection.json", items=0)
    assert "Nothing is left to train on" in summarize(run)["selection"]["advice"]


def around(value: float, half: float) -> dict[str, Any]:
    return estimate({"value": value, "low": value - half, "high": value + half}, 0.95)


def group(name: str, accuracy: float, half: float, pool: float = 0.2) -> dict[str, Any]:
    return {
        "name": name,
        "weak_accuracy": around(accuracy, half),
        "overlap_density": estimate(None),
        "eta_pool": around(pool, 0.03),
        "eta_labelled": around(0.2, 0.04),
    }


def test_worst_groups_are_those_beyond_doubt() -> None:
    rows = [group("tiny", 0.0, 0.8), group("bad", 0.5, 0.1), group("good", 0.9, 0.02, pool=0.5)]
    gains = [
        {"name": "bad", "gain": around(-0.05, 0.02)},
        {"name": "good", "gain": around(0.1, 0.2)},
    ]
    found = {w["key"]: w for w in worst_groups(rows, gains, {"weak_accuracy": 0.8, "gain": 0.05})}
    assert set(found) == {"weak_accuracy", "gain", "difference"}
    assert [row["name"] for row in found["weak_accuracy"]["groups"]] == ["bad"]
    assert [row["name"] for row in found["gain"]["groups"]] == ["bad"]
    assert [row["name"] for row in found["difference"]["groups"]] == ["good"]
    apart = difference(rows[2]["eta_pool"], rows[2]["eta_labelled"])
    assert found["difference"]["groups"][0] == {"name": "good"} | apart
    level = worst_groups([group("a", 0.8, 0.1), group("b", 0.8, 0.1)], [], {"weak_accuracy": 0.8})
    assert all(not w["groups"] and not w["advice"] for w in level)


def test_a_thousand_groups_stay_readable(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("groups",))
    written = json.loads((run / "groups.json").read_text())["groups"]
    many = [
        written[0]
        | {"group": f"group {k}"}
        | {"eta_pool": {"value": 0.4 + 0.0001 * k, "low": 0.3, "high": 0.6, "level": 0.95}}
        for k in range(1_000)
    ]
    change(run / "groups.json", groups=many)
    judged = json.loads((run / "spurious.json").read_text())["groups"]
    change(run / "spurious.json", groups=judged * 1_000)
    report = build_report(run)
    page = report.to_html()
    assert len(report.drawing.figures["shares"].data[0]["x"]) == 16
    assert "The first 16 of 1000 groups" in report.drawing.figures["shares"].caption
    assert page.count('<div class="scroll long"') == 2
    assert "<summary>997 more groups</summary>" in page
    assert sum(len(w["groups"]) for w in report.summary["group_analysis"]["worst"]) <= 12
