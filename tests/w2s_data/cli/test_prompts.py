"""Pairs with prompts from the command line: groups by the prompt, and export for TRL."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.kinds import save_model
from w2s_data.cli import main
from w2s_data.run import Run
from w2s_data.stages.findings import find_issues

N = 240
TOPICS = {
    "sport": ("goal", "match", "team", "league", "coach"),
    "law": ("court", "judge", "ruling", "appeal", "statute"),
}
GOOD, BAD = ("clear", "precise", "exact"), ("vague", "odd", "muddled")


def words(choices, rng, n):
    return " ".join(rng.choice(choices, n))


@pytest.fixture(scope="module")
def table():
    """Questions on two topics, of which a weak judge knows only one."""
    rng = np.random.default_rng(0)
    topic = np.resize(list(TOPICS), N)
    known = rng.uniform(0.6, 1, N)
    return pd.DataFrame(
        {
            "prompt": [f"about {words(TOPICS[name], rng, 5)} {i}" for i, name in enumerate(topic)],
            "chosen": [f"{words(GOOD, rng, 4)} {i}" for i in range(N)],
            "rejected": [f"{words(BAD, rng, 4)} {i}" for i in range(N)],
            "p": np.where(topic == "sport", known, rng.uniform(0, 1, N)),
            "split": np.tile(["labelled", "labelled", "pool", "pool", "pool", "test"], N // 6),
            "topic": topic,
        }
    )


def scored(table, folder):
    table.to_json(folder / "prefs.jsonl", orient="records", lines=True)
    roles = ("--chosen", "chosen", "--rejected", "rejected", "--prompt", "prompt")
    more = ("--split", "split", "--weak-columns", "p", "--strong", "tfidf:8")
    arguments = ["-q", "score", folder / "prefs.jsonl", *roles, *more, "-o", folder / "run"]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0
    return folder / "run"


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    return scored(table, tmp_path_factory.mktemp("prompts"))


@pytest.fixture(scope="module")
def chats(table, tmp_path_factory):
    """The same pairs as conversations."""

    def said(role, texts):
        return [[{"role": role, "content": text}] for text in texts]

    messages = {
        "prompt": said("user", table["prompt"]),
        "chosen": said("assistant", table["chosen"]),
        "rejected": said("assistant", table["rejected"]),
    }
    return scored(table.assign(**messages), tmp_path_factory.mktemp("chats"))


def test_pairs_are_grouped_by_their_prompts(w2s, run, table):
    code, out, _ = w2s("-q", "groups", run)
    assert code == 0
    assert "2 groups were discovered" in out
    points = pd.read_parquet(run / "groups.parquet")
    shares = pd.crosstab(points["group"], table["topic"].to_numpy())
    assert shares.max(axis=1).sum() > 0.95 * N
    summary = Run.open(run).read_summary("groups.json")
    telling = {word for portrait in summary["portraits"] for word in portrait["words"]}
    assert telling <= {word for own in TOPICS.values() for word in own}
    assert len(telling) >= 4
    assert "pairs are grouped by their prompts" in summary["notes"][0]
    assert not pd.read_parquet(run / "duplicates.parquet")["labels_differ"].any()
    assert summary["duplicates"]["of"] == "prompts"
    assert all("leak" not in text for text in (summary["reading"], *summary["warnings"]))
    issues = find_issues(Run.open(run)).set_index("issue")
    assert "leak" not in issues.index
    assert issues.loc["shared_prompt", "severity"] == "low"
    assert points["agreement"].isna().all()
    for group in summary["groups"]:
        assert group["purity"]["value"] is None
        assert "the order of a pair is drawn" in group["unknown"]
        assert group["weak_accuracy"]["value"] is not None


def test_without_prompts_the_mean_of_both_items_counts(w2s, table, tmp_path):
    plain = table.drop(columns="prompt").assign(
        chosen=table["prompt"] + " " + table["chosen"],
        rejected=table["prompt"] + " " + table["rejected"],
    )
    plain.to_json(tmp_path / "prefs.jsonl", orient="records", lines=True)
    roles = ("--chosen", "chosen", "--rejected", "rejected", "--split", "split")
    more = ("--weak-columns", "p", "--strong", "tfidf:8", "-o", tmp_path / "run")
    assert w2s("-q", "score", tmp_path / "prefs.jsonl", *roles, *more)[0] == 0
    assert w2s("-q", "groups", tmp_path / "run")[0] == 0
    points = pd.read_parquet(tmp_path / "run/groups.parquet")
    shares = pd.crosstab(points["group"], table["topic"].to_numpy())
    assert shares.max(axis=1).sum() > 0.95 * N
    assert "of" not in Run.open(tmp_path / "run").read_summary("groups.json")["duplicates"]


def test_pairs_are_exported_as_trl_reads_them(w2s, run, table, tmp_path):
    assert w2s("-q", "export", run, "--trl", "--to", tmp_path / "prefs.jsonl")[0] == 0
    lines = [json.loads(line) for line in (tmp_path / "prefs.jsonl").read_text().splitlines()]
    own = pd.read_parquet(run / "relabelled.parquet").set_index("id")
    assert len(lines) == own["label"].notna().sum()
    data = Run.open(run).dataset()
    gold = dict(zip(data.ids, data.table["label"], strict=True))
    for line in lines:
        row = table.loc[int(line["id"])]
        sides = [f"{line['prompt']}{line[side]}" for side in ("chosen", "rejected")]
        expected = [f"{row['prompt']}\n{row[side]}" for side in ("chosen", "rejected")]
        right = own.loc[line["id"], "label"] == gold[line["id"]]
        assert sides == (expected if right else expected[::-1])
        assert line["weight"] == pytest.approx(2 * line["chance"] - 1, abs=1e-9)
        log_odds = np.log(line["chance"]) - np.log1p(-min(line["chance"], 0.99))
        assert line["margin"] == pytest.approx(min(log_odds, np.log(99)), abs=0.011)
    assert {line["chance"] for line in lines if line["why"] == "gold"} == {1.0}


@pytest.mark.parametrize("name", ["prefs.jsonl", "prefs.parquet"])
def test_conversations_are_exported_as_messages(w2s, chats, table, tmp_path, name):
    assert w2s("-q", "export", chats, "--trl", "--to", tmp_path / name)[0] == 0
    if name.endswith("jsonl"):
        lines = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
    else:
        lines = pd.read_parquet(tmp_path / name).to_dict("records")
    gold = next(line for line in lines if line["why"] == "gold")
    row = table.loc[int(gold["id"])]
    for side, role in (("prompt", "user"), ("chosen", "assistant"), ("rejected", "assistant")):
        assert [dict(m) for m in gold[side]] == [{"role": role, "content": row[side]}]


def test_other_data_and_formats_are_refused(w2s, run, tmp_path):
    code, _, err = w2s("-q", "export", run, "--trl", "--to", tmp_path / "prefs.csv")
    assert code == 2
    assert "csv cannot hold messages" in err
    data = "example:gaussian_overlap?n=300"
    assert w2s("-q", "score", data, "-o", tmp_path / "other")[0] == 0
    code, _, err = w2s("-q", "export", tmp_path / "other", "--trl")
    assert code == 2
    assert "trl is for preference pairs" in err


@pytest.mark.slow
def test_a_language_model_learns_the_preferences_of_a_run(w2s, chats, tmp_path):
    from transformers import AutoModelForCausalLM

    shutil.copytree(chats, tmp_path / "run")
    model = save_model(tmp_path / "llama", "llama")
    tuned = ("--tuning", "full", "--model", model, "--reward", "dpo", "--beta", 0.5)
    short = ("--methods", "naive", "--seeds", 1, "--epochs", 2, "--learning-rate", 0.01)
    code, _, err = w2s("-q", "gain", tmp_path / "run", *tuned, *short, "--device", "cpu")
    assert code == 0, err
    gain = Run.open(tmp_path / "run").read_summary("gain.json")
    assert gain["students"][0]["scores"]["accuracy"]["value"] > 0.95
    folder = tmp_path / "run/students/best"  # which the naive student is
    assert "AutoModelForCausalLM.from_pretrained(folder)" in (folder / "README.md").read_text()
    AutoModelForCausalLM.from_pretrained(folder)
    lines = (chats.parent / "prefs.jsonl").read_text().splitlines()
    (tmp_path / "new.jsonl").write_text("\n".join(lines[-30:]))
    labels = tmp_path / "labels.jsonl"
    assert w2s("-q", "apply", tmp_path / "run", tmp_path / "new.jsonl", "--to", labels)[0] == 0
    applied = pd.read_json(labels, lines=True)
    assert (applied["label"] == "first preferred").mean() > 0.9  # the column of the chosen ones
