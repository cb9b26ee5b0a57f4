"""The table of what a run found: planted faults are in it, with their rows and the next step."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from w2s_data import audit
from w2s_data.stages.findings import SEVERITIES

WORDS = {"good": ["bright", "kind", "warm", "swift"], "bad": ["dull", "cold", "rude", "slow"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on texts with planted faults."""
    rng = np.random.default_rng(0)
    label = rng.choice(["good", "bad"], 400)
    text = [
        " ".join(f"{word} {rng.integers(10**6)}" for word in rng.choice(WORDS[own], 3))
        for own in label
    ]
    split = np.repeat(["labelled", "pool", "test"], [80, 220, 100])
    wrong = rng.random(400) < 0.2
    weak = np.where(wrong, np.where(label == "good", "bad", "good"), label)
    table = pd.DataFrame({"text": text, "mood": label, "split": split, "crowd": weak})
    # One labelled text stands there twice, with both labels.
    table.loc[1, "text"] = table["text"][0]
    table.loc[1, "mood"] = "bad" if table["mood"][0] == "good" else "good"
    table["id"] = [f"row{i}" for i in range(400)]
    made = audit(
        table,
        columns={
            "item": "text",
            "label": "mood",
            "split": "split",
            "id": "id",
            "weak_label": "crowd",
        },
        strong="tfidf:8",
        output=tmp_path_factory.mktemp("runs") / "run",
        progress=False,
        **dict.fromkeys(("forecast", "select", "gain", "groups"), False),
        report={"map": False},
    )
    return made, table, wrong


@pytest.mark.slow
def test_planted_faults_are_found_with_their_rows(run):
    made, table, wrong = run
    issues = made.issues()
    assert issues["severity"].isin(SEVERITIES).all()
    assert issues["severity"].map(SEVERITIES.index).is_monotonic_increasing
    assert (issues["n_items"] == issues["ids"].map(len)).all()
    assert issues["remedy"].str.len().gt(0).all()
    by_kind = issues.set_index("issue")
    assert sorted(by_kind.loc["gold_labels_contradict", "ids"]) == ["row0", "row1"]
    doubted = by_kind.loc["weak_label_probably_wrong", "ids"]
    planted = set(table["id"][wrong & (table["split"] == "pool")])
    # Words tell the class without fail, so that nearly all that is doubted is wrong.
    assert len(planted & set(doubted)) / len(doubted) > 0.9
    assert len(planted & set(doubted)) / len(planted) > 0.9


@pytest.mark.slow
def test_the_rest_is_at_hand(run):
    made, table, _ = run
    assert made.report(map=False) == made.path / "report.html"
    rows = made.next(7)
    assert len(rows) == 7
    assert set(rows["id"]) <= set(table["id"][table["split"] == "pool"])
    assert (made.path / "next-1.csv").is_file()
    labels = made.relabelled().set_index("id")["label"]
    pool = table[table["split"] == "pool"].set_index("id")["mood"]
    agreed = (labels.reindex(pool.index).dropna() == pool).mean()
    assert agreed > 0.9  # where the crowd is right on 80 %


@pytest.mark.slow
def test_a_notebook_shows_the_verdict(run):
    shown = run[0]._repr_markdown_()
    assert "## Advice" in shown
    assert "## Overlap" not in shown
