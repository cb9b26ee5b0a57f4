"""Models in the shell and in TOML: their settings by role, what is said, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tests.w2s_data.encoders.tiny import WORDS, save_text_model
from w2s_data.encoders import TextEncoder
from w2s_data.features.store import FeatureStore


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_text_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def texts(rng):
    return [" ".join(rng.choice(WORDS, size=3 + n % 10)) for n in range(40)]


@pytest.fixture
def data(texts, tmp_path):
    path = tmp_path / "data.csv"
    labels = ["neg", "pos"] * 20
    pd.DataFrame({"text": texts, "label": labels}).to_csv(path, index=False)
    return path


def embedded(run):
    return json.loads((run / "manifest.json").read_text())["stages"]["embed"]


def stored(run, role, items):
    return FeatureStore.open(run / "features" / role).select(items).array()


def test_settings_by_role(w2s, data, texts, model, tmp_path):
    run = tmp_path / "run"
    models = ("--weak", f"{model}@1", "--strong", model, "--label", "label", "-o", run)
    settings = ("--pooling", "weak=max", "--pooling", "strong=cls+mean", "--max-length", 8)
    more = ("--normalize", "strong=true", "--encoder-prompt", "strong=good film: ")
    code, out, err = w2s("embed", data, *models, *settings, *more)
    assert (code, "strong features: 40 x 32" in out) == (0, True), err
    for words in ("pooling max (as given), at most 8 tokens", "texts were cut to 8 tokens"):
        assert words in err
    strong = TextEncoder(
        str(model), pooling="cls+mean", max_length=8, normalize=True, prompt="good film: "
    )
    np.testing.assert_allclose(stored(run, "strong", texts), strong.encode(texts), atol=1e-5)
    weak = TextEncoder(str(model), layer=1, pooling="max", max_length=8)
    np.testing.assert_allclose(stored(run, "weak", texts), weak.encode(texts), atol=1e-5)
    record = embedded(run)
    assert record["settings"]["strong"]["prompt"] == "good film: "
    assert record["settings"]["weak"]["pooling"] == "max"
    assert any("strong encoder: pooling cls+mean" in note for note in record["notes"])
    assert any("texts were cut to 8 tokens" in note for note in record["notes"])


def test_a_run_keeps_the_precision_of_its_features(w2s, data, texts, model, tmp_path, monkeypatch):
    """On a machine that is built for another one, unless the features are discarded."""
    command = ("embed", data, "--strong", model, "--label", "label", "-o", tmp_path / "run")
    for made, asked, expected in (
        ("float32", (), "float32"),
        ("bfloat16", (), "float32"),
        ("bfloat16", ("--overwrite",), "bfloat16"),
    ):
        monkeypatch.setattr(
            "w2s_data.encoders.pretrained.fast_dtype", lambda _, name=made: getattr(torch, name)
        )
        code, _, err = w2s("-q", *command, *asked)
        assert code == 0, err
        assert embedded(tmp_path / "run")["settings"]["strong"]["dtype"] == expected
        encoder = TextEncoder(str(model), dtype=expected)
        vectors = stored(tmp_path / "run", "strong", texts)
        np.testing.assert_allclose(vectors, encoder.encode(texts), atol=1e-5)


def test_settings_in_toml_are_those_of_the_shell(w2s, data, model, tmp_path):
    config = tmp_path / "w2s.toml"
    config.write_text(
        f"""
        [data]
        path = "{data.name}"
        label = "label"
        [run]
        output = "{tmp_path / "toml"}"
        [strong]
        encoder = "{model}"
        pooling = "last"
        max_length = 9
        normalize = true
        encoder_prompt = "a "
        dtype = "float32"
        backend = "torch"
        min_agreement = 0.9
        [weak]
        encoder = "tfidf:4"
        analyzer = "char"
        """
        + "".join(
            f"[{name}]\nenabled = false\n"
            for name in ("forecast", "select", "gain", "groups", "report")
        )
    )
    code, _, err = w2s("-q", "run", config)
    assert code == 0, err
    shell = tmp_path / "shell"
    models = ("--strong", model, "--weak", "tfidf:4", "--label", "label", "-o", shell)
    settings = ("--pooling", "last", "--max-length", 9, "--normalize", "true", "--dtype", "float32")
    more = ("--encoder-prompt", "a ", "--analyzer", "char")
    more += ("--backend", "torch", "--min-agreement", "0.9")
    code, _, err = w2s("-q", "embed", data, *models, *settings, *more)
    assert code == 0, err
    assert embedded(shell)["settings"] == embedded(tmp_path / "toml")["settings"]


def test_other_settings_are_other_features(w2s, data, model, tmp_path):
    run = ("--label", "label", "-o", tmp_path / "run", "--strong", model)
    assert w2s("-q", "embed", data, *run)[0] == 0
    code, _, err = w2s("-q", "embed", data, *run, "--pooling", "cls")
    assert code == 2
    assert "were made with pooling='mean' (not 'cls')" in err
    assert w2s("-q", "embed", data, *run, "--pooling", "mean")[0] == 0  # the same by another way
    assert w2s("-q", "embed", data, *run, "--pooling", "cls", "--overwrite")[0] == 0


REFUSED = [
    (("--weak", "tfidf", "--pooling", "cls"), "pooling applies to none of the encoders"),
    (("--strong", "MODEL", "--analyzer", "char"), "analyzer applies to none of the encoders"),
    (
        ("--weak", "tfidf", "--strong", "MODEL", "--pooling", "weak=cls"),
        "weak: pooling does not apply to TfidfEncoder, which has 'analyzer'",
    ),
    (("--strong", "MODEL", "--dtype", "weak=float32"), "dtype of weak requires an encoder as weak"),
    (("--strong", "MODEL", "--pooling", "middle"), "pooling must be 'auto', 'mean'"),
    (("--strong", "MODEL", "--pooling", "strong=cls,mean"), "got 'cls,mean'"),
    (("--strong", "MODEL", "--max-length", "0"), "max-length must be an integer >= 1"),
    (("--strong", "MODEL", "--max-length", "99"), "max_length=99 is beyond the 32 positions"),
    (("--strong", "MODEL", "--normalize", "perhaps"), "normalize must be true or false"),
    (("--strong", "MODEL", "--pooling", "cls", "--pooling", "mean"), "each once"),
    (("--strong", "MODEL", "--dtype", "int4"), "dtype must be 'auto', 'float32'"),
    (("--strong", "MODEL", "--dtype", "int8"), "dtype 'int8' requires backend 'onnx'; got 'torch'"),
    (("--strong", "MODEL", "--backend", "jax"), "backend must be 'torch', 'onnx' or 'openvino'"),
    (("--strong", "MODEL", "--min-agreement", "2"), "min-agreement must be a number from 0 to 1"),
    (("--weak", "tfidf", "--backend", "onnx"), "backend applies to none of the encoders"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[str(o[-2:]) for o, _ in REFUSED])
def test_settings_that_do_not_apply_are_one_line(w2s, data, model, tmp_path, options, message):
    given = [str(model) if option == "MODEL" else option for option in options]
    code, _, err = w2s("-q", "embed", data, "--label", "label", "-o", tmp_path / "run", *given)
    assert code == 2
    assert err.count("error:") == 1
    assert message in err
    assert "Traceback" not in err


class Canary:
    def __reduce__(self):
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize("damage", ["pickle", "nested", "weights"])
def test_a_harmful_folder_is_one_line(w2s, data, tmp_path, damage, model):
    import shutil

    folder = shutil.copytree(model, tmp_path / "harmful")
    if damage == "nested":
        (folder / "config.json").write_text("[" * 100_000)
    else:
        (folder / "model.safetensors").unlink()
    if damage == "pickle":
        torch.save({"weight": Canary()}, folder / "pytorch_model.bin")
    run = ("--label", "label", "-o", tmp_path / "run")
    code, _, err = w2s("-q", "embed", data, *run, "--strong", folder)
    assert code == 2
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_equal_texts_name_the_reason(w2s, tmp_path):
    path = tmp_path / "same.csv"
    table = {"text": ["the same words"] * 40, "label": ["a"] * 20 + ["b"] * 20}
    table["split"] = ["labelled", "pool", "validation", "test"] * 10
    pd.DataFrame(table).to_csv(path, index=False)
    roles = ("--label", "label", "--split", "split", "-o", tmp_path / "run")
    code, _, err = w2s("-q", "score", path, *roles, "--weak", "tfidf", "--strong", "tfidf")
    assert code == 2
    reason = "features are all zero in every row: the texts that tfidf learned from are alike"
    assert f"error: strong {reason}" in err
    assert "use another encoder as strong" in err


def test_black_images_are_named_as_strong_items_and_noted_as_weak_ones(w2s, tmp_path, rng):
    folder = tmp_path / "images"
    for n in range(12):
        pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8) if n % 4 else np.zeros((8, 8))
        path = folder / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    run = ("-o", tmp_path / "run")
    code, _, err = w2s("embed", folder, *run, "--weak", "pixels:2")
    assert code == 0, err
    assert "features are all zero in rows" in err
    assert "the images are black" in err
    assert any("all zero" in note for note in embedded(tmp_path / "run")["notes"])
    code, _, err = w2s("-q", "embed", folder, *run, "--strong", "pixels:4")
    assert code == 2
    assert "strong features are all zero in rows" in err
    assert "the images are black. Leave these items out" in err
