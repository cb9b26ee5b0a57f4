"""The label posterior of a run: right values on worlds with known truth, and odd gold labels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from w2s_data import Run, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.compute.memory import MemoryLimit
from w2s_data.stages import embed_stage, score_stage
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.posterior import is_joining_worse, posterior_of
from w2s_data.stages.settings import ScoreSettings
from w2s_data.utils.intervals import Estimate

CLASSES = ["bird", "cat", "dog"]


def world(n=700, n_gold=100, n_classes=2, accuracy=0.75, seed=0):
    """Return a table with weak labels, its strong features and the true classes."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(n_classes, size=n)
    strong = rng.normal(size=(n, 6)).astype(np.float32)
    strong[:, :n_classes] += 1.6 * np.eye(n_classes)[codes]
    wrong = (codes + rng.integers(1, n_classes, n)) % n_classes
    said = np.where(rng.random(n) < accuracy, codes, wrong)
    rest = (1 - accuracy) / (n_classes - 1)
    proba = np.where(np.eye(n_classes)[said] > 0, accuracy, rest)
    names = np.array(CLASSES[:n_classes])
    table = pd.DataFrame(proba, columns=[f"p{c}" for c in range(n_classes)]).assign(
        text=[f"item {i}" for i in range(n)],
        label=names[codes],
        split=np.where(np.arange(n) < n_gold, "labelled", "pool"),
    )
    return table, strong, codes


def scored(folder, table, strong, weak=None, compute=None, **roles):
    """Score a table; with `weak` features a teacher is trained, else p0, p1, ... are given."""
    if weak is None and "weak_columns" not in roles:
        columns = [name for name in table.columns if name[0] == "p" and name[1:].isdigit()]
        roles["weak_columns"] = columns
        roles.setdefault("class_names", CLASSES[: len(columns)])
    texts = {} if "chosen" in roles else {"item": "text", "label": "label"}
    dataset = load_dataset(table, split="split", **texts, **roles)
    run = Run.create(folder / "run", dataset)
    compute = compute or Compute(device="cpu", memory=MemoryLimit.parse("2GB"), progress=False)
    files = {"strong_features": strong} | ({} if weak is None else {"weak_features": weak})
    embed_stage(run, EmbedSettings(**files), compute)
    result = score_stage(run, ScoreSettings(teacher_l2=0.01), compute)
    return run, result.summary["posterior"]


def test_the_posterior_of_all_items_is_right_more_often_than_the_weak_labels(tmp_path):
    table, strong, codes = world(n_classes=3)
    table.loc[650:, "split"] = "test"
    table.loc[table["split"] == "pool", "label"] = None
    run, summary = scored(tmp_path, table, strong)
    dataset = run.dataset()
    proba = posterior_of(run, dataset)
    scores = run.read_table("scores.parquet")
    right = scores["weak_label"].to_numpy() == np.array(CLASSES)[codes]
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    for split in ("labelled", "pool", "test"):
        rows = dataset.rows(split)
        own = (proba[rows].argmax(axis=1) == codes[rows]).mean()
        assert own > right[rows].mean() + 0.02, split
        assert roc_auc_score(right[rows], scores["trust"][rows]) > 0.75, split
    pool = dataset.rows("pool")
    for name, truth in (
        ("accuracy", proba[pool].argmax(axis=1) == codes[pool]),
        ("weak_accuracy", right[pool]),
        ("lead", (proba.argmax(axis=1) == codes)[pool].astype(int) - right[pool]),
    ):
        estimate = Estimate(**summary[name])
        assert estimate.low <= truth.mean() <= estimate.high
    width = {
        name: summary[name]["high"] - summary[name]["low"]
        for name in summary
        if name in ("accuracy", "weak_accuracy", "lead")
    }
    assert width["lead"] < np.hypot(width["accuracy"], width["weak_accuracy"])
    assert (summary["n_gold"], summary["n_pool"]) == (100, 550)
    assert summary["accuracy_by"] == "calibration"
    assert summary["n_doubtful"] == (scores["trust"][pool] < 0.5).sum()


def test_gold_labels_of_pool_rows_measure_accuracies_wherever_the_gold_rows_come_from(tmp_path):
    """Gold rows are easy ones, so that all held-out gold labels say too much of the pool."""
    table, strong, codes = world(n=1200)
    strong[100:, :2] -= 0.9 * np.eye(2, dtype=np.float32)[codes[100:]]
    known = np.random.default_rng(0).choice(np.arange(100, 1200), 150, replace=False)
    table.loc[np.setdiff1d(np.arange(100, 1200), known), "label"] = None
    run, summary = scored(tmp_path, table, strong)
    assert (summary["accuracy_by"], summary["n_known"]) == ("pool labels", 150)
    pool = run.dataset().rows("pool")
    proba = posterior_of(run, run.dataset())[pool]
    truth = (proba.argmax(axis=1) == codes[pool]).mean()
    measured = Estimate(**summary["accuracy"])
    assert measured.low <= truth <= measured.high < measured.low + 0.2
    weak = run.read_table("scores.parquet")["weak_label"][pool] == np.array(CLASSES)[codes[pool]]
    assert summary["weak_accuracy"]["value"] == pytest.approx(weak.mean(), abs=0.06)


def test_where_all_pool_rows_have_gold_labels_accuracies_are_exact(tmp_path):
    table, strong, codes = world()
    run, summary = scored(tmp_path, table, strong)
    pool = run.dataset().rows("pool")
    right = posterior_of(run, run.dataset())[pool].argmax(axis=1) == codes[pool]
    for side in ("value", "low", "high"):
        assert summary["accuracy"][side] == pytest.approx(right.mean(), abs=1e-9)


def test_trust_is_the_posterior_of_the_weak_label(tmp_path):
    table, strong, _ = world()
    run, _ = scored(tmp_path, table, strong)
    scores = run.read_table("scores.parquet")
    written = run.read_table("posterior.parquet")
    assert list(written) == ["id", "posterior / bird", "posterior / cat", "label", "trust"]
    names = ["posterior / " + name for name in scores["weak_label"]]
    expected = [written.loc[i, name] for i, name in enumerate(names)]
    np.testing.assert_allclose(scores["trust"], expected)
    likelier = np.where(written["posterior / bird"] > 0.5, "bird", "cat")
    assert (written["label"] == likelier).all()


def test_a_teacher_that_was_trained_here_is_not_believed_for_what_it_memorised(tmp_path):
    """The features of its teacher are noise, of which it can memorise all 60 gold rows."""
    table, strong, codes = world(n=500, n_gold=60)
    weak = np.random.default_rng(1).normal(size=(500, 80)).astype(np.float32)
    run, summary = scored(tmp_path, table, strong, weak)
    assert summary["weights"]["teacher"] < 0.3 < summary["weights"]["gold labels"]
    pool = run.dataset().rows("pool")
    own = posterior_of(run, run.dataset())[pool].argmax(axis=1) == codes[pool]
    assert own.mean() > 0.8


def test_a_class_with_one_gold_row_keeps_its_column_in_every_fold(tmp_path):
    table, strong, codes = world(n_classes=3)
    rare = (codes == 2) & (np.arange(len(codes)) < 100)
    table.loc[rare & (np.cumsum(rare) > 1), "split"] = "test"
    run, summary = scored(tmp_path, table, strong, weak=strong[:, :2])
    assert posterior_of(run, run.dataset()).shape == (700, 3)
    assert "class 'dog' has fewer than 2 gold rows" in summary["warnings"][0]


def test_a_class_without_gold_rows_is_no_reason_to_doubt_its_weak_labels(tmp_path):
    table, strong, codes = world(n_classes=3, accuracy=0.9)
    table.loc[(codes == 2) & (table["split"] == "labelled"), "split"] = "test"
    run, summary = scored(tmp_path, table, strong)
    assert "class 'dog' has fewer than 2 gold rows" in summary["warnings"][0]
    scores = run.read_table("scores.parquet")
    seen_nowhere = (scores["split"] == "pool") & (scores["weak_label"] == "dog")
    right = scores["weak_correct"][seen_nowhere].to_numpy(dtype=bool)
    assert scores["trust"][seen_nowhere][right].median() > 0.5


@pytest.mark.parametrize(
    ("keep", "reason"),
    [
        ([], "requires gold labels in the labelled split"),
        (["cat"], "the single class 'cat'"),
    ],
)
def test_without_gold_labels_of_two_classes_there_is_none_and_a_line_says_why(
    tmp_path, keep, reason
):
    table, strong, _ = world()
    table["label"] = table["label"].where(
        (table["split"] != "labelled") | table["label"].isin(keep)
    )
    run, summary = scored(tmp_path, table, strong)
    assert reason in summary["unknown"]
    assert posterior_of(run, run.dataset()) is None
    assert run.read_table("scores.parquet")["trust"].isna().all()
    assert not (run.path / "posterior.parquet").exists()


def test_contradicting_gold_rows_are_left_out_and_named(tmp_path):
    table, strong, _ = world()
    strong[1], strong[3] = strong[0], strong[2]
    table.loc[1, "text"], table.loc[3, "text"] = table.loc[0, "text"], table.loc[2, "text"]
    table.loc[[0, 1], "label"] = ["bird", "cat"]
    table.loc[[2, 3], "label"] = "cat"
    run, summary = scored(tmp_path, table.assign(id=[f"n{i}" for i in range(700)]), strong, id="id")
    assert summary["n_gold"] == 97  # neither of the first two, and the third once
    assert "2 gold rows contradict equal items (ids 'n0', 'n1')" in summary["warnings"][0]
    proba = posterior_of(run, run.dataset())
    np.testing.assert_array_equal(proba[2], proba[3])  # held out, both times


@pytest.mark.parametrize("kind", ["constant", "hard constant", "perfect", "abstaining"])
def test_extreme_weak_labels_have_a_posterior(tmp_path, kind):
    table, strong, codes = world()
    one = {"constant": 0.6, "hard constant": 1.0, "perfect": codes, "abstaining": 0.5}[kind]
    table["p1"] = one
    table["p0"] = 1 - table["p1"]
    run, summary = scored(tmp_path, table, strong)
    proba = posterior_of(run, run.dataset())
    pool = run.dataset().rows("pool")
    accuracy = (proba.argmax(axis=1) == codes)[pool].mean()
    assert accuracy > (0.97 if kind == "perfect" else 0.8)
    trust = run.read_table("scores.parquet")["trust"]
    assert trust.isna().all() == (kind == "abstaining")
    assert summary["n_abstained"] == (600 if kind == "abstaining" else 0)
    assert ("voted_accuracy" in summary) == (kind == "abstaining")


def test_views_that_agree_everywhere_share_the_weight(tmp_path):
    table, _, codes = world()
    strong = (np.eye(2)[codes] * 4 - 2).astype(np.float32)
    table["p1"], table["p0"] = np.where(codes, 0.9, 0.1), np.where(codes, 0.1, 0.9)
    run, summary = scored(tmp_path, table, strong)
    assert all(weight > 0 for weight in summary["weights"].values())
    assert (posterior_of(run, run.dataset()).argmax(axis=1) == codes).all()


def test_several_weak_models_have_a_weight_each_and_may_abstain(tmp_path):
    table, strong, codes = world(accuracy=0.85)
    noise = np.random.default_rng(5).uniform(0.1, 0.9, 700)
    table["q0"], table["q1"] = 1 - noise, noise
    table.loc[600:, ["p0", "p1", "q0", "q1"]] = 0.5
    models = {"good": ["p0", "p1"], "noise": ["q0", "q1"]}
    run, summary = scored(tmp_path, table, strong, weak_columns=models, class_names=CLASSES[:2])
    assert summary["weights"]["good"] > 5 * summary["weights"]["noise"]
    trust = run.read_table("scores.parquet")["trust"]
    assert trust[600:].isna().all()
    assert trust[:600].notna().all()
    assert (posterior_of(run, run.dataset()).argmax(axis=1) == codes)[600:].mean() > 0.8


def test_swapping_the_items_of_a_pair_swaps_its_posterior(tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    difference = rng.normal([1, 0.5, 0, 0, 0], size=(n, 5)).astype(np.float32)
    table = pd.DataFrame(
        {
            "better": [f"good {i}" for i in range(n)],
            "worse": [f"bad {i}" for i in range(n)],
            "split": np.where(np.arange(n) < 100, "labelled", "pool"),
        }
    )
    # Ten gold pairs come twice, in an order of their own each time.
    difference[10:20], table.loc[10:19, ["better", "worse"]] = (
        difference[:10],
        table.loc[:9, ["better", "worse"]].to_numpy(),
    )
    roles = {"chosen": "better", "rejected": "worse"}
    run, summary = scored(tmp_path, table, difference, weak=difference[:, :2], **roles)
    assert list(summary["offsets"].values()) == [0, 0]
    dataset = run.dataset()
    proba = posterior_of(run, dataset)
    own = proba[np.arange(n), dataset.labels]
    assert own.mean() > 0.7
    # The chance of the chosen item does not depend on the order of a pair.
    first = dataset.labels == 0
    assert abs(own[first].mean() - own[~first].mean()) < 0.1
    assert (first[:10] != first[10:20]).any()
    np.testing.assert_array_equal(own[:10], own[10:20])
    assert (summary["n_gold"], summary["warnings"]) == (90, [])


def test_what_does_not_fit_into_memory_is_sampled_and_said(tmp_path, monkeypatch):
    table, strong, codes = world(n=900, n_gold=300)
    monkeypatch.setattr(MemoryLimit, "rows", lambda *_: 120)
    run, summary = scored(tmp_path, table, strong)
    assert (summary["n_gold"], summary["n_learned"]) == (120, 120)
    said = " ".join(summary["notes"])
    assert "a random 120 of 300 gold rows" in said
    assert "a random 120 of 600 pool rows; all rows have a posterior" in said
    proba = posterior_of(run, run.dataset())
    assert (proba.argmax(axis=1) == codes)[300:].mean() > 0.85


def test_scores_are_made_again_where_the_posterior_file_was_removed(tmp_path):
    table, strong, _ = world(n=300, n_gold=60)
    run, _ = scored(tmp_path, table, strong)
    before = posterior_of(run, run.dataset())
    (run.path / "posterior.parquet").unlink()
    result = score_stage(run, ScoreSettings(teacher_l2=0.01), Compute(device="cpu"))
    assert not result.fresh
    np.testing.assert_array_equal(before, posterior_of(run, run.dataset()))


@pytest.mark.parametrize(
    ("lead", "n_known", "worse"),
    [
        ((-0.2, -0.3, -0.1), 0, True),
        ((-0.02, -0.3, 0.1), 0, False),
        ((-0.2, -0.2, -0.2), 100, True),
        ((-0.05, -0.05, -0.05), 100, False),  # five labels of 25 doubtful ones, by chance
    ],
)
def test_joining_is_worse_where_chance_does_not_explain_it(lead, n_known, worse):
    counts = {"n_doubtful": 25, "n_known": n_known, "n_pool": 100, "n_abstained": 0}
    value, low, high = lead
    summary = counts | {"lead": {"value": value, "low": low, "high": high}}
    assert is_joining_worse(summary) == worse
    assert not is_joining_worse({})
