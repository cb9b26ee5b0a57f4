"""Words that must not contradict each other, and names that a reader can look at."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.sealing import seal
from w2s_reports import build_report, render, summarize

MakeRun = Callable[..., Path]


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    seal(path.parent)


def warning(code: str, *withholds: str) -> dict[str, Any]:
    return {"code": code, "text": f"about {code}", "numbers": {}, "withholds": list(withholds)}


def page(run: Path) -> str:
    return " ".join(build_report(run).to_html().split())


def test_warnings_of_data_stand_once_beside_the_verdict(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain", "forecast", "groups"))
    for file in ("overlap.json", "gain.json", "forecast.json", "groups.json"):
        change(run / file, data_warnings=[warning("rare_class")])
    verdict = summarize(run)["verdict"]
    risk = {"level": "blurs", "about": "data", "text": "about rare_class"}
    assert risk in verdict["warnings"]
    assert sum(w["about"] == "data" for w in verdict["warnings"]) == 1
    assert "<strong>Data.</strong> About rare_class" in page(run)


def test_a_gain_on_a_handful_of_items_is_undecided(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain",))
    assert summarize(run)["verdict"]["headline"]["words"] != "Undecided"
    change(run / "gain.json", data_warnings=[warning("few_test", "gain")], n_test=12)
    headline = summarize(run)["verdict"]["headline"]
    assert (headline["words"], headline["why"]) == ("Undecided", "only 12 test items")


def test_a_withheld_forecast_says_to_label_first(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("forecast",))
    change(run / "forecast.json", verdict="label first")
    assert summarize(run)["verdict"]["headline"]["words"] == "Label first"


@pytest.mark.parametrize("explained", [0.6, 0.9])
def test_a_doubtful_density_is_never_large(synthetic_run: MakeRun, explained: float) -> None:
    run = synthetic_run()
    overlap = json.loads((run / "overlap.json").read_text())
    overlap["alignment_threshold"]["explained"] = explained
    change(run / "overlap.json", **overlap)
    text = page(run).partition('id="overlap"')[2].partition('id="sources"')[0]
    doubt = "doubtful, since the alignment of these points falls into two parts no more clearly"
    assert (doubt in text) == (explained < 0.75)
    assert ('<p class="big">' in text) == (explained > 0.75)


def test_the_same_text_is_shown_once_with_its_count(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    items = pd.read_parquet(run / "items.parquet")
    scores = pd.read_parquet(run / "scores.parquet")
    best = scores[(scores["region"] == "overlap") & (scores["split"] == "pool")]
    same = best.sort_values("alignment", ascending=False).index[:4]
    items.loc[same, "item"] = "the very same text"
    items.to_parquet(run / "items.parquet")
    seal(run)
    summary = summarize(run)
    shown = summary["examples"]["regions"][0]["items"]
    texts = [item["text"] for item in shown]
    assert texts.count("the very same text") == 1
    assert len(set(texts)) == len(texts) == 6
    assert shown[0]["n_same"] == 4
    assert "and <b>3</b> alike" in page(run)
    assert "(and 3 alike)" in render(summary, "markdown").replace("\\", "")


def test_a_discovered_group_is_named_by_what_is_in_it(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("groups",), groups=("group 0", "group 1"))
    ids = pd.read_parquet(run / "scores.parquet")["id"]
    portraits = [
        {
            "group": f"group {k}",
            "name": "web, goal" if k else "mixed",
            "surprising": ids.iloc[[3 * k]].tolist(),
            "surprise": "label",
            "typical": ids.iloc[[3 * k + 1, 3 * k + 2]].tolist(),
            "words": ["goal", "referee"] if k else [],
            "telling": {"class": None, "source": {"name": "web", "share": 0.9, "elsewhere": 0.2}}
            if k
            else {"class": None},
        }
        for k in range(2)
    ]
    change(run / "groups.json", portraits=portraits, discovery="gaps")
    spurious = json.loads((run / "spurious.json").read_text())
    spurious["groups"][0]["advice"] = "group 'group 1' is 5% of the pool: re-weight 'group 1'"
    change(run / "spurious.json", groups=spurious["groups"])
    summary = summarize(run)
    about = "90% source web, 20% elsewhere; words: goal, referee"
    first, second = "group 0 (mixed)", "group 1 (web, goal)"
    assert summary["group_analysis"]["prediction"]["lines"] == [
        f"G{second[1:]} is 5% of the pool: re-weight {second}."
    ]
    rows = {row["name"]: row["about"] for row in summary["group_analysis"]["rows"]}
    assert rows == {first: "no class, source or word stands out", second: about}
    typical, surprising = summary["examples"]["groups"][2:]
    assert (typical["name"], typical["about"]) == (second, about)
    assert [item["id"] for item in typical["items"]] == ids.iloc[[4, 5]].tolist()
    assert surprising["about"] == "surprising here: another label than most of the group"
    assert [item["id"] for item in surprising["items"]] == [ids.iloc[3]]
    assert 'id="panel-grouped"' in page(run)


def test_the_measurement_is_believed_over_a_predicted_gain(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain", "groups"))
    gain = json.loads((run / "gain.json").read_text())
    for student in gain["students"]:
        student["gains"]["accuracy"]["value"] = -0.011
    change(run / "gain.json", **gain)
    against = summarize(run)["group_analysis"]["prediction"]["against"]
    assert against.startswith("Measured, the best student gained −1.1 points.")
    assert "believe the measurement" in against


@pytest.mark.parametrize(("accuracy", "follows"), [(0.72, False), (0.80, True), (0.60, False)])
def test_no_list_of_what_to_buy_stands_beside_advice_to_buy_evenly(
    synthetic_run: MakeRun, accuracy: float, follows: bool
) -> None:
    run = synthetic_run(stages=("select",))
    baselines = json.loads((run / "selection.json").read_text())["baselines"]
    baselines[0]["evaluated"] = {"value": accuracy, "low": None, "high": None}
    change(run / "selection.json", baselines=baselines)
    report = build_report(run)
    assert ("Buy next" in report.to_html()) == follows
    assert ("Buy next" in report.to_markdown()) == follows
    assert ("allocation" in report.drawing.figures) == follows


def test_confidence_is_a_probability_and_a_margin_is_called_margin(synthetic_run: MakeRun) -> None:
    text = build_report(synthetic_run()).to_markdown()
    assert "| Margin | Alignment" in " ".join(text.split())
    assert "| Confidence" not in text
