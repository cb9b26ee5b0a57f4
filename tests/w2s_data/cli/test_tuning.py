"""`w2s gain --tuning` as a user meets it: options, results, refusals, and methods that fail."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.kinds import make_images, make_texts, save_model
from tests.w2s_data.finetune.tiny import WORDS, save_tiny_model
from w2s_data.cli import main
from w2s_data.finetune.levels import range_test
from w2s_data.finetune.methods import confidence

N = 160


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A scored run of texts whose class one word shows, beside a tiny model."""
    folder, rng = tmp_path_factory.mktemp("tuning"), np.random.default_rng(0)
    label = rng.integers(2, size=N)
    word = np.where(label, rng.choice(["good", "great"], N), rng.choice(["bad", "poor"], N))
    weak = np.clip(np.where(label, 0.7, 0.3) + rng.normal(0, 0.2, N), 0.05, 0.95)
    table = {
        "text": [f"{w} {' '.join(rng.choice(WORDS[4:], 3))} {i}" for i, w in enumerate(word)],
        "label": np.where(label, "pos", "neg"),
        "split": rng.choice(["labelled", "pool", "validation", "test"], N, p=[0.2, 0.4, 0.1, 0.3]),
        "p_neg": 1 - weak,
        "p_pos": weak,
    }
    pd.DataFrame(table).to_csv(folder / "data.csv", index=False)
    save_tiny_model(folder / "bert", n_layers=1)
    arguments = ["score", folder / "data.csv", "--item", "text", "--label", "label", "--split"]
    arguments += ["split", "--weak-columns", "p_neg,p_pos", "--strong", "tfidf:4"]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in [*arguments, "-o", folder / "run"]])
    assert stop.value.code == 0
    return folder


@pytest.fixture
def run(scored, tmp_path):
    return shutil.copytree(scored / "run", tmp_path / "run")


@pytest.fixture
def gain(w2s, scored, run):
    """Call `w2s gain` with the tiny model."""

    def call(*options):
        given = ("--model", scored / "bert", "--seeds", 1, "--device", "cpu", *options)
        return w2s("gain", run, *given)

    return call


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing. is deprecated")  # in peft
def test_every_option_of_a_tuning_is_read(gain, run, monkeypatch):
    monkeypatch.setattr(range_test, "STEPS", 6)
    options = {
        "--rank": "2", "--alpha": "4", "--dropout": "0.1", "--target-modules": "query,value",
        "--max-length": "8", "--pooling": "cls+mean", "--micro-batch": "4",
        "--precision": "float32", "--decay": "cosine", "--warmup": "0.2", "--clip": "none",
        "--epochs": "3", "--learning-rate": "auto", "--patience": "2", "--save-minutes": "0",
    }  # fmt: skip
    flags = ("--gradient-checkpointing", "--early-stopping", "--no-controls")
    given = [word for option in options.items() for word in option]
    code, out, err = gain("--tuning", "lora", "--methods", "naive", *given, *flags)
    assert code == 0, err
    assert "naive" in out
    assert "Students that are kept: best" in " ".join(out.split())
    settings = json.loads((run / "manifest.json").read_text())["stages"]["gain"]["settings"]
    assert settings["target_modules"] == ["query", "value"]
    assert (settings["rank"], settings["clip"], settings["learning_rate"]) == (2, "none", "auto")
    assert settings["gradient_checkpointing"] is settings["early_stopping"] is True
    adapters = json.loads((run / "students" / "best" / "adapter_config.json").read_text())
    assert (adapters["r"], adapters["lora_alpha"], adapters["lora_dropout"]) == (2, 4, 0.1)
    again = gain("--tuning", "lora", "--methods", "naive", *given, *flags)
    assert "nothing has changed" in again[2]


@pytest.mark.slow
def test_other_weights_under_the_same_name_are_trained_again(w2s, run, tmp_path):
    save_tiny_model(tmp_path / "bert", n_layers=1)
    given = ("--tuning", "full", "--model", tmp_path / "bert", "--methods", "naive", "--seeds", 1)
    given += ("--epochs", 1, "--no-controls", "--device", "cpu")
    assert w2s("gain", run, *given)[0] == 0
    assert "nothing has changed" in w2s("gain", run, *given)[2]
    save_tiny_model(tmp_path / "bert", n_layers=2)
    code, _, err = w2s("gain", run, *given)
    assert (code, "nothing has changed" in err) == (0, False)


def nan(logits, *_):
    return logits.sum(-1) * float("nan")


def out_of_memory(*_):
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "reason"),
    [(nan, "the loss is not finite from step"), (out_of_memory, "memory does not suffice")],
)
def test_a_method_that_fails_leaves_the_results_of_the_others(gain, run, monkeypatch, loss, reason):
    monkeypatch.setattr(confidence, "even_confidence_loss", loss)
    code, out, _ = gain("--tuning", "full", "--methods", "naive,confidence", "--epochs", 1)
    assert code == 0
    said = " ".join(out.split())
    assert "failed: confidence: confidence, student:" in said
    assert reason in said
    summary = json.loads((run / "gain.json").read_text())
    assert reason in summary["failures"]["confidence"]
    assert [s["name"] for s in summary["students"]] == ["naive"]
    assert summary["kept"]["naive"] == "naive"
    assert pd.read_parquet(run / "predictions.parquet")["naive / label"].notna().all()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Methods without a result" in page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rank", 4), "model is a setting of tuning 'lora' and 'full', but the tuning is 'head'"),
        (("--tuning", "full", "--rank", 4), "choose tuning='lora' or leave rank out"),
        (("--tuning", "lora", "--dropout", 1), "--dropout must be at least 0 and below 1"),
        (("--tuning", "lora", "--clip", "much"), "--clip must be a number above 0 or 'none'"),
        (("--tuning", "lora", "--quantize", 3), "--quantize must be one of 4, 8"),
        (("--tuning", "lora", "--pooling", "avg"), "pooling must be"),
        (("--tuning", "lora", "--reward", "head"), "reward is a setting of preference pairs"),
        (("--tuning", "full", "--patience", 3), "patience is a setting of early_stopping"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_line(gain, run, options, words):
    before = (run / "manifest.json").read_bytes()
    code, _, err = gain(*options)
    assert code == 2
    assert words in err.splitlines()[-1]
    assert (run / "manifest.json").read_bytes() == before


def images(folder, rng):
    """A table of images, and the columns that name their parts."""
    made, label = make_images(rng, 60)
    (folder / "images").mkdir()
    for number, image in enumerate(made):
        (folder / "images" / f"{number}.png").write_bytes(image)
    table = {"path": [f"images/{i}.png" for i in range(60)], "label": label + 1}
    return table, ("--item", "path", "--label", "label"), "pixels:2", "pixels:4"


def pairs(_, rng):
    """A table of preference pairs, likewise."""
    texts, label = make_texts(rng, 300)
    sides = ([t for t, y in zip(texts, label, strict=True) if y == wanted] for wanted in (1, 0))
    good, bad = ([f"{text} {i}" for i, text in enumerate(side[:100])] for side in sides)
    table = {"better": good, "worse": bad}
    return table, ("--chosen", "better", "--rejected", "worse"), "tfidf:2", "tfidf:4"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "model", "tuning"), [(images, "vit", "full"), (pairs, "llama", "lora")]
)
def test_students_of_images_and_pairs_label_new_rows(w2s, tmp_path, make, model, tuning):
    rng = np.random.default_rng(0)
    table, columns, weak, strong = make(tmp_path, rng)
    table = pd.DataFrame(table)
    table.to_csv(tmp_path / "new.csv", index=False)
    n = len(table)
    split = rng.choice(["labelled", "pool", "test"], n, p=[0.3, 0.4, 0.3])
    table.assign(split=split).to_csv(tmp_path / "data.csv", index=False)
    run, folder = tmp_path / "run", save_model(tmp_path / model, model)
    given = (*columns, "--split", "split", "--weak", weak, "--strong", strong, "-o", run)
    assert w2s("score", tmp_path / "data.csv", *given)[0] == 0
    given = ("--tuning", tuning, "--model", folder, "--methods", "naive", "--seeds", 1)
    code, _, err = w2s("gain", run, *given, "--epochs", 2, "--no-controls")
    assert code == 0, err
    labels = tmp_path / "labels.parquet"
    code, _, err = w2s("apply", run, tmp_path / "new.csv", "--student", "naive", "--to", labels)
    assert code == 0, err
    proba = pd.read_parquet(labels).filter(like="proba / ").max(axis=1)
    known = pd.read_parquet(run / "predictions.parquet")["naive / proba"]
    np.testing.assert_allclose(proba, known, atol=1e-5)
