"""The first screen: the cost of the advice, its risks by rank, and the next step as a command."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.w2s_reports.later_stages import STAGES
from tests.w2s_reports.test_stages import shown_text
from tests.w2s_reports.test_wording import change, page, warning
from w2s_reports import render, summarize
from w2s_reports.artefacts import place_of
from w2s_reports.summary.parts import estimate
from w2s_reports.summary.risks import LEVELS
from w2s_reports.summary.steps import rank_steps

MakeRun = Callable[..., Path]
MEASURED = ("gain", "groups")


def verdict(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = summarize(run)["verdict"]
    return found


def first(run: Path) -> tuple[str, str]:
    step = verdict(run)["steps"][0]
    return step["command"], step["text"]


def test_a_run_without_forecast_asks_for_one_then_for_a_measurement(synthetic_run: MakeRun) -> None:
    assert first(synthetic_run("a"))[0] == "w2s forecast a"
    assert first(synthetic_run("b", stages=("forecast",)))[0] == "w2s gain b"


def test_an_outdated_stage_runs_first(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=MEASURED)
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    stages["score"]["key"] = "another"
    change(run / "manifest.json", stages=stages)
    assert first(run)[0] == "w2s score run"
    assert verdict(run)["warnings"][0]["level"] == "overturns"


def test_a_stage_runs_again_as_it_ran(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=MEASURED)
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    stages["gain"] |= {"key": "another", "settings": {"methods": {"naive": "", "vote": ""}}}
    change(run / "manifest.json", stages=stages)
    command = "w2s gain run --methods naive,vote"
    assert first(run)[0] == command
    assert f"run `{command}` again" in verdict(run)["warnings"][0]["text"]


@pytest.mark.parametrize(
    ("code", "withholds", "level"),
    [
        ("few_labelled", ("forecast",), "overturns"),
        ("unseen_class", (), "overturns"),
        ("note", (), "misleads"),
        ("few_test", (), "blurs"),
        ("rare_class", (), "blurs"),
    ],
)
def test_risks_are_ranked_by_what_they_change(
    synthetic_run: MakeRun, code: str, withholds: tuple[str, ...], level: str
) -> None:
    run = synthetic_run(stages=MEASURED)
    change(run / "groups.json", data_warnings=[warning(code, *withholds)])
    risks = verdict(run)["warnings"]
    assert {"level": level, "about": "data", "text": f"about {code}"} in risks
    ranks = [list(LEVELS).index(risk["level"]) for risk in risks]
    assert ranks == sorted(ranks)


def test_the_first_risk_stands_on_the_first_screen_and_the_others_behind_it(
    synthetic_run: MakeRun,
) -> None:
    run = synthetic_run(stages=MEASURED)
    change(run / "groups.json", data_warnings=[warning("unseen_class"), warning("rare_class")])
    text = page(run)
    assert text.index("About unseen_class") < text.index("Table of options")
    assert text.index("Table of options") < text.index("About rare_class")
    assert "risk: data: about unseen_class" in render(summarize(run), "terminal", ["verdict"])


def test_leaking_items_count_by_their_share(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=MEASURED)
    groups = json.loads((run / "groups.json").read_text())
    for n, level in ((0, None), (1, "part"), (200, "misleads")):
        for i, row in enumerate(groups["groups"]):
            row["n_leaking"], row["n"] = (n if i == 0 else 0), 2_000
        change(run / "groups.json", **groups)
        found = [risk["level"] for risk in verdict(run)["warnings"] if risk["about"] == "leak"]
        assert found == ([] if level is None else [level])


def test_where_every_item_leaks_the_features_are_doubted_first(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=MEASURED)
    groups = json.loads((run / "groups.json").read_text())
    change(run / "groups.json", groups=[row | {"n_leaking": 150} for row in groups["groups"]])
    (risk,) = [risk for risk in verdict(run)["warnings"] if risk["about"] == "leak"]
    assert "see first whether the strong features are the same for all items" in risk["text"]


def test_pairs_that_share_a_prompt_are_no_leak(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=MEASURED)
    groups = json.loads((run / "groups.json").read_text())
    rows = [row | {"n_duplicates": 100} for row in groups["sources"]]
    duplicates = groups["duplicates"] | {"of": "prompts"}
    change(run / "groups.json", duplicates=duplicates, sources=rows)
    found = summarize(run)
    risks = found["verdict"]["warnings"]
    (risk,) = [risk for risk in risks if risk["about"] in ("leak", "prompts")]
    assert (risk["level"], risk["about"]) == ("part", "prompts")
    assert risk["text"].startswith("6 pairs (2.0%) share a prompt with a pair of another split")
    assert not any("near-duplicates" in text for text in found["sources"]["advice"])
    assert found["examples"]["duplicates"]["reading"] == (
        "300 times two pairs have nearly the same prompt (cosine 0.998 or more), 4 of them across "
        "splits; their responses may differ."
    )
    text = page(run)
    assert "have nearly the same prompt" in text
    assert "Split the data again" not in text


def test_the_weak_spot_of_a_student_is_compared_with_the_same_rows(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=MEASURED)
    groups = json.loads((run / "groups.json").read_text())
    key = json.loads((run / "manifest.json").read_text())["stages"]["gain"]["key"]
    right = [{"value": v, "low": v - 0.05, "high": v + 0.05, "level": 0.95} for v in (0.9, 0.7)]
    rows = [
        row | {"student_accuracy": own, "n_gold": n}
        for row, own, n in zip(groups["groups"], right, (300, 100), strict=True)
    ]
    change(run / "groups.json", groups=rows, student="stacked")
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    stages["groups"]["settings"] = {"student": {"method": "stacked", "gain": key}}
    change(run / "manifest.json", stages=stages)

    def spots() -> list[str]:
        texts = [risk["text"] for risk in verdict(run)["warnings"]]
        return [text for text in texts if "the student is right" in text]

    assert spots() == [
        "in long the student is right on 70.0% (65.0–75.0%), over all groups on 85.0%"
    ]
    change(run / "groups.json", groups=rows[1:])  # a group alone is the whole
    assert spots() == []


def test_with_too_few_gold_labels_rows_are_labelled_first(synthetic_run: MakeRun) -> None:
    run = synthetic_run(labels=False)
    found = verdict(run)
    assert "`w2s next RUN` chooses rows to label" in found["hint"]
    commands = [step["command"] or "" for step in found["steps"]]
    assert commands[0] == "w2s next run --budget 100"
    assert not any("forecast" in command or "plan" in command for command in commands)


def test_advice_stands_in_one_place(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=tuple(STAGES))
    summary = summarize(run)
    steps = [step["text"] for step in summary["verdict"]["steps"]]
    given = [*summary["sources"]["advice"], summary["selection"]["advice"]]
    assert len(given) > 2
    markdown = render(summary, "markdown").replace("\\", "")
    for text in (html.unescape(shown_text(page(run))), " ".join(markdown.split())):
        for one in given:
            assert one in steps
            assert text.count(one) == 1


def test_steps_of_known_worth_come_first() -> None:
    def worth(value: float) -> dict[str, Any]:
        return estimate({"value": value, "low": 0.0, "high": 1.0}, 0.95)

    result = {
        "reading": {},
        "posterior": {"hint": "none"},
        "shift": {"pool_alarm": False},
        "labels": {"hint": "none", "next": None},
        "plan": {
            "hint": None,
            "advice": "buy",
            "buys": "labels",
            "split": {"gold": 50, "gain": worth(0.02)},
            "worth": worth(0.02),
        },
        "sources": {"advice": ["look"]},
        "group_analysis": {},
        "selection": {},
        "discrepancy": {"advice": "more pool"},
        "gain": {
            "options": [{"name": "both", "student": "stacked"}],
            "best_student": "stacked",
        },
    }
    headline = {"kind": "measured", "advised": "both", "lead": worth(0.05)}
    steps = rank_steps(result, headline, (), "runs/a", worth(0.05))
    assert [step["command"] for step in steps] == [
        "w2s apply runs/a NEW_DATA",
        "w2s next runs/a --budget 50",
        None,
    ]
    assert steps[0]["worth"]["value"] == 0.05
    # Advice to keep the money, or to buy a model, comes without a command that orders labels.
    result["plan"]["buys"] = ""
    kept = rank_steps(result, headline, (), "runs/a", worth(0.05))
    assert "w2s next runs/a --budget 50" not in [step["command"] for step in kept]
    # A prediction from features gives way to a measurement.
    assert "more pool" not in [step["text"] for step in steps]


@pytest.mark.parametrize("waiting", [True, False])
def test_gold_labels_that_lead_are_bought_and_their_student_is_used(waiting: bool) -> None:
    result = {
        "reading": {},
        "posterior": {"hint": "none"},
        "shift": {"pool_alarm": False},
        "labels": {"hint": None, "next": {"n": 100}} if waiting else {"hint": "none"},
        "plan": {"hint": "none"},
        "sources": {},
        "group_analysis": {},
        "selection": {},
        "discrepancy": {},
        "gain": {"best_student": "labelled_only"},
    }
    headline = {"kind": "measured", "advised": "gold", "lead": estimate(None)}
    steps = rank_steps(result, headline, (), "runs/a", estimate(None))
    label, apply = "w2s next runs/a --budget 100", "w2s apply runs/a NEW_DATA"
    # The table that waits to be filled in is not made again.
    assert [step["command"] for step in steps] == ([apply] if waiting else [label, apply])
    assert "(labelled_only), which the run keeps" in steps[-1]["text"]


def test_commands_name_the_run_but_no_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of(tmp_path / "runs" / "a") == "runs/a"
    assert place_of(tmp_path.parent / "b") == "b"
    assert place_of(Path("my run")) == "'my run'"


@pytest.mark.parametrize("gained", [True, False])
def test_a_measured_gain_is_believed_over_a_predicted_loss(
    synthetic_run: MakeRun, gained: bool
) -> None:
    run = synthetic_run(stages=("gain", "forecast"))
    discrepancy = json.loads((run / "discrepancy.json").read_text())
    change(run / "discrepancy.json", **discrepancy | {"needed_pool": []})
    gain = json.loads((run / "gain.json").read_text())
    for student in gain["students"]:
        student["gains"]["accuracy"] |= {"value": 0.1, "low": 0.05 if gained else -0.05}
    change(run / "gain.json", **gain)
    found = summarize(run)["discrepancy"]
    assert found["against"].startswith("Measured, the best student is better") == gained
    assert bool(found["advice"]) != gained


def test_a_doubtful_density_is_the_last_of_the_risks(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=MEASURED)
    overlap = json.loads((run / "overlap.json").read_text())
    overlap["alignment_threshold"]["explained"] = 0.6
    change(run / "overlap.json", **overlap)
    risk = verdict(run)["warnings"][-1]
    assert (risk["level"], risk["about"]) == ("aside", "overlap")
    assert "rank sources by it" in risk["text"]
