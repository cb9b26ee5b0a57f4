"""Models as their own files say: pooling, modules, prompts, lengths, against known vectors."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.w2s_data.encoders.tiny import TEXTS, WORDS, save_model, save_tokenizer, text_config
from w2s_data.encoders import TextEncoder
from w2s_data.encoders.pooling import pool
from w2s_data.errors import EncoderError

pytestmark = pytest.mark.usefixtures("in_float32")  # known vectors are of full precision
WIDTH = 16
READABLE = [*filter(None, TEXTS), "film good bad", "good " * 40 + "film"]
TRANSFORMER = {"type": "sentence_transformers.models.Transformer", "path": ""}
POOLING = {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}
DENSE = {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}
NORMALIZE = {"type": "sentence_transformers.models.Normalize", "path": "3_Normalize"}
LAYER_NORM = {"type": "sentence_transformers.models.LayerNorm", "path": "4_LayerNorm"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Folders of plain tiny models, made when first asked for."""
    import transformers as tf

    root = tmp_path_factory.mktemp("plain")
    small = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    roberta = tf.RobertaConfig(
        vocab_size=len(WORDS) + 4,
        hidden_size=WIDTH,
        max_position_embeddings=34,
        pad_token_id=0,
        **small,
    )

    def folder(name):
        path = root / name
        if not path.exists():
            save_model(path, roberta if name == "roberta" else text_config(name))
            decoder = name in ("llama", "gpt2")
            save_tokenizer(path, marks=not decoder, pad=True, side="left" if decoder else "right")
        return path

    return folder


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def sentence_model(plain, target, modules=(POOLING,), pooling=None, **files):
    """A copy of a plain model with modules and their settings."""
    folder = Path(shutil.copytree(plain, target))
    write_json(folder / "modules.json", [TRANSFORMER, *modules])
    write_json(folder / "1_Pooling" / "config.json", pooling or {"pooling_mode": "mean"})
    for name, content in files.items():
        write_json(folder / f"{name}.json", content)
    return folder


def add_dense(folder, out=8, **settings):
    """Write a Dense module with known weights; return them."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    weight = rng.normal(size=(out, WIDTH)).astype(np.float32)
    bias = rng.normal(size=out).astype(np.float32)
    config = {"in_features": WIDTH, "out_features": out, "bias": True, **settings}
    write_json(folder / "2_Dense" / "config.json", config)
    save_file(
        {"linear.weight": weight, "linear.bias": bias}, folder / "2_Dense" / "model.safetensors"
    )
    return weight, bias


def cosines(one, other):
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


# --- pooling, by hand -----------------------------------------------------------------------------

BY_HAND = {
    "mean": lambda h, _: h.mean(axis=0),
    "cls": lambda h, _: h[0],
    "last": lambda h, _: h[-1],
    "max": lambda h, _: h.max(axis=0),
    "mean_sqrt_len": lambda h, _: h.sum(axis=0) / np.sqrt(len(h)),
    "weightedmean": lambda h, w: (h * w[:, None]).sum(axis=0) / w.sum(),
}


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("mode", BY_HAND)
def test_poolings_by_hand(mode, first):
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(4, 6, 3)).astype(np.float32)
    lengths = np.array([6, 5, 3, 1])
    found = pool(torch.from_numpy(hidden), mode, torch.from_numpy(lengths), first).numpy()
    for row, length in enumerate(lengths):
        start = min(first, length - 1)  # a text that ends in the prompt keeps its last token
        weights = np.arange(start + 1, length + 1)
        expected = BY_HAND[mode](hidden[row, start:length], weights)
        np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-6)


def test_several_poolings_concatenate_in_their_order():
    hidden = torch.randn(2, 4, 3)
    lengths = torch.tensor([4, 2])
    parts = [pool(hidden, mode, lengths) for mode in ("max", "cls")]
    np.testing.assert_array_equal(pool(hidden, "max+cls", lengths), torch.cat(parts, dim=1))


# --- a folder's own recipe ------------------------------------------------------------------------

FLAGS = [
    ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
    ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "cls+mean"),
    ({"pooling_mode_lasttoken": True}, "last"),
    ({"pooling_mode": "mean_sqrt_len_tokens"}, "mean_sqrt_len"),
    ({"pooling_mode": ["weightedmean", "max"]}, "weightedmean+max"),
]


@pytest.mark.parametrize(("settings", "pooling"), FLAGS, ids=[name for _, name in FLAGS])
def test_the_folder_chooses_the_pooling(plain, tmp_path, settings, pooling):
    folder = sentence_model(plain("bert"), tmp_path / "model", pooling=settings)
    encoder = TextEncoder(str(folder))
    spec = encoder.spec()
    assert (spec["pooling"], spec["modules"], spec["normalize"]) == (pooling, [], False)
    assert spec["pooling_reason"] == "as 1_Pooling of the model says"
    given = TextEncoder(str(plain("bert")), pooling=pooling).encode(TEXTS)
    np.testing.assert_array_equal(encoder.encode(TEXTS), given)


def test_dense_and_normalize_follow_the_pooling(plain, tmp_path):
    folder = sentence_model(plain("bert"), tmp_path / "model", (POOLING, DENSE, NORMALIZE))
    weight, bias = add_dense(folder)
    pooled = TextEncoder(str(plain("bert"))).encode(TEXTS)
    expected = np.tanh(pooled @ weight.T + bias)  # Tanh is the usual activation
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    encoder = TextEncoder(str(folder)).fit(())
    np.testing.assert_allclose(encoder.encode(TEXTS), unit, rtol=1e-4, atol=1e-5)
    assert encoder.get_feature_names_out().shape == (8,)
    assert encoder.encode([]).shape == (0, 8)
    plain_length = TextEncoder(str(folder), normalize=False)
    np.testing.assert_allclose(plain_length.encode(TEXTS), expected, rtol=1e-4, atol=1e-5)
    # A pooling that is named stands instead of the head, and a lower layer has none.
    named = TextEncoder(str(folder), pooling="mean")
    np.testing.assert_array_equal(named.encode(TEXTS), pooled)
    lower = TextEncoder(str(folder), layer=1).spec()
    assert (lower["pooling"], lower["modules"]) == ("mean", [])


def test_a_residual_and_other_activations_are_applied(plain, tmp_path):
    folder = sentence_model(plain("bert"), tmp_path / "model", (POOLING, DENSE))
    name = "torch.nn.modules.linear.Identity"
    weight, bias = add_dense(folder, WIDTH, activation_function=name, use_residual=True)
    pooled = TextEncoder(str(plain("bert"))).encode(TEXTS)
    found = TextEncoder(str(folder)).encode(TEXTS)
    np.testing.assert_allclose(found, pooled @ weight.T + bias + pooled, rtol=1e-4, atol=1e-4)


def test_lower_case_length_prompt_and_dimensions(plain, tmp_path):
    folder = sentence_model(
        plain("bert"),
        tmp_path / "model",
        sentence_bert_config={"max_seq_length": 6, "do_lower_case": True},
        config_sentence_transformers={
            "prompts": {"query": "good film ", "passage": ""},
            "default_prompt_name": "query",
            "truncate_dim": 5,
        },
    )
    bare = TextEncoder(str(plain("bert")), max_length=6)
    texts = ["story of a dog and more", "Bad"]
    expected = bare.encode([f"good film {text.lower()}" for text in texts])[:, :5]
    encoder = TextEncoder(str(folder))
    np.testing.assert_array_equal(encoder.encode(texts), expected)
    assert encoder.spec()["prompt"] == "good film "
    assert encoder.spec()["max_length"] == 6
    for given, prompt in (("passage", ""), ("", ""), ("a long ", "a long ")):
        expected = bare.encode([prompt + text.lower() for text in texts])[:, :5]
        found = TextEncoder(str(folder), prompt=given).encode(texts)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(EncoderError, match="no prompt 'qury'; did you mean 'query'"):
        TextEncoder(str(folder), prompt="qury").spec()
    longer = TextEncoder(str(folder), max_length=20, prompt="")
    expected = TextEncoder(str(plain("bert"))).encode([text.lower() for text in texts])
    np.testing.assert_array_equal(longer.encode(texts), expected[:, :5])


def test_an_older_folder_keeps_the_transformer_in_a_subfolder(plain, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(plain("bert"), folder / "0_Transformer")
    write_json(folder / "modules.json", [{**TRANSFORMER, "path": "0_Transformer"}, POOLING])
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    found = TextEncoder(str(folder)).encode(TEXTS)
    expected = TextEncoder(str(plain("bert")), pooling="cls").encode(TEXTS)
    np.testing.assert_array_equal(found, expected)


def test_the_modules_are_part_of_the_identity(plain, tmp_path):
    folder = sentence_model(plain("bert"), tmp_path / "model", (POOLING, DENSE))
    add_dense(folder)
    before = TextEncoder(str(folder)).spec()["model"]
    weights = folder / "2_Dense" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert TextEncoder(str(folder)).spec()["model"] != before


@pytest.mark.parametrize(
    ("name", "pooling"), [("bert", "mean"), ("t5", "mean"), ("llama", "last"), ("gpt2", "last")]
)
def test_plain_models_have_a_usual_pooling(plain, name, pooling, caplog):
    encoder = TextEncoder(str(plain(name)))
    assert encoder.spec()["pooling"] == pooling
    expected = TextEncoder(str(plain(name)), pooling=pooling).encode(READABLE)
    with caplog.at_level(logging.INFO, logger="w2s_data"):
        np.testing.assert_array_equal(encoder.encode(READABLE), expected)
    assert [r.message for r in caplog.records if f"{name}: pooling {pooling} (" in r.message]


UNKNOWN = {
    "sentence_transformers.models.LSTM": (TRANSFORMER, "1_LSTM"),
    "sentence_transformers.models.StaticEmbedding": (None, ""),
    "custom_st.Transformer": (None, ""),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_unknown_modules_are_refused_by_name(plain, tmp_path, kind):
    first, path = UNKNOWN[kind]
    folder = sentence_model(plain("bert"), tmp_path / "model")
    modules = [*filter(None, [first]), {"type": kind, "path": path}, POOLING]
    write_json(folder / "modules.json", modules)
    with pytest.raises(EncoderError, match=f"lists module '{kind}' at place .* cannot be run"):
        TextEncoder(str(folder)).spec()


BAD = {
    "modules": ({}, "modules.json of model .* must be a list of modules; got an object"),
    "modules ": ([1], "each module needs a type and a path"),
    "modules  ": ([{**TRANSFORMER, "path": "../.."}], "leads out of the model's folder"),
    "1_Pooling/config": ({"pooling_mode": "middle"}, "pooling must be one of .*; got 'middle'"),
    "1_Pooling/config ": ([], "must hold a JSON object; got a list"),
    "sentence_bert_config": ({"max_seq_length": "9"}, "max_seq_length must be an integer >= 1"),
    "config_sentence_transformers": ({"prompts": [1]}, "prompts must be texts by name"),
    "config_sentence_transformers ": (
        {"prompts": {"a": "b"}, "default_prompt_name": "c"},
        r"default_prompt_name 'c' is not among the prompts \('a'\)",
    ),
    "2_Dense/config": ({"in_features": 3, "out_features": 8}, "takes vectors of 3 dimensions"),
    "2_Dense/config ": (
        {"in_features": WIDTH, "out_features": 10**12},
        r"weights in 2_Dense of model .* must be \{'linear.weight': \(1000000000000, 16\)",
    ),
    "2_Dense/config  ": (
        {"in_features": WIDTH, "out_features": 8, "activation_function": "os.system"},
        "no activation 'os.system' in torch.nn",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_of_modules_are_one_line(plain, tmp_path, name):
    folder = sentence_model(plain("bert"), tmp_path / "model", (POOLING, DENSE))
    add_dense(folder)
    content, message = BAD[name]
    write_json(folder / f"{name.strip()}.json", content)
    with pytest.raises(EncoderError, match=message) as caught:
        TextEncoder(str(folder)).fit(())
    assert "\n" not in str(caught.value)


# --- against the library itself -------------------------------------------------------------------

LIBRARY = {
    **{mode: ({"pooling_mode": mode}, ()) for mode in ("cls", "mean", "max", "weightedmean")},
    **{mode: ({"pooling_mode": mode}, ()) for mode in ("mean_sqrt_len_tokens", "lasttoken")},
    "several": ({"pooling_mode": ("lasttoken", "cls")}, ("LayerNorm", "Dense", "Normalize")),
    "prompt": ({"pooling_mode": "mean", "include_prompt": False}, ("Dense", "Normalize")),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the name that old versions know, too
@pytest.mark.parametrize("recipe", LIBRARY)
@pytest.mark.parametrize("name", ["bert", "roberta", "llama"])
def test_vectors_are_those_of_sentence_transformers(plain, tmp_path, name, recipe):
    library = pytest.importorskip("sentence_transformers", reason="no sentence-transformers")
    from sentence_transformers import models

    settings, others = LIBRARY[recipe]
    width = WIDTH * (1 if isinstance(settings["pooling_mode"], str) else 2)
    make = {
        "LayerNorm": lambda: models.LayerNorm(width),
        "Dense": lambda: models.Dense(width, 8, bias=False, activation_function=torch.nn.GELU()),
        "Normalize": models.Normalize,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = [models.Transformer(str(plain(name)), max_seq_length=12)]
        parts += [models.Pooling(WIDTH, **settings), *(make[other]() for other in others)]
    prompts = {"prompts": {"q": "good film "}, "default_prompt_name": "q"}
    given = prompts if recipe == "prompt" else {}
    folder = tmp_path / "model"
    library.SentenceTransformer(modules=parts, device="cpu", **given).save(str(folder))
    theirs = library.SentenceTransformer(str(folder), device="cpu").encode(READABLE)
    ours = TextEncoder(str(folder), device="cpu").encode(READABLE)
    assert ours.shape == theirs.shape
    assert cosines(ours, theirs).min() > 0.9999
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
