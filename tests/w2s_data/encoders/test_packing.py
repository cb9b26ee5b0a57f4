"""Packed linear layers: the states of the model as transformers runs it, and models left alone."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import nn

from tests.w2s_data.encoders.tiny import TEXTS, save_model, save_text_model, save_tokenizer
from tests.w2s_data.encoders.tiny import text_config as config_of
from w2s_data import TextEncoder
from w2s_data.encoders import packing
from w2s_data.encoders.packing import PackedLinear

if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
    pytest.skip("this CPU does not compute in bfloat16", allow_module_level=True)


def layers(encoder):
    return [type(module) for module in encoder.backbone_.model.modules()]


def encoder_of(folder, dtype="bfloat16"):
    return TextEncoder(str(folder), dtype=dtype, device="cpu").fit(())


@pytest.mark.parametrize("gelu", [False, True])
def test_a_packed_layer_computes_the_same(gelu):
    torch.manual_seed(0)
    linear = nn.Linear(48, 80).to(torch.bfloat16).requires_grad_(False)
    states = torch.randn(3, 7, 48, dtype=torch.bfloat16)
    wanted = linear.float()(states.float())
    wanted = nn.functional.gelu(wanted) if gelu else wanted
    packed = PackedLinear(linear.to(torch.bfloat16), gelu=gelu)(states)
    torch.testing.assert_close(packed.float(), wanted, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["bert", "llama", "albert", "t5"])
def test_vectors_of_packed_models_are_those_of_float32(tmp_path, name):
    save_model(tmp_path, config_of(name))
    save_tokenizer(tmp_path, marks=True, pad=True)
    packed, exact = encoder_of(tmp_path), encoder_of(tmp_path, "float32")
    assert PackedLinear in layers(packed)
    assert PackedLinear not in layers(exact)
    assert nn.Linear not in layers(packed)
    ours, wanted = packed.encode(TEXTS), exact.encode(TEXTS)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(wanted, axis=1)
    assert ((ours * wanted).sum(axis=1) / norms).min() > 0.995


def test_a_model_whose_states_would_change_is_left_as_it_was(tmp_path, monkeypatch, caplog):
    save_text_model(tmp_path)
    plain = encoder_of(tmp_path, "float32")

    class Broken(PackedLinear):
        def forward(self, states):
            return super().forward(states) + 1

    monkeypatch.setattr(packing, "PackedLinear", Broken)
    with caplog.at_level("INFO", logger="w2s_data"):
        encoder = encoder_of(tmp_path)
    assert layers(encoder) == layers(plain)
    assert "linear layers are not packed: its states would differ" in caplog.text


def test_a_layer_that_cannot_be_packed_is_left_as_it_was(tmp_path, monkeypatch, caplog):
    save_text_model(tmp_path)
    monkeypatch.setattr(packing, "PackedLinear", Mock(side_effect=RuntimeError("no kernel")))
    with caplog.at_level("INFO", logger="w2s_data"):
        encoder = encoder_of(tmp_path)
    assert nn.Linear in layers(encoder)
    assert "linear layers are not packed: no kernel" in caplog.text
