"""Settings of whole models: the same from a shell, from TOML and in Python, and what fits what."""

from __future__ import annotations

import json
from dataclasses import fields
from types import SimpleNamespace

import pytest

from tests.w2s_data.finetune.tiny import save_tiny_model
from w2s_data.errors import InputError, NotApplicableError
from w2s_data.finetune import Adaptation, TrainingSettings
from w2s_data.stages.config import load_config
from w2s_data.stages.gain_settings import GainSettings, TuningSettings
from w2s_data.stages.settings import read_settings
from w2s_data.stages.tuning import ADAPTERS, check_model, given_settings, training_settings

# A value of each setting that is not its default.
OTHER = {
    "model": "bert",
    "revision": "main",
    "max_length": 12,
    "pooling": "cls+mean",
    "rank": 2,
    "alpha": 4.0,
    "dropout": 0.25,
    "target_modules": ("query", "value"),
    "quantize": 4,
    "micro_batch": 3,
    "micro_tokens": 100,
    "decay": "cosine",
    "warmup": 0.5,
    "clip": 2.0,
    "precision": "float32",
    "gradient_checkpointing": True,
    "evaluate_every": 5,
    "save_every": 6,
    "save_minutes": 7.0,
    "reward": "dpo",
    "beta": 0.2,
}


def chosen(paired=False, **settings):
    pairs = SimpleNamespace(kind="text", is_paired=True) if paired else None
    return training_settings(GainSettings(**settings), "cpu", pairs)


def test_every_setting_arrives():
    assert OTHER.keys() == TuningSettings.model_fields.keys()
    given = chosen(True, tuning="lora", epochs=2, student_l2=0.5, batch_size=7, **OTHER)
    assert (given.epochs, given.l2, given.batch_size, given.device) == (2, 0.5, 7, "cpu")
    for name, value in OTHER.items():
        place = given.adaptation if hasattr(given.adaptation, name) else given
        assert getattr(place, name) == value


def test_a_gradient_may_be_unlimited():
    assert chosen(tuning="full", model="bert").adaptation.clip == 1
    assert chosen(tuning="full", model="bert", clip="none").adaptation.clip is None


def test_every_setting_of_python_is_there():
    kept = {"tuning", "model", "l2", *GainSettings.model_fields}
    # Where a training runs, and what only Python can hand over.
    python = {"kind", "solver", "paired", "device", "resident_bytes", "callbacks", "checkpoint"}
    names = {field.name for kind in (Adaptation, TrainingSettings) for field in fields(kind)}
    assert names - kept == python


def test_what_is_not_given_keeps_its_default():
    given = chosen(tuning="full", model="bert")
    assert given == TrainingSettings(tuning="full", model=Adaptation("bert"), device="cpu")


def test_an_adaptation_of_python_is_completed():
    given = chosen(tuning="lora", model=Adaptation("bert", rank=3, alpha=9), alpha=5.0)
    assert (given.adaptation.rank, given.adaptation.alpha) == (3, 5)
    assert (
        given_settings(GainSettings(tuning="lora", model=Adaptation("bert")))["model"]["rank"] == 8
    )


def test_toml_says_the_same(tmp_path):
    lines = [f"{name} = {json.dumps(value)}" for name, value in OTHER.items()]
    path = tmp_path / "w2s.toml"
    path.write_text("\n".join(['data.path = "x.csv"', "[gain]", 'tuning = "lora"', *lines]))
    assert load_config(path).gain == GainSettings(tuning="lora", **OTHER)


@pytest.mark.parametrize("name", [*OTHER])
def test_a_setting_of_another_tuning_is_refused(name):
    with pytest.raises(InputError, match=rf"^{name} is a setting of tuning .*tuning is 'head'"):
        chosen(**{name: OTHER[name]})
    if name in ADAPTERS:
        with pytest.raises(InputError, match=rf"^{name} is a setting of tuning 'lora', .* 'full'"):
            chosen(tuning="full", **{"model": "bert", name: OTHER[name]})


def test_the_kind_of_item_is_that_of_the_data():
    images = SimpleNamespace(kind="image", is_paired=False)
    given = training_settings(GainSettings(tuning="full", model="clip"), "cpu", images)
    assert given.adaptation.kind == "image"
    vectors = SimpleNamespace(kind="features", is_paired=False)
    with pytest.raises(NotApplicableError, match="but these are feature vectors"):
        check_model(given.adaptation, vectors)


def test_fewer_bits_need_a_cuda_device(tmp_path, monkeypatch):
    save_tiny_model(tmp_path / "bert", n_layers=1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    given = chosen(tuning="lora", model=str(tmp_path / "bert"), quantize="8").adaptation
    assert given.quantize == 8
    with pytest.raises(NotApplicableError, match="quantize=8 needs a CUDA device"):
        check_model(given, None)
    with pytest.raises(InputError, match="quantize must be one of 4, 8; got 3"):
        read_settings(GainSettings, {"quantize": 3})


def test_a_rate_is_searched_for_whole_models_only():
    with pytest.raises(InputError, match="learning_rate 'auto' is for whole models"):
        chosen(learning_rate="auto")


def test_patience_needs_early_stopping():
    with pytest.raises(InputError, match="patience is a setting of early_stopping"):
        chosen(patience=3)
    assert chosen(patience=3, early_stopping=True).patience == 3


def test_a_mistyped_model_is_named_before_the_run_is_read(w2s, tmp_path):
    save_tiny_model(tmp_path / "bert", n_layers=1)
    code, _, err = w2s("gain", tmp_path / "no-run", "--tuning", "full", "--model", tmp_path / "brt")
    assert code == 2
    assert "there is no model folder" in err
    assert "did you mean" in err
