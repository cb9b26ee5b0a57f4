"""Memory of whole models: estimated before the first step, and weights that are held once."""

from __future__ import annotations

import gc
import logging
import re
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from tests.w2s_data.finetune.test_adapters import reviews, train, weak
from tests.w2s_data.finetune.tiny import save_tiny_model
from w2s_data.finetune.levels import estimate
from w2s_data.finetune.levels.estimate import Estimate, measure
from w2s_data.finetune.levels.store import to_disk
from w2s_data.finetune.levels.whole import WholeNetwork
from w2s_data.finetune.objectives import TrainingError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of a tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_model(folder, n_layers=2)
    return str(folder)


def test_the_bytes_of_a_network_are_counted():
    """A chain of layers keeps the input of each linear map, and the sign of each ReLU."""
    layers = nn.Sequential(nn.Linear(10, 30), nn.ReLU(), nn.Linear(30, 20))
    x = torch.randn(7, 10)
    found = measure([layers], lambda: layers(x).sum(), tokens=7, device=CPU)
    n_weights = 10 * 30 + 30 + 30 * 20 + 20
    assert (found.weights, found.trained) == (4 * n_weights, n_weights)
    assert found.gradients == 3 * 4 * n_weights  # as many for the gradient, and twice for AdamW
    assert found.activations == 4 * 7 * (10 + 30)  # the ReLU keeps its output, the next input
    assert all(p.grad is None for p in layers.parameters())


def test_frozen_weights_need_no_gradient():
    frozen, head = nn.Linear(10, 30), nn.Linear(30, 2)
    frozen.requires_grad_(False)
    x = torch.randn(7, 10)
    found = measure([frozen, head], lambda: head(frozen(x)).sum(), tokens=7, device=CPU)
    assert found.weights == 4 * (330 + 62)
    assert found.trained == 62


def test_buffers_are_as_before():
    norm = nn.BatchNorm1d(3)
    measure([norm], lambda: norm(torch.randn(9, 3)).sum(), tokens=9, device=CPU)
    assert torch.equal(norm.running_mean, torch.zeros(3))


GB = 10**9


@pytest.mark.parametrize(
    ("trained", "activations", "free", "advice"),
    [
        (1e9, 4 * GB, 17 * GB, "try gradient_checkpointing or max_length=422 or tuning 'lora'"),
        (1e9, 4 * GB, 10 * GB, "try tuning 'lora'"),
        (1e6, 40 * GB, 17 * GB, "try gradient_checkpointing or max_length=195"),
        (1e9, 40 * GB, 1 * GB, "take a smaller model"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_what_would(trained, activations, free, advice):
    found = Estimate(2 * GB, int(trained), activations, 512, free, seconds=0.5)
    with pytest.raises(TrainingError, match="memory does not suffice for one row") as caught:
        found.check("naive, student", "full", is_checkpointing=False)
    assert str(caught.value).endswith(advice)
    assert "\n" not in str(caught.value)


def test_short_memory_takes_fewer_tokens_at_a_time(tiny, rng, monkeypatch, caplog):
    texts, labels = reviews(rng, 64)
    network = weakref.WeakSet()
    init = WholeNetwork.__init__

    def watched(self, *args, **kwargs):
        init(self, *args, **kwargs)
        network.add(self)

    monkeypatch.setattr(WholeNetwork, "__init__", watched)
    with caplog.at_level(logging.INFO, logger="w2s_data"):
        whole = train(tiny, texts, weak(rng, labels), epochs=1)[0]
        (one,) = network
        gradients = 12 * sum(p.numel() for p in one.parameters().values())
        monkeypatch.setattr(estimate, "available_bytes", lambda: gradients / 0.9 + 200_000)
        small = train(tiny, texts, weak(np.random.default_rng(0), labels), epochs=1)[0]
    lines = [r.getMessage() for r in caplog.records if "beside weights" in r.getMessage()]
    assert re.search(r"training takes up to \d+ s, and [\d,]+ bytes beside weights of", lines[0])
    assert "at a time" not in lines[0]
    assert "tokens are computed at a time" in lines[1]
    assert small.model.proba(texts).shape == whole.model.proba(texts).shape


def test_seeds_share_the_weights_in_memory(tiny, rng, monkeypatch):
    made = []
    init = WholeNetwork.__init__

    def watched(self, *args, **kwargs):
        init(self, *args, **kwargs)
        made.append(weakref.ref(self))

    monkeypatch.setattr(WholeNetwork, "__init__", watched)
    texts, labels = reviews(rng, 32)
    outcome, _ = train(tiny, texts, weak(rng, labels), epochs=1, seeds=(0, 1, 2))
    assert len(made) == 1
    assert len({id(model.network) for model in outcome.model.models}) == 1
    proba = outcome.model.proba(texts)
    assert (proba[0] != proba[1]).any()
    del outcome
    gc.collect()
    assert made[0]() is None


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_student_that_is_dropped_leaves_no_weights_behind(tiny, rng, tuning):
    """Without a collection of garbage: large models would fill the memory before it comes."""
    texts, labels = reviews(rng, 16)
    gc.collect()
    gc.disable()
    try:
        outcome, _ = train(tiny, texts, weak(rng, labels), "enhanced", tuning=tuning, epochs=1)
        network = outcome.model.models[0].network
        kept = [weakref.ref(network), *map(weakref.ref, network.backbone.parameters())]
        del outcome, network
        assert not [reference for reference in kept if reference() is not None]
    finally:
        gc.enable()


def test_seeds_start_from_other_heads_and_adapters(tiny, rng):
    texts, labels = reviews(rng, 32)
    outcome, _ = train(
        tiny, texts, weak(rng, labels), tuning="lora", epochs=1, learning_rate=1e-9, seeds=(0, 1)
    )
    first, second = (model.state for model in outcome.model.models)
    drawn = [name for name in first if "lora_A" in name or name.startswith("head")]
    assert len(drawn) > 2
    for name in drawn:
        assert not torch.allclose(first[name], second[name], atol=1e-3), name
    bound = 1 / np.sqrt(first[drawn[0]].shape[1])  # of kaiming_uniform with a = sqrt(5)
    assert first[drawn[0]].abs().max() <= bound + 1e-6


def test_trained_weights_lie_in_files(tmp_path):
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3.0)}
    stored = to_disk(state, tmp_path)
    assert not list(tmp_path.iterdir())  # the file has no name, but is there
    assert all(torch.equal(stored[name], state[name]) for name in state)
    assert stored["a"].untyped_storage().data_ptr() != state["a"].untyped_storage().data_ptr()


@pytest.mark.parametrize(
    "message", ["CUDA out of memory", "DefaultCPUAllocator: can't allocate memory"]
)
def test_out_of_memory_in_the_first_step_is_one_line(tiny, rng, monkeypatch, message):
    def no_memory(*_):
        raise RuntimeError(message)

    monkeypatch.setattr(WholeNetwork, "_forward", no_memory)
    texts, labels = reviews(rng, 32)
    with pytest.raises(TrainingError, match="does not suffice for one row of 5 tokens") as caught:
        train(tiny, texts, weak(rng, labels))
    assert "\n" not in str(caught.value)


def test_the_estimate_is_what_training_takes(minilm_path):
    """Within a quarter of the memory that the process took, measured apart: 453 KB per token."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(minilm_path).train()
    ids = torch.arange(1000, 1256)[None]
    mask = torch.ones_like(ids)
    found = measure(
        [model],
        lambda: model(input_ids=ids, attention_mask=mask).last_hidden_state.mean(),
        tokens=256,
        device=CPU,
    )
    assert found.activations / 256 == pytest.approx(453e3, rel=0.25)
    assert found.trained == sum(p.numel() for p in model.parameters())
