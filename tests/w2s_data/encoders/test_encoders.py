"""Encoders: contract, known vectors, hidden layers against the whole model, bad input."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.w2s_data.encoders.tiny import (
    N_LAYERS,
    TEXTS,
    WORDS,
    save_image_model,
    save_model,
    save_tokenizer,
    text_config,
)
from w2s_data.encoders import (
    Encoder,
    ImageEncoder,
    ItemError,
    PcaEncoder,
    PixelEncoder,
    TextEncoder,
    TfidfEncoder,
    make_encoder,
    pretrained,
)
from w2s_data.errors import DegenerateDataWarning, EmptyDataError, EncoderError

DECODERS = ("gpt2", "llama")
TEXT_MODELS = ("bert", *DECODERS)
IMAGE_MODELS = ("vit", "clip")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of tiny random models, made when first asked for."""
    root = tmp_path_factory.mktemp("models")

    def folder(name):
        path = root / name
        if not path.exists():
            if name in IMAGE_MODELS:
                save_image_model(path, name)
            else:
                save_model(path, text_config(name))
                decoder = name in DECODERS
                save_tokenizer(
                    path, marks=not decoder, pad=not decoder, side="left" if decoder else "right"
                )
        return str(path)

    return folder


def png(image, file_format="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()


def pictures(count=5, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 20, 24, 3), dtype=np.uint8)
    return [Image.fromarray(array) for array in pixels]


def whole_model_states(folder, texts, name):
    """All hidden states of each text alone, from the model as transformers runs it."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    if name == "t5":
        model = model.get_encoder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    states = []
    for text in texts:
        ids = tokenizer(text, return_token_type_ids=False)["input_ids"] or [tokenizer.eos_token_id]
        with torch.inference_mode():
            out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        states.append([state[0].numpy() for state in out.hidden_states])
    return states


POOL = {"mean": lambda h: h.mean(axis=0), "cls": lambda h: h[0], "last": lambda h: h[-1]}


# --- the contract, over every registered class --------------------------------------------------

ENCODERS = {
    "TfidfEncoder": lambda _: TfidfEncoder(n_components=2, min_df=1),
    "PixelEncoder": lambda _: PixelEncoder(size=3),
    "PcaEncoder": lambda _: PcaEncoder(n_components=2),
    "TextEncoder": lambda models: TextEncoder(models("bert")),
    "ImageEncoder": lambda models: ImageEncoder(models("vit")),
}


def concrete(cls):
    for sub in cls.__subclasses__():
        if sub.__module__.startswith("w2s_data.") and not sub.__abstractmethods__:
            yield sub.__name__
        yield from concrete(sub)


def test_every_encoder_is_in_the_contract_list():
    assert set(concrete(Encoder)) == set(ENCODERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_contract(name, models):
    encoder = ENCODERS[name](models)
    items = TEXTS if encoder.kind == "text" else pictures()
    settings = encoder.get_params()
    assert clone(encoder).get_params() == settings
    assert encoder.fit(items) is encoder
    assert encoder.get_params() == settings
    vectors = encoder.encode(items)
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == len(items)
    assert np.isfinite(vectors).all()
    np.testing.assert_array_equal(encoder.transform(items), vectors)
    np.testing.assert_array_equal(encoder.encode(items), vectors)
    np.testing.assert_allclose(encoder.encode(items[::-1]), vectors[::-1], rtol=1e-4, atol=1e-5)
    assert encoder.encode([]).shape == (0, vectors.shape[1])
    done = []
    encoder.encode(items, advance=done.append)
    assert sum(done) == len(items)
    spec = encoder.spec()
    assert json.loads(json.dumps(spec)) == spec
    assert spec["encoder"] == name
    with pytest.raises(ItemError, match=r"row 1 .*not .* but int"):
        encoder.encode([items[0], 7])
    with pytest.raises(EncoderError, match="sequence"):
        encoder.encode("text")


def sklearn_checks():
    """Checks of the interface; none is expected to fail.

    scikit-learn warns that it leaves out its checks on tables of numbers, which do not apply to
    sequences of texts and images, as with its own CountVectorizer.
    """
    cheap = [TfidfEncoder(), PixelEncoder(), PcaEncoder()]
    encoders = [*cheap, TextEncoder("a/model"), ImageEncoder("a/model")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        return parametrize_with_checks(encoders)


@sklearn_checks()
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_encoders_name_their_columns_and_fill_data_frames():
    texts = pd.Series(["good film", "good day", "bad film", "bad day"], index=list("abcd"))
    encoder = TfidfEncoder(n_components=2)
    with pytest.raises(NotFittedError):
        encoder.get_feature_names_out()
    frame = encoder.set_output(transform="pandas").fit_transform(texts)
    assert frame.columns.tolist() == ["tfidfencoder0", "tfidfencoder1"]
    assert frame.index.tolist() == texts.index.tolist()
    assert PixelEncoder(size=2).get_feature_names_out()[-1] == "pixelencoder3"


def test_tables_of_numbers_are_refused_by_name():
    sparse = scipy.sparse.csr_array(np.eye(3))
    for table in (sparse, np.eye(3), 3.0):
        with pytest.raises(EncoderError, match=r"but (coo_array|list|csr_array)|got float"):
            TfidfEncoder().fit(table)


# --- TF-IDF and pixels --------------------------------------------------------------------------


def test_tfidf_is_standardised_and_reproducible():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size=6)) for _ in range(200)]
    encoder = TfidfEncoder(n_components=5).fit(texts)
    vectors = encoder.encode(texts)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(vectors.std(axis=0), 1, atol=1e-5)
    again = TfidfEncoder(n_components=5).fit(texts)
    assert again.spec() == encoder.spec()
    np.testing.assert_array_equal(again.encode(texts), vectors)
    assert TfidfEncoder(n_components=5).fit(texts[1:]).spec() != encoder.spec()
    assert TfidfEncoder(n_components=5, random_state=1).fit(texts).spec() != encoder.spec()


def test_tfidf_keeps_what_the_texts_span():
    with pytest.warns(DegenerateDataWarning, match="keeps 2 of 64 components"):
        encoder = TfidfEncoder(min_df=1, ngram_range=(1, 1)).fit(["good film", "good", "film film"])
    assert encoder.encode(["nothing known", ""]).shape == (2, 2)
    assert np.isfinite(encoder.encode(["nothing known", ""])).all()


def test_tfidf_of_equal_texts_is_zero():
    with pytest.warns(DegenerateDataWarning, match="only zeros: 4 texts hold 3 terms"):
        encoder = TfidfEncoder().fit(["same text"] * 4)
    np.testing.assert_array_equal(encoder.encode(["same text", "other"]), 0)


def test_tfidf_refuses_what_it_cannot_learn_from():
    with pytest.raises(EncoderError, match="no terms in 2 texts with min_df=2"):
        TfidfEncoder(analyzer="word").fit(["one", "two"])
    with pytest.raises(EncoderError, match="no terms in 2 texts, of which 2 are empty"):
        TfidfEncoder(min_df=1).fit(["", ""])
    with pytest.raises(EmptyDataError):
        TfidfEncoder().fit([])
    with pytest.raises(EncoderError, match="n_components"):
        TfidfEncoder(n_components=0).fit(TEXTS)
    with pytest.raises(ItemError, match="row 1 "):
        TfidfEncoder().fit(pd.Series(["good", None]))
    with pytest.raises(NotFittedError):
        TfidfEncoder().encode(TEXTS)
    with pytest.raises(NotFittedError):
        TfidfEncoder().spec()


def test_pixels_are_area_averages():
    blocks = np.array([[0, 255], [51, 102]], dtype=np.uint8)
    image = Image.fromarray(np.kron(blocks, np.ones((4, 4), dtype=np.uint8)))
    np.testing.assert_allclose(PixelEncoder(size=2).encode([image])[0], [0, 1, 0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(PixelEncoder(size=1).encode([image])[0], [0.4], rtol=1e-6)
    assert PixelEncoder().encode([image]).shape == (1, 64)


def test_pixels_of_every_form_of_an_image(tmp_path):
    image = pictures(1)[0]
    path = tmp_path / "image.png"
    image.save(path)
    forms = [image, path, str(path), path.read_bytes()]
    vectors = PixelEncoder().encode(forms)
    np.testing.assert_array_equal(vectors, np.tile(vectors[0], (4, 1)))


def test_components_are_singular_directions_of_centred_pixels():
    learned, new = pictures(12), pictures(3, seed=1)
    pixels = PixelEncoder(size=4).encode(learned).astype(float)
    mean = pixels.mean(axis=0)
    directions = np.linalg.svd(pixels - mean, full_matrices=False)[2][:3]
    expected = (PixelEncoder(size=4).encode(new) - mean) @ directions.T
    expected /= ((pixels - mean) @ directions.T).std(axis=0)
    encoder = PcaEncoder(n_components=3, size=4).fit(learned)
    np.testing.assert_allclose(np.abs(encoder.encode(new)), np.abs(expected), atol=1e-3)
    alike = [learned[0]] * 3
    np.testing.assert_array_equal(PcaEncoder().fit(alike).encode(alike), 0)
    with pytest.raises(EmptyDataError, match="two images or more; got 1"):
        PcaEncoder().fit(alike[:1])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_white_is_one_in_every_mode(mode):
    if mode == "I;16":
        white = Image.fromarray(np.full((4, 4), 65535, dtype=np.uint16))
    else:
        white = Image.new("RGB", (4, 4), "white").convert(mode)
    np.testing.assert_allclose(PixelEncoder(size=2).encode([white]), 1)


def test_a_transparent_palette_image_is_read():
    image = Image.new("P", (4, 4))
    image.info["transparency"] = bytes(256)
    assert np.isfinite(PixelEncoder(size=2).encode([png(image), image])).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [lambda _: PixelEncoder(), lambda models: ImageEncoder(models("vit"))]
)
def test_images_that_cannot_be_decoded_are_named(make, models, tmp_path):
    encoder = make(models)
    good = pictures(1)[0]
    whole = png(good)
    broken = tmp_path / "broken.png"
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ItemError, match=r"row 1 \('.*broken.png'\): cannot be decoded") as caught:
        encoder.encode([good, broken])
    assert caught.value.positions == [1]
    with pytest.raises(ItemError, match=r"row 2 \(9 bytes\): not an image"):
        encoder.encode([good, good, b"not image"])
    with pytest.raises(ItemError, match=r"row 0 .*No such file"):
        encoder.encode([tmp_path / "absent.png"])


def test_pixel_size_is_checked():
    with pytest.raises(EncoderError, match="size"):
        PixelEncoder(size=0).encode(pictures(1))


# --- pretrained text models ---------------------------------------------------------------------


@pytest.mark.usefixtures("in_float32")
@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOL)
@pytest.mark.parametrize("name", TEXT_MODELS)
def test_hidden_layers_equal_the_whole_models(name, pooling, models):
    states = whole_model_states(models(name), TEXTS, name)
    for layer in (0, 1, -2, -1):
        encoder = TextEncoder(models(name), layer=layer, pooling=pooling, max_tokens=30)
        expected = np.stack([POOL[pooling](text_states[layer]) for text_states in states])
        np.testing.assert_allclose(encoder.encode(TEXTS), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("in_float32")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["albert", "t5"])
def test_models_of_other_shapes(name, models):
    states = whole_model_states(models(name), TEXTS, name)
    for layer in (0, 1, -1):
        expected = np.stack([text_states[layer].mean(axis=0) for text_states in states])
        vectors = TextEncoder(models(name), layer=layer).encode(TEXTS)
        np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXT_MODELS)
def test_layers_above_are_dropped_and_not_computed(name, models):
    from torch.nn import ModuleList

    encoder = TextEncoder(models(name), layer=1).fit(())
    lists = [m for m in encoder.backbone_.model.modules() if isinstance(m, ModuleList)]
    layers = max(lists, key=len)
    assert len(layers) == 2
    ran = []
    for index, layer in enumerate(layers):
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
    encoder.encode(["good"])
    assert ran == [0]


@pytest.mark.usefixtures("in_float32")
@pytest.mark.slow
def test_batches_do_not_change_the_result(models):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(0, 20))) for _ in range(60)]
    one_batch = TextEncoder(models("bert"), max_tokens=100_000).encode(texts)
    single = TextEncoder(models("bert"), max_tokens=1).encode(texts)
    np.testing.assert_allclose(one_batch, single, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_settings_of_text_encoder(models):
    folder = models("bert")
    unit = TextEncoder(folder, normalize=True).encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
    cut = TextEncoder(folder, max_length=3)
    np.testing.assert_allclose(cut.encode(["good film"]), cut.encode(["good"]), rtol=1e-5)
    bf16 = TextEncoder(folder, dtype="bfloat16").encode(TEXTS)
    assert bf16.dtype == np.float32
    np.testing.assert_allclose(bf16, TextEncoder(folder).encode(TEXTS), atol=0.1)
    changed = TextEncoder(folder)
    last = changed.encode(TEXTS)
    first = changed.set_params(layer=0).encode(TEXTS)
    assert np.abs(first - last).max() > 0.01


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("amx", [False, True])
def test_a_cpu_that_multiplies_bfloat16_uses_it(bf16, amx, models, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    encoder = TextEncoder(models("bert"), device="cpu")
    expected = "bfloat16" if bf16 or amx else "float32"
    assert encoder.spec()["dtype"] == encoder.resolved_dtype() == expected
    assert encoder.fit(()).backbone_.dtype == getattr(torch, expected)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_cpu_that_imitates_bfloat16_says_so(bf16, models, monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    TextEncoder(models("bert"), device="cpu", dtype="bfloat16").fit(())
    assert ("does not multiply bfloat16 in hardware" in caplog.text) is not bf16


@pytest.mark.usefixtures("in_float32")
@pytest.mark.slow
def test_spec_follows_settings_and_weights(models, tmp_path):
    folder = models("bert")
    spec = TextEncoder(folder).spec()
    assert spec["layer"] == N_LAYERS
    assert spec["dtype"] == "float32"
    assert TextEncoder(folder, layer=N_LAYERS, max_tokens=7).spec() == spec
    for change in ({"layer": 0}, {"pooling": "cls"}, {"max_length": 5}, {"dtype": "bfloat16"}):
        assert TextEncoder(folder, **change).spec() != spec
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    assert TextEncoder(str(moved)).spec()["model"] == spec["model"]
    loaded = TextEncoder(str(moved)).fit([])
    weights = moved / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert TextEncoder(str(moved)).spec()["model"] != spec["model"]
    assert loaded.spec()["model"] == spec["model"]  # what it computes with
    assert loaded.fit([]).spec()["model"] != spec["model"]


HUB_RUN = """
import sys
from w2s_data import TextEncoder
print(TextEncoder("org/tiny").spec()["model"], TextEncoder("org/tiny").encode(["good"]).shape)
"""


@pytest.mark.slow
def test_a_hub_model_is_known_by_its_commit(models, tmp_path):
    commit = "c" * 40
    repository = tmp_path / "hub" / "models--org--tiny"
    shutil.copytree(models("bert"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    ran = subprocess.run(
        [sys.executable, "-c", HUB_RUN],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == f"org/tiny@{commit} (1, 16)"


@pytest.fixture
def one_core():
    """One batch at a time."""
    import torch

    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(cores)


@pytest.mark.slow
@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("error", ["torch", "text"])
def test_out_of_memory_halves_the_batch(error, models, monkeypatch, caplog):
    import torch

    texts = ["good film"] * 16
    encoder = TextEncoder(models("bert"), max_tokens=64).fit(())
    expected = encoder.encode(texts)
    whole = encoder.backbone_.model.forward
    sizes = []

    def scarce(input_ids, **kwargs):
        sizes.append(input_ids.numel())
        if input_ids.numel() > 16:
            if error == "torch":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            raise RuntimeError("MPS backend out of memory")
        return whole(input_ids=input_ids, **kwargs)

    monkeypatch.setattr(encoder.backbone_.model, "forward", scarce)
    np.testing.assert_allclose(encoder.encode(texts), expected, rtol=1e-5, atol=1e-6)
    assert sizes == [64, 32, 16, 16, 16, 16]
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory: halving the batch to 32 tokens",
        "out of memory: halving the batch to 16 tokens",
    ]
    sizes.clear()
    encoder.encode(texts)  # what was learnt about memory is kept
    assert sizes == [16, 16, 16, 16]


@pytest.mark.slow
def test_vectors_do_not_depend_on_the_cores(models, minilm_path):
    import torch

    cores = torch.get_num_threads()
    words = ["what", "a", "piece", "of", "work", "is", "man"]
    texts = [" ".join(words[n % 7 :] * (1 + n % 9)) + f" {n}" for n in range(60)]
    for model in (models("bert"), str(minilm_path)):
        found = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            try:
                encoder = TextEncoder(model, max_tokens=512, device="cpu")
                found.append(encoder.encode(texts).tobytes())
                assert torch.get_num_threads() == number
            finally:
                torch.set_num_threads(cores)
        assert len(set(found)) == 1


@pytest.fixture
def two_devices(monkeypatch):
    """Two devices that share the batches; both are the CPU."""
    cpu = torch.device("cpu")
    monkeypatch.setattr(pretrained, "every_device", lambda _: [cpu, cpu])


@pytest.mark.slow
@pytest.mark.usefixtures("two_devices")
def test_devices_share_the_batches_and_change_nothing(models, monkeypatch):
    texts = [" ".join(["good", "film"] * (1 + n % 7)) for n in range(60)]
    encoder, counted = TextEncoder(models("bert"), max_tokens=32, device="cpu").fit(()), []
    both = encoder.replicas_
    encoder.replicas_ = both[:1]
    one = encoder.encode(texts)
    encoder.replicas_ = both
    ready = threading.Barrier(2, timeout=30)
    for replica in encoder.replicas_:
        whole, first = replica.hidden, [True]

        def hidden(inputs, whole=whole, first=first):
            if first:
                first.clear()
                ready.wait()  # neither device may finish before the other has begun
            return whole(inputs)

        monkeypatch.setattr(replica, "hidden", hidden)
    assert encoder.encode(texts, advance=counted.append).tobytes() == one.tobytes()
    assert sum(counted) == 60
    assert encoder.replicas_[0].model is not encoder.replicas_[1].model


@pytest.mark.slow
@pytest.mark.usefixtures("two_devices")
def test_memory_that_runs_out_on_one_of_two_devices(models, monkeypatch):
    texts = ["good film"] * 16
    encoder = TextEncoder(models("bert"), max_tokens=64, device="cpu").fit(())
    expected = encoder.encode(texts)
    whole = encoder.backbone_.hidden

    def scarce(inputs):
        if inputs["input_ids"].numel() > 16:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return whole(inputs)

    monkeypatch.setattr(encoder.replicas_[1], "hidden", scarce)
    monkeypatch.setattr(encoder.backbone_, "hidden", scarce)
    np.testing.assert_allclose(encoder.encode(texts), expected, rtol=1e-5, atol=1e-6)
    assert encoder.budget_ == 16


@pytest.mark.slow
@pytest.mark.usefixtures("two_devices")
def test_a_device_that_is_lost_is_one_line(models, monkeypatch):
    encoder = TextEncoder(models("bert"), max_tokens=8, device="cpu").fit(())

    def lost(_):
        raise RuntimeError("CUDA error: unspecified launch failure\nCompile with ...")

    for replica in encoder.replicas_:
        monkeypatch.setattr(replica, "hidden", lost)
    with pytest.raises(
        EncoderError, match=r"cpu failed \(CUDA error: [a-z ]+\); finished features"
    ):
        encoder.encode(["good film"] * 16)


@pytest.mark.slow
def test_a_device_on_which_the_model_does_not_run_is_one_line(models, monkeypatch):
    def no_kernels(*_):
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")

    monkeypatch.setattr(pretrained.Backbone, "drop_unneeded_layers", no_kernels)
    with pytest.raises(EncoderError, match=r"run on 'cpu' \(CUDA error: no kernel [a-z ]+\): use"):
        TextEncoder(models("bert"), device="cpu").fit(())


@pytest.mark.slow
def test_one_item_beyond_memory_is_named(models, monkeypatch):
    encoder = TextEncoder(models("bert")).fit(())

    def full(**_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(encoder.backbone_.model, "forward", full)
    with pytest.raises(ItemError, match=r"row 1 \('good film'\): does not fit alone"):
        encoder.encode(["good", "good film"])

    def broken(**_):
        raise RuntimeError("something else")

    monkeypatch.setattr(encoder.backbone_.model, "forward", broken)
    with pytest.raises(RuntimeError, match="something else"):
        encoder.encode(["good"])


@pytest.mark.slow
def test_vectors_that_are_not_finite_are_named(models, monkeypatch):
    import torch

    encoder = TextEncoder(models("bert")).fit(())
    whole = encoder.backbone_.hidden

    def overflowing(inputs):
        hidden = whole(inputs)
        hidden[(inputs["input_ids"] == 4 + WORDS.index("bad")).any(dim=1)] = torch.nan
        return hidden

    monkeypatch.setattr(encoder.backbone_, "hidden", overflowing)
    with pytest.raises(ItemError, match=r"row 2 \('bad'\): TextEncoder gave NaN"):
        encoder.encode(["good", "film", "bad"])


@pytest.mark.slow
def test_bad_models_get_one_line(models, tmp_path):
    folder = Path(models("bert"))
    cases = {
        str(folder.with_name("brt")): r"no model folder .*did you mean '.*bert'",
        "./absent/model": "there is no model folder",
        "nobody/no-such-model": "cannot load the configuration of model 'nobody/no-such-model'",
        str(tmp_path): "cannot load the",
    }
    for model, message in cases.items():
        with pytest.raises(EncoderError, match=message) as caught:
            TextEncoder(model).spec()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
    with pytest.raises(EncoderError, match=r"layer 9 is outside the model's 3 layers"):
        TextEncoder(str(folder), layer=9).encode(TEXTS)
    with pytest.raises(EncoderError, match="did you mean 'mean'"):
        TextEncoder(str(folder), pooling="meen").fit(())
    with pytest.raises(EncoderError, match="did you mean 'float16'"):
        TextEncoder(str(folder), dtype="float15").fit(())
    with pytest.raises(EncoderError, match="max_length must be None or an integer >= 1"):
        TextEncoder(str(folder), max_length=0).fit(())
    with pytest.raises(EncoderError, match="max_length=50 is beyond the 32 positions"):
        TextEncoder(str(folder), max_length=50).fit(())


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "renamed"])
def test_damaged_weights_are_refused(damage, models, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = Path(shutil.copytree(models("bert"), tmp_path / "damaged"))
    weights = folder / "model.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
        message = "cannot load the weights"
    else:
        tensors = load_file(weights)
        tensors["other"] = tensors.pop("embeddings.word_embeddings.weight")
        save_file(tensors, weights, metadata={"format": "pt"})
        message = r"lack 1 weights \(embeddings.word_embeddings.weight"
    with pytest.raises(EncoderError, match=message):
        TextEncoder(str(folder)).fit(())


@pytest.mark.slow
def test_loading_draws_no_bar_and_leaves_settings_alone(models, capfd):
    from transformers.utils import logging as theirs

    before = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    TextEncoder(models("bert")).fit(())
    assert capfd.readouterr().err == ""
    assert (theirs.get_verbosity(), theirs.is_progress_bar_enabled()) == before


# --- pretrained image models --------------------------------------------------------------------


@pytest.mark.usefixtures("in_float32")
@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_image_layers_equal_the_whole_models(name, models):
    import torch
    from transformers import AutoImageProcessor, AutoModel

    images = pictures()
    processor = AutoImageProcessor.from_pretrained(models(name), backend="pil")
    model = AutoModel.from_pretrained(models(name)).eval()
    vision = model.vision_model if name == "clip" else model
    with torch.inference_mode():
        out = vision(**processor(images=images, return_tensors="pt"), output_hidden_states=True)
    states = [*out.hidden_states[:-1], out.last_hidden_state]
    for layer in (0, 1, N_LAYERS, -1, -2):
        for pooling in ("mean", "cls"):
            encoder = ImageEncoder(models(name), layer=layer, pooling=pooling, batch_size=2)
            expected = np.stack([POOL[pooling](hidden.numpy()) for hidden in states[layer]])
            np.testing.assert_allclose(encoder.encode(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_bad_image_models_get_one_line(models):
    with pytest.raises(EncoderError, match="reads text items, but these are image items"):
        ImageEncoder(models("bert")).fit(())
    with pytest.raises(EncoderError, match=r"pooling must be 'auto', .* or 'pooler'; got 'last'"):
        ImageEncoder(models("vit"), pooling="last").fit(())
    with pytest.raises(EncoderError, match="batch_size"):
        ImageEncoder(models("vit"), batch_size=0).fit(())


# --- names --------------------------------------------------------------------------------------


def test_encoders_by_name():
    assert make_encoder("tfidf", "text").get_params() == TfidfEncoder().get_params()
    assert make_encoder("tfidf:7", "text").n_components == 7
    assert make_encoder("pixels:4", "image").size == 4
    model = make_encoder("org/model@-2", "text", pooling="last")
    assert (model.model, model.layer, model.pooling) == ("org/model", -2, "last")
    assert make_encoder("some/folder", "image").get_params()["layer"] == -1
    assert isinstance(make_encoder("some/folder", "image"), ImageEncoder)


def test_a_folder_may_hold_an_at_sign(tmp_path):
    folder = tmp_path / "model@v2"
    folder.mkdir()
    assert make_encoder(str(folder), "text").model == str(folder)
    assert make_encoder(f"{folder}@1", "text").layer == 1


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("tfidff", "text", "did you mean 'tfidf'"),
        ("pixel:4", "image", "did you mean 'pixels'"),
        ("tfidf:many", "text", "n_components must be an integer; got 'many'"),
        ("org/model@last", "text", "layer after '@' must be an integer; got 'last'"),
        ("tfidf", "image", "reads text items, but these are image items; use 'pca', 'pixels'"),
        ("pixels", "text", "reads image items, but these are text items; use 'tfidf'"),
        ("tfidf", "texts", "no kind of item 'texts'; did you mean 'text'"),
    ],
)
def test_bad_names(text, kind, message):
    with pytest.raises(EncoderError, match=message):
        make_encoder(text, kind)


# --- a real model -------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_float32")
@pytest.mark.slow
def test_minilm_equals_sentence_transformers(minilm_path):
    library = pytest.importorskip("sentence_transformers", reason="no sentence-transformers")
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(0, 30))) for _ in range(64)]
    theirs = library.SentenceTransformer(str(minilm_path), device="cpu").encode(texts)
    ours = TextEncoder(str(minilm_path), device="cpu", normalize=True).encode(texts)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
