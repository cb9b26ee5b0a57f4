"""Gain and examples: what the sections say of diagnostics, disagreements, duplicates and pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.sealing import seal
from w2s_reports import build_report, summarize
from w2s_reports.points import example_images
from w2s_reports.summary.examples import shown_rows

MakeRun = Callable[..., Path]
STAGES = ("gain", "groups")


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    seal(path.parent)


def test_disagreements_are_counted_by_who_is_right(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=STAGES, classes=("a", "b", "c"))
    found = summarize(run)["examples"]["disagreements"]
    table = pd.read_parquet(run / "predictions.parquet").astype({"label": object})
    gold, teacher, student = (
        table[name].astype(object) for name in ("label", "teacher / label", "confidence / label")
    )
    apart = teacher != student
    by_hand = {
        "student_right": apart & (student == gold),
        "teacher_right": apart & (teacher == gold),
        "both_wrong": apart & gold.notna() & (student != gold) & (teacher != gold),
        "unknown": apart & gold.isna(),
    }
    for split in found["splits"]:
        inside = table["split"] == split["split"]
        assert split["n"] == inside.sum()
        assert split["n_disagree"] == (apart & inside).sum()
        for kind, rows in by_hand.items():
            assert split[kind] == (rows & inside).sum() > 0
    for kind in found["kinds"]:
        rows = [item["row"] for item in kind["items"]]
        assert by_hand[kind["key"]][rows].all()
        surest = table.loc[by_hand[kind["key"]], "confidence / proba"].nlargest(len(rows))
        assert sorted(rows) == sorted(surest.index)
        assert kind["n"] == by_hand[kind["key"]].sum()
    test = next(split for split in found["splits"] if split["split"] == "test")
    assert f"the student is right on {test['student_right']}" in found["reading"]


def test_disagreements_of_other_items_are_not_shown(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=STAGES)
    table = pd.read_parquet(run / "predictions.parquet")
    table.iloc[::-1].to_parquet(run / "predictions.parquet")
    seal(run)
    assert "has to run again" in summarize(run)["examples"]["disagreements"]["hint"]


def test_runs_of_an_earlier_version_still_render(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=STAGES)
    gain, groups = (json.loads((run / name).read_text()) for name in ("gain.json", "groups.json"))
    for name in ("diagnostics", "teachers"):
        del gain[name]
    for name in ("duplicates", "student"):
        del groups[name]
    (run / "gain.json").write_text(json.dumps(gain))
    seal(run)
    (run / "groups.json").write_text(json.dumps(groups))
    seal(run)
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    del stages["gain"]["files"]["predictions.parquet"]
    del stages["groups"]["files"]["duplicates.parquet"]
    change(run / "manifest.json", stages=stages)
    report = build_report(run)
    found = report.summary["examples"]
    assert "w2s gain RUN" in found["disagreements"]["hint"]
    assert "w2s groups RUN" in found["duplicates"]["hint"]
    assert not any(report.summary["gain"]["diagnostics"].values())
    assert "weights" not in report.drawing.figures


def test_without_stages_each_tab_names_its_command(synthetic_run: MakeRun) -> None:
    report = build_report(synthetic_run())
    for part, command in (("disagreements", "gain"), ("duplicates", "groups")):
        hint = report.summary["examples"][part]["hint"]
        assert f"`w2s {command} RUN`" in hint
        assert hint in report.to_markdown()


def test_duplicates_name_both_items(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=STAGES)
    found = summarize(run)["examples"]["duplicates"]
    table = pd.read_parquet(run / "duplicates.parquet")
    assert [pair["a"]["id"] for pair in found["pairs"]] == table["id_a"].tolist()
    assert all(pair[side]["text"] for pair in found["pairs"] for side in "ab")
    assert found["pairs"][0]["leaks"]
    assert not found["pairs"][9]["leaks"]
    assert "300 pairs" in found["reading"]
    assert "4 of them lie across splits" in found["reading"]
    assert "2 have different gold labels" in found["reading"]


def test_diagnostics_are_read_in_words(synthetic_run: MakeRun) -> None:
    gain = summarize(synthetic_run(stages=("gain",)))["gain"]
    told = gain["diagnostics"]
    trusted, other = told["weights"][0]["teachers"]
    assert trusted["weight"]["value"] == pytest.approx(0.9)
    assert trusted["accuracy"]["value"] == 0.70
    assert len(other["mean"]) == len(told["weights"][0]["steps"])
    assert "90% of the weight" in told["weights"][0]["reading"]
    assert "most accurate teacher, 70.0%" in told["weights"][0]["reading"]
    [level] = told["assignments"][0]["stages"]
    assert all(sum(cell["share"] for cell in row["cells"]) == 1 for row in level["rows"])
    assert "by chance it would be 50%" in level["reading"]
    assert "right on 81.2% of it, 73.8% overall" in told["kept"][0]["reading"]
    assert "up to 75%, from epoch 3 of 4" in told["own_weight"][0]["reading"]
    assert "count 25% of their full weight" in told["power"][0]["reading"]
    assert "confidence leads the best of its controls, random_subset" in gain["findings"][0]
    assert gain["methods"][0]["controls"][0]["gain"]["value"] == 0.03


def test_worst_group_comes_first_and_losses_are_named(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=("gain",))
    written = json.loads((run / "gain.json").read_text())
    student = written["students"][0]
    student["groups"]["long"] = {"value": 0.5, "low": 0.45, "high": 0.55}
    student["group_gains"]["long"] = {"value": -0.2, "low": -0.25, "high": -0.15}
    (run / "gain.json").write_text(json.dumps(written))
    seal(run)
    gain = summarize(run)["gain"]
    assert [group["name"] for group in gain["groups"]] == ["long", "short"]
    assert "least right in group long: 50.0%" in gain["findings"][-2]
    assert "loses against its teacher in long" in gain["findings"][-1]


def test_a_stronger_penalty_is_named_where_it_is_not_the_best_control(
    synthetic_run: MakeRun,
) -> None:
    run = synthetic_run(stages=("gain",))
    written = json.loads((run / "gain.json").read_text())
    control = json.loads(json.dumps(written["students"][1]))  # of confidence
    control["name"] = "l2_x10"
    control["scores"]["accuracy"]["value"] -= 0.01
    control["lead"] = {"value": 0.06, "low": 0.02, "high": 0.1}
    written["students"].append(control)
    (run / "gain.json").write_text(json.dumps(written))
    seal(run)
    [text] = [t for t in summarize(run)["gain"]["findings"] if "l2_x10" in t]
    assert text == (
        "confidence is +6.0 points (+2.0 to +10.0) above plain training with ten times the penalty "
        "on the weights (l2_x10), which also trusts single weak labels less."
    )


def test_pairs_show_both_texts(synthetic_run: MakeRun) -> None:
    run = synthetic_run(classes=("first preferred", "second preferred"), stages=("gain",))
    items = pd.read_parquet(run / "items.parquet")
    items["item"] = [f"one {i}" for i in range(len(items))]
    items["other"] = [f"two {i}" for i in range(len(items))]
    items.to_parquet(run / "items.parquet")
    seal(run)
    report = build_report(run)
    points = report.drawing.points
    first = items["label"] == "first preferred"
    rows = [int(name.rpartition("-")[2]) for name in points["id"]]
    for row, chosen, rejected in zip(rows, points["text"], points["rejected"], strict=True):
        own, other = (f"one {row}", f"two {row}") if first[row] else (f"two {row}", f"one {row}")
        assert (chosen, rejected) == (own, other)
    item = report.summary["examples"]["regions"][0]["items"][0]
    assert {item["text"], item["rejected"]} == {f"one {item['row']}", f"two {item['row']}"}
    assert item["weak_label"] == ("chosen" if item["weak_correct"] else "rejected")
    page = report.to_html()
    assert '<p class="side">chosen</p>' in page
    assert '<p class="side">rejected</p>' in page
    assert "do not apply" not in report.summary["examples"]["duplicates"]["hint"]
    assert "w2s groups RUN" in report.summary["examples"]["duplicates"]["hint"]
    assert item["rejected"] in report.to_markdown()


def test_pictures_of_all_cards_stay_within_their_budget(
    synthetic_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = build_report(synthetic_run(kind="image", stages=STAGES))
    rows = shown_rows(report.summary["examples"])
    assert set(report.drawing.images) == set(rows) - {5}  # which is no picture
    from w2s_reports.artefacts import read_artefacts

    monkeypatch.setattr("w2s_reports.points.EXAMPLES_BYTES", 3000)
    few = example_images(read_artefacts(synthetic_run("again", kind="image", stages=STAGES)), rows)
    assert 0 < sum(map(len, few.values())) <= 3000
    assert rows[0] in few
