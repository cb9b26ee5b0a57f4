"""Every kind of model trains at every tuning, is opened by other libraries, and says the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.kinds import BOTH, IMAGE_MODELS, TEXT_MODELS, make_images, make_texts, save_model
from w2s_data.encoders import ImageEncoder, TextEncoder
from w2s_data.finetune import Student, fit_student
from w2s_data.finetune.settings import Adaptation, TrainingSettings

KINDS = [
    *((name, "text") for name in (*TEXT_MODELS, BOTH)),
    *((name, "image") for name in (*IMAGE_MODELS, BOTH)),
]
MAKE = {"text": make_texts, "image": make_images}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Make the folder of a model once."""
    root = tmp_path_factory.mktemp("kinds")

    def folder(name):
        if not (root / name).exists():
            save_model(root / name, name)
        return root / name

    return folder


def train(folder, items, labels, tuning="full", *, epochs=1, rate=1e-3, **adaptation):
    settings = TrainingSettings(
        tuning=tuning,
        model=Adaptation(str(folder), **{"rank": 4, **adaptation}),
        epochs=epochs,
        batch_size=8,
        learning_rate=rate,
        device="cpu",
    )
    return fit_student(
        "naive", None, np.eye(2)[labels], settings=settings, items=items, random_state=0
    )


def open_elsewhere(folder, base):
    """The model as transformers and peft open it by themselves."""
    import peft
    import transformers

    how = json.loads((folder / "student.json").read_text())["opened_by"]
    names = {**vars(transformers), "AutoModel": transformers.AutoModel, **vars(peft)}
    class_name = how.replace("PeftModel.from_pretrained(", "").partition(".")[0]
    names[class_name] = getattr(transformers, class_name)
    return eval(how, {**names, "folder": str(folder), "base": str(base)}).eval()


def probabilities(model, folder, base, kind, items, tuning):
    """Probabilities by the published interface of the other libraries, item by item."""
    import io

    from PIL import Image
    from safetensors.torch import load_file
    from transformers import AutoImageProcessor, AutoTokenizer

    source = folder if tuning == "full" else base
    head = load_file(folder / "student.safetensors")
    pooling = json.loads((folder / "student.json").read_text())["reading"]["pooling"]
    rows = []
    for item in items:
        if kind == "text":
            ids = AutoTokenizer.from_pretrained(source)(item)["input_ids"]
            inputs = {"input_ids": torch.tensor([ids])}
        else:
            processor = AutoImageProcessor.from_pretrained(source, backend="pil")
            image = Image.open(io.BytesIO(item)).convert("RGB")
            inputs = dict(processor(images=[image], return_tensors="pt"))
        with torch.inference_mode():
            output = model(**inputs)
        hidden = output.last_hidden_state[0]
        vector = {
            "mean": lambda hidden=hidden: hidden.mean(0),
            "last": lambda hidden=hidden: hidden[-1],
            "pooler": lambda output=output: output.pooler_output.flatten(),
        }[pooling]()
        rows.append((vector @ head["head.weight"].T + head["head.bias"]).softmax(-1).numpy())
    return np.stack(rows)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing. is deprecated")  # in peft
@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_kind_is_tuned_saved_and_opened(models, rng, tmp_path, name, kind, tuning):
    base, folder = models(name), tmp_path / "student"
    items, labels = MAKE[kind](rng, 16)
    student = train(base, items, labels, tuning)
    fresh, _ = MAKE[kind](rng, 6)
    proba = student.predict_proba(fresh)
    assert proba.std(axis=0).max() > 1e-6  # of a part that is not read all would be the same
    student.save(folder)
    loaded = Student.load(folder, device="cpu")
    np.testing.assert_allclose(loaded.predict_proba(fresh), proba, atol=1e-5)
    model = open_elsewhere(folder, base)
    elsewhere = probabilities(model, folder, base, kind, fresh, tuning)
    np.testing.assert_allclose(elsewhere, proba, atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_kind_is_read_as_the_encoders_read_it(models, rng, name, kind):
    """The pooled vectors of an untrained student are the features of its model."""
    from w2s_data.finetune.levels.whole import WholeNetwork

    items, _ = MAKE[kind](rng, 5)
    adaptation = Adaptation(str(models(name)), tuning="full", kind=kind)
    network = WholeNetwork(adaptation, 2, torch.device("cpu"))
    network.backbone.eval()
    with torch.inference_mode():
        pooled = network.pooled(network.read(items), np.arange(5)).numpy()
    encoder = {"text": TextEncoder, "image": ImageEncoder}[kind](str(models(name)), device="cpu")
    np.testing.assert_allclose(pooled, encoder.encode(items), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "tuning", "rate"),
    [
        ("qwen2", "text", "lora", 1e-2),
        ("vit", "image", "lora", 1e-2),
        ("resnet", "image", "full", 1e-3),
    ],
)
def test_kinds_learn(models, rng, name, kind, tuning, rate):
    items, labels = MAKE[kind](rng, 128)
    student = train(models(name), items, labels, tuning, epochs=12, rate=rate, rank=8)
    fresh, truth = MAKE[kind](rng, 60)
    assert (student.predict(fresh) == truth).mean() > 0.8


def test_adapters_fit_layers_whose_padding_the_model_computes(rng, tmp_path):
    base = save_model(tmp_path / "base", "mobilenet_v2", tf_padding=True)
    items, labels = make_images(rng, 16)
    student = train(base, items, labels, "lora")
    student.save(tmp_path / "student")
    loaded = Student.load(tmp_path / "student", device="cpu")
    np.testing.assert_allclose(loaded.predict_proba(items), student.predict_proba(items), atol=1e-5)
