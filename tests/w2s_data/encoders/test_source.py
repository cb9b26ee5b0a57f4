"""Model folders that are damaged, or written to do harm: one line each, and nothing is executed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from tests.w2s_data.encoders.tiny import TEXTS, save_text_model
from w2s_data.encoders import TextEncoder
from w2s_data.encoders.source import Source
from w2s_data.errors import EncoderError


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return save_text_model(tmp_path_factory.mktemp("models") / "sound")


@pytest.fixture
def folder(sound, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(sound, tmp_path / "model"))


def fails(folder, message):
    """Both uses of a folder refuse it with one line."""
    from w2s_data.finetune.levels.whole import WholeNetwork
    from w2s_data.finetune.settings import Adaptation

    cpu = torch.device("cpu")
    uses = {
        "embed": lambda: TextEncoder(str(folder), device="cpu").encode(TEXTS),
        "full": lambda: WholeNetwork(Adaptation(str(folder), tuning="full"), 2, cpu),
    }
    for use in uses.values():
        with pytest.raises(EncoderError, match=message) as caught:
            use()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


CONFIGS = {
    "[": "config.json of model .* is not JSON",
    "[" * 100_000: "config.json of model .* is not JSON",
    '{"model_type": "be': "config.json of model .* is not JSON",
    "[1]": "config.json of model .* must hold a JSON object; got a list",
    "null": "config.json of model .* must hold a JSON object; got null",
    "{}": "cannot load the configuration",
    '{"model_type": ["bert"]}': "cannot load the configuration",
    '{"model_type": "nothing"}': "cannot load the configuration",
}


@pytest.mark.parametrize("content", CONFIGS, ids=lambda content: content[:12])
def test_a_damaged_configuration(folder, content):
    (folder / "config.json").write_text(content)
    fails(folder, CONFIGS[content])


VALUES = [
    ({"hidden_size": "wide"}, "cannot load the configuration .*hidden_size"),
    ({"hidden_size": 32}, r"weight \S+ has shape .*16.*, but config.json asks for .*32"),
    ({"hidden_size": 10**9}, "config.json asks for"),
    ({"num_attention_heads": 0}, "ZeroDivisionError"),
    ({"pad_token_id": 77}, "Padding_idx must be within num_embeddings"),
    ({"num_hidden_layers": -1}, "states num_hidden_layers=-1"),
    ({"num_hidden_layers": 10**9}, "a model has 0 to 2000 layers"),
    ({"num_hidden_layers": 4}, r"lack 16 weights \(encoder.layer.3.*which would be random"),
    ({"num_hidden_layers": 2}, r"hold 16 weights \(encoder.layer.2.* no place: they belong to"),
    ({"auto_map": {"AutoConfig": "evil.Config"}, "model_type": "evil"}, "custom code"),
]


@pytest.mark.parametrize(("values", "message"), VALUES, ids=[str(values) for values, _ in VALUES])
def test_values_that_fit_no_model(folder, values, message):
    change(folder, **values)
    fails(folder, message)


@pytest.mark.parametrize("content", ['{"version', '{"model": 1}', "[" * 100_000])
def test_a_damaged_tokenizer(folder, content):
    (folder / "tokenizer.json").write_text(content)
    fails(folder, "cannot load the tokenizer of model")


def test_a_tokenizer_that_makes_no_tokens_is_named(folder):
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"] = {"[PAD]": 0}
    tokenizer["post_processor"] = None
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(EncoderError, match=r"tokenizer of model .* (no token of any|cannot read)"):
        TextEncoder(str(folder)).encode(["good film"])


@pytest.mark.parametrize("size", [0, 5, 500])
def test_truncated_weights(folder, size):
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(size)
    fails(folder, "cannot load the weights of model")


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    fails(folder, "the folder of model .* holds no weights")


def test_links_that_lead_to_themselves(folder):
    (folder / "extra.json").symlink_to("extra.json")
    assert Source(str(folder)).identity().startswith("sha256:")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("model.safetensors")
    fails(folder, "cannot load the weights")
    loop = folder.parent / "loop"
    loop.symlink_to("loop")
    fails(loop, "there is no model folder")


class Canary:
    """Leaves a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_pickled_weights_are_never_executed(folder, tmp_path, form):
    canary = tmp_path / "canary"
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    if form == "torch":
        torch.save({"weight": Canary(canary)}, path)
    else:
        path.write_bytes(pickle.dumps(Canary(canary)))
    fails(folder, "holds more than tensors, .* was not executed; save the weights as safetensors")
    assert not canary.exists()


def test_a_pickled_module_is_never_executed(folder, tmp_path):
    canary = tmp_path / "canary"
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    listed = [{"type": f"sentence_transformers.models.{k}", "path": p} for p, k in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(listed))
    for name, config in (("1_Pooling", {}), ("2_Dense", {"in_features": 16, "out_features": 4})):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    path = folder / "2_Dense" / "pytorch_model.bin"
    torch.save({"linear.weight": Canary(canary)}, path)
    with pytest.raises(EncoderError, match=r"weights in 2_Dense of .* was not executed"):
        TextEncoder(str(folder)).fit(())
    assert not canary.exists()
    torch.save({"linear.weight": torch.ones(4, 16), "linear.bias": torch.zeros(4)}, path)
    assert TextEncoder(str(folder)).encode(TEXTS).shape == (len(TEXTS), 4)


def test_heads_of_the_pretraining_are_no_foreign_weights(folder, caplog):
    from safetensors.torch import load_file, save_file

    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    heads = ("cls.predictions.bias", "cls.predictions.decoder.weight", "classifier.weight")
    tensors |= {name: torch.zeros(3) for name in heads}
    save_file(tensors, weights, metadata={"format": "pt"})
    assert TextEncoder(str(folder)).encode(TEXTS).shape == (len(TEXTS), 16)
    assert not [record for record in caplog.records if "no place" in record.message]
    save_file(tensors | {"embeddings.other": torch.zeros(3)}, weights, metadata={"format": "pt"})
    TextEncoder(str(folder)).fit(())
    said = [record.message for record in caplog.records if "no place" in record.message]
    assert len(said) == 1
    assert "hold 1 weights (embeddings.other, ...)" in said[0]


def test_a_sentence_encoder_may_lack_the_decoder(tmp_path):
    from safetensors.torch import load_file, save_file

    save_text_model(tmp_path / "t5", "t5")
    expected = TextEncoder(str(tmp_path / "t5")).encode(TEXTS)
    half = Path(shutil.copytree(tmp_path / "t5", tmp_path / "half"))
    tensors = load_file(half / "model.safetensors")
    kept = {name: t for name, t in tensors.items() if not name.startswith("decoder.")}
    assert len(kept) < len(tensors)
    save_file(kept, half / "model.safetensors", metadata={"format": "pt"})
    assert (TextEncoder(str(half)).encode(TEXTS) == expected).all()
