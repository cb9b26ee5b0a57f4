"""Where whole models compute: processes, precision, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import accelerate
import numpy as np
import pytest
import torch

from tests.w2s_data.finetune.test_adapters import reviews, train, weak
from tests.w2s_data.finetune.tiny import accuracy, save_tiny_model
from w2s_data.errors import InputError
from w2s_data.finetune import measure_gain
from w2s_data.finetune.gain import measure
from w2s_data.finetune.levels.precision import is_half, make_accelerator, n_processes
from w2s_data.finetune.levels.sharding import is_sharded, shard

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_where_a_gpu_is_built_for_it(monkeypatch, supported):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)
    assert is_half(CUDA, "auto") is supported
    assert not is_half(CPU, "auto")
    assert is_half(CPU, "bfloat16")
    assert not is_half(CUDA, "float32")


@pytest.mark.slow
@pytest.mark.parametrize(
    "adaptation", [{"precision": "bfloat16"}, {"gradient_checkpointing": True}]
)
def test_fewer_digits_or_less_memory_learn_as_well(tmp_path, rng, adaptation):
    save_tiny_model(tmp_path, n_layers=2)
    texts, labels = reviews(rng, 256)
    outcome, _ = train(str(tmp_path), texts, weak(rng, labels), adaptation=adaptation)
    fresh, truth = reviews(rng, 100)
    assert accuracy(outcome.model.proba(fresh), truth)[0] > 0.9


def test_weights_divided_by_deepspeed_are_refused(monkeypatch):
    fake = SimpleNamespace(distributed_type=SimpleNamespace(value="DEEPSPEED"))
    monkeypatch.setattr(accelerate, "Accelerator", lambda **_: fake)
    with pytest.raises(InputError, match=r"DEEPSPEED divides the weights.*use FSDP"):
        make_accelerator(CPU, "auto")


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"FSDP_VERSION": "1"}, "set fsdp_version 2"),
        ({"FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"}, "leave out offload_params"),
    ],
)
def test_other_ways_to_divide_weights_are_refused(monkeypatch, plan, message):
    assert not is_sharded()  # one process has nothing to divide
    two = {"WORLD_SIZE": "2", "RANK": "0", "ACCELERATE_USE_FSDP": "true"}
    for name, value in {**plan, **two}.items():
        monkeypatch.setenv(name, value)
    assert is_sharded()
    with pytest.raises(InputError, match=message):
        shard(torch.nn.Linear(2, 2), [], CPU)


def test_an_engine_and_several_processes_are_one_too_many(monkeypatch, tmp_path, rng):
    monkeypatch.setattr(measure, "n_processes", lambda: 2)
    features, labels = rng.normal(size=(9, 2)), np.arange(9) % 2
    with pytest.raises(InputError, match="choose one of them"):
        measure_gain(
            *(features, labels, labels, ["pool"] * 9),
            checkpoint=tmp_path / "c",
            random_state=0,
            engine=SimpleNamespace(name="ray"),
        )


def test_a_size_without_a_rank_is_a_single_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv("RANK", raising=False)
    assert n_processes() == 1
    monkeypatch.setenv("RANK", "3")
    assert n_processes() == 8
