"""Every kind of model trains at every tuning, is opened by other libraries, and says the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.kinds import (
    BOTH,
    DECODERS,
    IMAGE_MODELS,
    SEEING,
    TEXT_MODELS,
    make_images,
    make_texts,
    save_model,
)
from w2s_data import apply_student, audit
from w2s_data.compute.context import Compute
from w2s_data.encoders import ImageEncoder, TextEncoder
from w2s_data.encoders.base import ItemError
from w2s_data.errors import EncoderError, InputError, MissingExtraError, NotApplicableError
from w2s_data.finetune import Student, fit_student
from w2s_data.finetune.levels.lora import adapted_layers, loading_options
from w2s_data.finetune.levels.whole import WholeNetwork
from w2s_data.finetune.settings import Adaptation, TrainingSettings
from w2s_data.stages.keeping import student_folder

KINDS = [
    *((name, "text") for name in (*TEXT_MODELS, BOTH, SEEING)),
    *((name, "image") for name in (*IMAGE_MODELS, BOTH, SEEING)),
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


def logits_elsewhere(folder, base, kind, items, tuning):
    """Logits (n, C) by the published interface of the other libraries, item by item."""
    import io

    from PIL import Image
    from safetensors.torch import load_file
    from transformers import AutoImageProcessor, AutoTokenizer

    model, source = open_elsewhere(folder, base), folder if tuning == "full" else base
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
        rows.append(vector @ head["head.weight"].T + head["head.bias"])
    return torch.stack(rows)


@pytest.mark.slow
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
    elsewhere = logits_elsewhere(folder, base, kind, fresh, tuning).softmax(-1)
    np.testing.assert_allclose(elsewhere, proba, atol=1e-5)


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_kind_is_read_as_the_encoders_read_it(models, rng, name, kind):
    """The pooled vectors of an untrained student are the features of its model."""
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


CPU = torch.device("cpu")


def network(folder, tuning="full", **changes):
    return WholeNetwork(Adaptation(str(folder), tuning=tuning, **changes), 2, CPU)


@pytest.mark.parametrize("name", [*DECODERS, SEEING])
def test_a_decoder_is_pooled_at_its_last_token_that_is_no_padding(models, name):
    texts = ["a film", "the film was a very great story"]
    student = network(models(name), kind="text")
    read = student.read(texts)
    alone = [student.inference(student.read([text]))[0] for text in texts]
    together = student.inference(read)
    assert student.recipe.pooling == "last"
    assert len(set(read.lengths)) == 2  # the shorter one is padded
    np.testing.assert_allclose(together, torch.stack(alone), atol=1e-5)


def test_tied_weights_are_written_once_and_stay_tied(models, rng, tmp_path):
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    items, labels = make_texts(rng, 16)
    train(models("qwen2"), items, labels, epochs=3, rate=1e-2).save(tmp_path / "student")
    stored = load_file(tmp_path / "student" / "model.safetensors")
    tables = [name for name in stored if "embed" in name or "lm_head" in name]
    assert tables == ["embed_tokens.weight"]
    before = load_file(models("qwen2") / "model.safetensors")["model.embed_tokens.weight"]
    assert not torch.equal(stored["embed_tokens.weight"], before)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    assert torch.equal(model.lm_head.weight, stored["embed_tokens.weight"])


def test_the_shared_embeddings_of_an_encoder_half_are_written_once(models, rng, tmp_path):
    from safetensors.torch import load_file

    items, labels = make_texts(rng, 16)
    train(models("t5"), items, labels).save(tmp_path / "student")
    stored = load_file(tmp_path / "student" / "model.safetensors")
    assert [name for name in stored if "embed_tokens" in name or "shared" in name] == [
        "shared.weight"
    ]
    assert not any("decoder" in name for name in stored)


def test_a_decoder_without_a_pad_token_leaves_one_behind(models, rng, tmp_path):
    from transformers import AutoTokenizer

    items, labels = make_texts(rng, 16)
    assert AutoTokenizer.from_pretrained(models("gpt2")).pad_token is None
    train(models("gpt2"), items, labels).save(tmp_path / "student")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "student")
    assert tokenizer.pad_token == tokenizer.eos_token
    assert tokenizer(items, padding=True, return_tensors="pt")["input_ids"].shape[0] == 16


@pytest.mark.parametrize("resized", [False, True])
def test_a_pad_token_that_was_added_changes_nothing(models, rng, tmp_path, resized):
    from transformers import AutoModel, AutoTokenizer

    items, _ = make_texts(rng, 6)
    before = network(models("llama"))
    expected = before.pooled(before.read(items), np.arange(6))
    tokenizer = AutoTokenizer.from_pretrained(models("llama"))
    tokenizer.add_special_tokens({"pad_token": "<another pad>"})
    model = AutoModel.from_pretrained(models("llama"))
    if resized:
        model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    after = network(tmp_path)
    found = after.pooled(after.read(items), np.arange(6))
    np.testing.assert_allclose(found.detach(), expected.detach(), atol=1e-5)


def test_batch_norms_keep_the_statistics_of_the_pretrained_model(models, rng):
    items, labels = make_images(rng, 16)
    student = train(models("resnet"), items, labels, epochs=2, rate=1e-2)
    tuned = student.model.models[0].network.backbone
    fresh = network(models("resnet")).backbone
    buffers = dict(fresh.named_buffers())
    assert all(torch.equal(own, buffers[name]) for name, own in tuned.named_buffers())
    scales = [name for name, _ in fresh.named_parameters() if name.endswith("normalization.weight")]
    parameters = dict(tuned.named_parameters())
    assert scales
    assert any(
        not torch.equal(parameters[name], own)
        for name, own in fresh.named_parameters()
        if name in scales
    )


@pytest.mark.parametrize("name", [*IMAGE_MODELS, BOTH])
def test_held_pixels_are_those_of_the_processor(models, rng, name):
    student = network(models(name), kind="image")
    items, _ = make_images(rng, 5)
    held, given = student.read(items), student.read(items, resident_bytes=10)
    assert held.pixels is not None
    assert given.pixels is None
    found = student.inference(held)
    np.testing.assert_allclose(found, student.inference(given), atol=1e-5)


def test_images_of_any_mode_and_files_that_are_none(models, rng, tmp_path):
    from PIL import Image

    pixels = rng.integers(0, 255, (20, 24), dtype=np.uint8)
    grey = Image.fromarray(pixels)
    deep = Image.fromarray(pixels.astype(np.uint16) * 257)
    grey.save(tmp_path / "grey.png")
    modes = [grey, grey.convert("RGBA"), grey.convert("P"), deep, tmp_path / "grey.png"]
    student = network(models("vit"))
    logits = student.inference(student.read([*modes, str(tmp_path / "grey.png")]))
    np.testing.assert_allclose(logits, logits[:1].expand(6, 2), atol=1e-5)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ItemError, match=r"cannot encode row 1 .*not an image in a known format"):
        student.read([grey, tmp_path / "text.png"])
    with pytest.raises(ItemError, match="not a path, encoded bytes or a PIL image but int"):
        student.read([1])


@pytest.mark.parametrize("name", ["convnext", "mobilenet_v2", "vit"])
def test_lower_states_of_image_models_make_weaker_students(models, rng, name):
    items, _ = make_images(rng, 4)
    student = network(models(name))
    whole = student.inference(student.read(items))
    for depth in range(1, student.n_layers):
        student.depth = depth
        lower = student.inference(student.read(items))
        assert lower.shape == (4, 2)
        assert not torch.allclose(lower, whole)


def test_a_model_of_texts_and_images_takes_what_the_items_are(models, rng, tmp_path):
    from w2s_data.finetune.levels.whole import kind_read

    both = Adaptation(str(models(BOTH)))
    files, _ = make_images(rng, 1)
    (tmp_path / "a.png").write_bytes(files[0])
    kinds = {
        "a film": "text",
        str(tmp_path / "a.png"): "image",
        files[0]: "image",
        "x" * 999: "text",
    }
    assert {item: kind_read(both, [item]) for item in kinds} == kinds
    assert kind_read(Adaptation(str(models("vit"))), ["a film"]) == "image"


@pytest.mark.parametrize(
    ("name", "kind", "tuning"), [("llama", "text", "lora"), ("vit", "image", "full")]
)
def test_activations_that_are_computed_again_change_nothing(models, rng, name, kind, tuning):
    items, labels = MAKE[kind](rng, 16)
    usual, again = (
        train(models(name), items, labels, tuning, gradient_checkpointing=on)
        for on in (False, True)
    )
    np.testing.assert_allclose(usual.predict_proba(items), again.predict_proba(items), atol=1e-5)


def test_models_that_cannot_compute_again_say_so(models):
    with pytest.raises(InputError, match="cannot compute activations again: leave out"):
        network(models("resnet"), gradient_checkpointing=True)


def test_an_image_that_changed_under_its_name_is_another_training(rng, tmp_path):
    from w2s_data.finetune.levels.store import digest_items

    files, _ = make_images(rng, 3)
    path = tmp_path / "a.png"
    path.write_bytes(files[0])
    before = digest_items([path])
    assert digest_items([str(path)]) == digest_items([files[0]]) == before
    path.write_bytes(files[1])
    assert digest_items([path]) != before
    assert digest_items(["a text"]) != digest_items(["another"])


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize(
    ("name", "pooling"), [("bert", "cls"), ("llama", None), ("t5", "max"), ("bert", "cls+mean")]
)
def test_a_tuned_model_is_pooled_the_same_as_features(models, rng, tmp_path, name, pooling):
    """By the encoders here, and by sentence-transformers, from the files in its folder."""
    items, labels = make_texts(rng, 16)
    student = train(models(name), items, labels, pooling=pooling, max_length=12)
    student.save(tmp_path / "student")
    tuned = Student.load(tmp_path / "student", device="cpu").model.network
    with torch.inference_mode():
        pooled = tuned.pooled(tuned.read(items), np.arange(16)).numpy()
    encoder = TextEncoder(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(encoder.encode(items), pooled, atol=1e-5)
    assert encoder.limit_ == 12
    library = pytest.importorskip("sentence_transformers")
    other = library.SentenceTransformer(str(tmp_path / "student"), device="cpu")
    np.testing.assert_allclose(other.encode(items), pooled, atol=1e-5)


# --- adapters ----------------------------------------------------------------------------------


def layers(models, name, **changes):
    part = network(models(name)).backbone
    return adapted_layers(part, Adaptation(str(models(name)), **changes))


def test_adapters_sit_on_linear_layers_and_single_pixels(models):
    assert {name.rpartition(".")[2] for name in layers(models, "llama")} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    assert not any("pooler" in name for name in layers(models, "bert"))
    # Depthwise convolutions have a group per channel, and patches are cut once.
    assert {name.rpartition(".")[2] for name in layers(models, "convnext")} == {
        "pwconv1",
        "pwconv2",
    }
    # Without linear layers every convolution that mixes channels does the work.
    resnet = layers(models, "resnet", rank=4)
    assert resnet
    assert all("convolution" in name for name in resnet)


BAD_ADAPTERS = [
    ({"rank": 17}, r"rank=17 is larger than every layer of model .* \(at most 16\)"),
    (
        {"rank": 9, "target_modules": ("k_proj",)},
        "larger than layer 'layers.0.self_attn.k_proj', wh",
    ),
    ({"target_modules": ("q_prj",)}, "'q_prj' is not in the model; did you mean 'q_proj'"),
    ({"target_modules": ("norm",)}, "'norm' is not a layer that adapters fit"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_ADAPTERS)
def test_adapters_that_do_not_fit(models, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        layers(models, "llama", **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("vit", {"pooling": "last"}, "pooling='last' is not one for image items; valid: mean"),
        ("bert", {"pooling": "pooler"}, "pooling='pooler' is not one for text items; valid: mean"),
        ("bert", {"kind": "image"}, "reads text items, but these are image items"),
    ],
)
def test_settings_that_do_not_fit_the_items(models, name, changes, message):
    with pytest.raises(InputError, match=message):
        network(models(name), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "median"}, "pooling must be"),
        ({"quantize": 3}, "quantize must be None or 4 or 8; got 3"),
        ({"target_modules": "q_proj"}, "target_modules must be None or a sequence of names"),
        (
            {"tuning": "full", "quantize": 4},
            "rounds weights that are not trained: use tuning 'lora'",
        ),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(InputError, match=message):
        Adaptation("model", **changes)


def test_a_tokenizer_of_another_model_and_weights_that_are_missing(models, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(models("llama"), tmp_path / "small")
    save_model(tmp_path / "small", "llama", vocab_size=40)
    student = network(tmp_path / "small")
    with pytest.raises(EncoderError, match="the tokenizer belongs to another model"):
        student.read(["the film was great"])
    shutil.copytree(models("llama"), tmp_path / "lacking")
    file = tmp_path / "lacking" / "model.safetensors"
    weights = load_file(file)
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(EncoderError, match=r"lack 1 weights .*would be random"):
        network(tmp_path / "lacking")


def test_a_text_without_a_token_is_named(models, tmp_path):
    import shutil

    from transformers import AutoTokenizer

    shutil.copytree(models("llama"), tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path / "model")
    with pytest.raises(
        ItemError, match=r"cannot encode row 1 \(''\): the tokenizer makes no token"
    ):
        network(tmp_path / "model").read(["good", ""])


# --- weights of 4 and 8 bits, which need a GPU --------------------------------------------------


@pytest.mark.parametrize("bits", [4, 8])
def test_rounded_weights_are_asked_of_bitsandbytes(monkeypatch, bits):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: True if name == "bitsandbytes" else found(name)
    )
    options = loading_options(Adaptation("model", quantize=bits), torch.device("cuda:0"))
    config = options["quantization_config"]
    assert (config.load_in_4bit, config.load_in_8bit) == (bits == 4, bits == 8)
    assert config.bnb_4bit_quant_type == "nf4"
    assert options["device_map"] == {"": torch.device("cuda:0")}
    assert loading_options(Adaptation("model"), CPU) == {}


def test_rounded_weights_where_they_cannot_be(monkeypatch):
    four = Adaptation("model", quantize=4)
    with pytest.raises(
        NotApplicableError, match="quantize=4 needs a CUDA device, and this is 'cpu'"
    ):
        loading_options(four, CPU)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"needs 'bitsandbytes'.*w2s-data\[train\]"):
        loading_options(four, torch.device("cuda:0"))


def test_adapters_train_over_rounded_weights(models, rng, monkeypatch):
    """A fake of bitsandbytes: linear layers whose weights transformers has rounded to 4 bits."""
    import transformers

    real = transformers.AutoModel.from_pretrained
    asked = {}

    def rounded(*args, **options):
        asked.update({name: options.pop(name) for name in ("quantization_config", "device_map")})
        model, info = real(*args, **options)
        model.is_loaded_in_4bit = True
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                step = module.weight.abs().max() / 7
                module.weight.data = (module.weight / step).round() * step
        return model, info

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", rounded)
    monkeypatch.setattr(
        "w2s_data.finetune.levels.whole.loading_options",
        lambda *_: {"quantization_config": "of 4 bits", "device_map": {"": "cpu"}},
    )
    items, labels = make_texts(rng, 16)
    student = train(models("llama"), items, labels, "lora", quantize=4)
    assert asked == {"quantization_config": "of 4 bits", "device_map": {"": "cpu"}}
    own = student.model.models[0].network
    assert all("lora_" in name or name.startswith("head.") for name in own.parameters())
    assert own.backbone.get_input_embeddings().weight.dtype == torch.float32
    assert np.isfinite(student.predict_proba(items)).all()


# --- from a run of images -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_of_images_trains_and_applies_whole_models(models, rng, tmp_path):
    import pandas as pd

    items, labels = make_images(rng, 160)
    table = pd.DataFrame({"image": items, "label": np.array(["low", "high"])[labels]})
    run = audit(
        table,
        columns={"item": "image", "label": "label"},
        weak="pixels",
        strong=str(models("vit")),
        output=tmp_path / "run",
        gain={
            "methods": ["naive"],
            "seeds": 1,
            "tuning": "full",
            "model": str(models("vit")),
            "epochs": 2,
            "controls": False,
        },
        report={"map": False},
        progress=False,
        **dict.fromkeys(("forecast", "groups", "select"), False),
    )
    compute = Compute(progress=False, device="cpu")
    path = tmp_path / "labels.parquet"
    frame = apply_student(run, table, student="naive", to=path, compute=compute).to_frame()
    student = Student.load(run.path / student_folder(run, "naive"), device="cpu")
    proba = frame.filter(like="proba / ").to_numpy()
    np.testing.assert_allclose(proba, student.predict_proba(items), atol=1e-5)
