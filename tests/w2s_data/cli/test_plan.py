"""A plan as a user meets it: advice, bad prices, and a second plan with more labels."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from w2s_data.cli import main

N, N_GOLD, N_POOL = 300, 40, 200
PRICES = ("--budget", 20, "--gold-cost", 0.5, "--weak-cost", 0.01)


def w2s(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["-q", *map(str, arguments)])
    return stop.value.code


@pytest.fixture
def run(tmp_path, rng, monkeypatch):
    """A scored run on vectors, whose true labels are in `truth.csv`."""
    monkeypatch.chdir(tmp_path)
    labels = rng.integers(2, size=N)
    features = rng.normal(size=(N, 12))
    features[:, 0] += 2 * labels
    np.save("strong.npy", features)
    weak = np.where(rng.random(N) < 0.7, labels, 1 - labels)
    p = weak * 0.4 + 0.3 + rng.uniform(-0.2, 0.2, N)
    split = np.repeat(["labelled", "pool", "test"], [N_GOLD, N_POOL, N - N_GOLD - N_POOL])
    ids = [f"r{i}" for i in range(N)]
    frame = pd.DataFrame({"id": ids, "text": [f"text {i}" for i in ids], "split": split})
    names = np.array(["neg", "pos"])[labels]
    frame["label"] = np.where(split == "pool", None, names)
    frame.assign(p_neg=1 - p, p_pos=p).to_csv("data.csv", index=False)
    pd.DataFrame({"id": ids, "label": names}).to_csv("truth.csv", index=False)
    columns = ("--item", "text", "--id", "id", "--label", "label", "--split", "split")
    columns += ("--weak-columns", "p_neg,p_pos", "--class-names", "neg,pos")
    assert w2s("score", "data.csv", *columns, "--strong-features", "strong.npy", "-o", "run") == 0
    return Path("run")


@pytest.mark.slow
def test_a_plan_advises_and_the_next_one_says_what_came(run, capsys):
    assert w2s("plan", run, *PRICES, "--student", "strong.npy", "--costs", "strong.npy=3") == 0
    printed = capsys.readouterr().out
    assert "expected to add" in printed
    first = json.loads((run / "plan.json").read_text())
    assert (first["n"], first["N"], first["plans"]) == (N_GOLD, N_POOL, [])
    assert first["purchases"][2]["name"] == "student strong.npy"
    assert first["purchases"][2]["gain"]["value"] == 0  # the very same features
    assert "Accuracy over spending" in (run / "report.html").read_text()

    truth = pd.read_csv("truth.csv").iloc[N_GOLD : N_GOLD + 40]
    truth.to_csv("more.csv", index=False)
    assert w2s("score", run, "--labels", "more.csv") == 0
    assert w2s("plan", run, *PRICES) == 0
    second = json.loads((run / "plan.json").read_text())
    assert [plan["n"] for plan in second["plans"]] == [N_GOLD]
    (outcome,) = second["history"]
    assert outcome["after"] == [N_GOLD + 40, N_POOL - 40]
    came, now = outcome["came"], second["accuracies"][outcome["option"]]
    assert came["value"] == pytest.approx(now["value"], abs=0.02)  # the prior is corrected since
    assert "times as much as forecast" in capsys.readouterr().out
    assert w2s("report", run, "--format", "markdown", "--to", "-") == 0
    assert "| Earlier plan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PRICES[:4], "weak_cost is missing: give the price of a weak label"),
        (("--budget", 20, "--gold-cost", 0, "--weak-cost", 1), "--gold-cost must be above 0"),
        (("--budget", 0.1, "--gold-cost", 1, "--weak-cost", 1), "budget must pay for at least one"),
        ((*PRICES, "--costs", "other=3"), "other"),
    ],
)
def test_bad_prices_are_one_line_before_any_run_is_read(capsys, options, message):
    assert w2s("plan", "nowhere", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
