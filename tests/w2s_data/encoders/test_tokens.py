"""Input of a model for a text: positions, tokens it knows, padding, and texts that are cut."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from tests.w2s_data.encoders.tiny import WORDS, save_model, save_tokenizer
from w2s_data.encoders import TextEncoder
from w2s_data.errors import EncoderError
from w2s_data.features.store import FeatureStore, embed

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZE = {"vocab_size": len(WORDS) + 4}
ENCODER = {**SMALL, **SIZE, "intermediate_size": 24, "max_position_embeddings": 34}
# Models and the tokens of a text that they have positions for.
MODELS = {
    "Bert": (ENCODER, 34),
    "Roberta": ({**ENCODER, "pad_token_id": 1}, 32),
    "XLMRoberta": ({**ENCODER, "pad_token_id": 0}, 33),
    "Camembert": ({**ENCODER, "pad_token_id": 1}, 32),
    "MPNet": ({**ENCODER, "pad_token_id": 1}, 32),
    "DebertaV2": ({**ENCODER, "relative_attention": True, "position_biased_input": False}, None),
    "T5": ({**SIZE, "d_model": 16, "d_ff": 24, "d_kv": 8, "num_layers": 2, "num_heads": 2}, None),
}


def save(folder, name, *, limit=None, **changes):
    """A model whose tokenizer states no limit unless one is given."""
    import transformers

    settings, positions = MODELS[name]
    save_model(folder, getattr(transformers, f"{name}Config")(**settings | changes))
    save_tokenizer(folder, marks=True, pad=True)
    path = folder / "tokenizer_config.json"
    stated = json.loads(path.read_text())
    del stated["model_max_length"]
    path.write_text(json.dumps(stated | ({} if limit is None else {"model_max_length": limit})))
    return positions


@pytest.mark.parametrize("name", MODELS)
def test_long_texts_are_cut_to_the_positions_that_exist(tmp_path, name):
    positions = save(tmp_path, name)
    encoder = TextEncoder(str(tmp_path), device="cpu").fit(())
    assert encoder.limit_ == positions
    long = "good " * 100
    vectors = encoder.encode([long, "good film"])
    assert np.isfinite(vectors).all()
    assert encoder.n_cut_ == (0 if positions is None else 1)
    if positions is not None:
        longest = "good " * (positions - 2)  # with the marks around it
        np.testing.assert_allclose(vectors[0], encoder.encode([longest])[0], rtol=1e-4, atol=1e-5)
        assert encoder.n_cut_ == 0
        message = f"max_length={positions + 1} is beyond the {positions} positions of model"
        with pytest.raises(EncoderError, match=message):
            TextEncoder(str(tmp_path), max_length=positions + 1).fit(())


@pytest.mark.parametrize("name", ["Bert", "Roberta", "MPNet", "T5"])
def test_tuning_reads_no_position_that_is_missing(tmp_path, name):
    import torch

    from w2s_data.finetune.levels.whole import WholeNetwork
    from w2s_data.finetune.settings import Adaptation

    positions = save(tmp_path, name)
    adaptation = Adaptation(str(tmp_path), tuning="full", max_length=60)
    network = WholeNetwork(adaptation, 3, torch.device("cpu"))
    texts = network.read(["good " * 100, "good"])
    assert texts.lengths.tolist() == [positions or 60, 3]
    assert network.inference(texts).shape == (2, 3)


@pytest.mark.parametrize("limit", [10**30, 16])
def test_the_tokenizers_limit_counts_where_it_states_one(tmp_path, limit):
    save(tmp_path, "Bert", limit=limit)
    assert TextEncoder(str(tmp_path)).fit(()).limit_ == min(34, limit)


def add_tokens(folder, **kinds):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens(kinds) if "pad_token" in kinds else tokenizer.add_tokens(**kinds)
    tokenizer.save_pretrained(folder)


def test_a_pad_token_beyond_the_vocabulary_is_never_read(tmp_path):
    save(tmp_path, "Bert")
    before = TextEncoder(str(tmp_path)).encode(["good", "a long film about a dog"])
    add_tokens(tmp_path, pad_token="<another pad>")
    after = TextEncoder(str(tmp_path)).encode(["good", "a long film about a dog"])
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_tokens_beyond_the_vocabulary_name_model_and_token(tmp_path):
    save(tmp_path, "Bert")
    add_tokens(tmp_path, new_tokens=["good film"])
    message = (
        r"tokenizer of model '.*' gives token \d+ \('good film'\), but the model knows "
        f"{SIZE['vocab_size']}: .* without resizing"
    )
    with pytest.raises(EncoderError, match=message):
        TextEncoder(str(tmp_path)).encode(["a good film"])


def test_texts_that_were_cut_are_counted_and_remembered(tmp_path, caplog):
    save(tmp_path / "model", "Bert")
    encoder = TextEncoder(str(tmp_path / "model"), max_length=8, device="cpu")
    # Six words and two marks fill eight tokens; only what is longer is cut.
    texts = [" ".join(["good"] * n) for n in range(1, 13)]
    said = "6 of 12 texts were cut to 8 tokens; pass max_length to change it"
    with caplog.at_level(logging.INFO, logger="w2s_data"):
        embed(texts, encoder, tmp_path / "store", shard_rows=5)
    assert [r.message for r in caplog.records].count(said) == 1
    assert FeatureStore.open(tmp_path / "store").notes == [said]
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="w2s_data"):
        embed(texts, encoder, tmp_path / "store")  # finds all of them
    assert said in [r.message for r in caplog.records]


def test_short_texts_are_nothing_to_report(tmp_path):
    save(tmp_path / "model", "Bert")
    store = embed(["good", "bad"], TextEncoder(str(tmp_path / "model")), tmp_path / "store")
    assert store.notes == []
