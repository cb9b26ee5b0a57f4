"""Models in other runtimes: the vectors of torch, made once, and what happens where they fail."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from tests.w2s_data.encoders.tiny import (
    TEXTS,
    save_image_model,
    save_text_model,
)
from w2s_data import ImageEncoder, TextEncoder
from w2s_data.encoders import agreement, exports, runtimes
from w2s_data.encoders.agreement import Agreement, measure, sample_of
from w2s_data.errors import EncoderError, MissingExtraError
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.io import CACHE


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache folder of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv(CACHE, str(folder))
        yield folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return str(save_text_model(tmp_path_factory.mktemp("bert")))


@pytest.fixture(params=list(runtimes.RUNTIMES))
def backend(request):
    for package in runtimes.RUNTIMES[request.param].packages:
        pytest.importorskip(package, reason=f"the extra {request.param!r} is not installed")
    return request.param


@pytest.fixture
def onnx():
    for package in runtimes.OnnxRuntime.packages:
        pytest.importorskip(package, reason="the extra 'onnx' is not installed")


def no_export(*_):
    raise AssertionError("exported once more")


@pytest.mark.slow
def test_vectors_are_those_of_torch_and_the_export_is_kept(bert, backend, monkeypatch, caplog):
    exact = TextEncoder(bert, dtype="float32").encode(TEXTS)
    encoder = TextEncoder(bert, backend=backend, dtype="float32")
    assert encoder.spec() == TextEncoder(bert, dtype="float32").spec() | {"backend": backend}
    np.testing.assert_allclose(encoder.encode(TEXTS), exact, atol=1e-4)
    # Texts in other numbers and lengths, and one at a time.
    longer = [" ".join(TEXTS[:4])] * 7 + TEXTS
    wanted = TextEncoder(bert, dtype="float32").encode(longer)
    np.testing.assert_allclose(encoder.encode(longer), wanted, atol=1e-4)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, exact, atol=1e-4)
    monkeypatch.setattr(exports, "_write", no_export)
    again = TextEncoder(bert, backend=backend, dtype="float32").encode(TEXTS)
    np.testing.assert_array_equal(again, encoder.encode(TEXTS))
    assert "cannot be exported" not in caplog.text


@pytest.mark.slow
def test_images_and_lower_layers_are_exported(tmp_path):
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    save_image_model(tmp_path, "vit")
    images = np.random.default_rng(0).integers(0, 256, (5, 20, 24, 3), dtype=np.uint8)
    items = [Image.fromarray(image) for image in images]
    exact, ours = (
        ImageEncoder(str(tmp_path), layer=2, dtype="float32", backend=name, batch_size=3)
        for name in ("torch", "openvino")
    )
    np.testing.assert_allclose(ours.encode(items), exact.encode(items), atol=1e-4)
    assert ours.spec()["backend"] == "openvino"


@pytest.mark.slow
@pytest.mark.usefixtures("onnx")
def test_int8_is_compared_with_float32(bert, caplog):
    texts = [f"{text} {i}" for i in range(20) for text in TEXTS]
    labels = [i % len(TEXTS) for i in range(len(texts))]
    encoder = TextEncoder(bert, backend="onnx", dtype="int8", min_agreement=0)
    with caplog.at_level("INFO", logger="w2s_data"):
        encoder.fit(texts, labels)
    found = encoder.agreement_
    assert "in int8: mean cosine with float32" in caplog.text
    exact = TextEncoder(bert, dtype="float32").encode(texts)
    ours = encoder.encode(texts)
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(ours, axis=1)
    assert found.cosine.value == pytest.approx(
        ((exact * ours).sum(axis=1) / norms).mean(), abs=1e-4
    )
    assert found.exact_accuracy > 0.9
    assert any("vectors in int8: mean cosine" in note for note in encoder.notes())
    assert encoder.spec()["dtype"] == "int8"
    strict = TextEncoder(bert, backend="onnx", dtype="int8", min_agreement=1)
    for _ in range(2):  # a second call is no way around
        with pytest.raises(
            EncoderError, match=r"int8 changes the vectors .* too much: mean cosine"
        ):
            strict.encode(texts)


def test_a_failed_export_is_one_line_and_tried_once(tmp_path, bert, backend, monkeypatch, caplog):
    monkeypatch.setenv(CACHE, str(tmp_path))
    exporter = Mock(side_effect=RuntimeError("no such operator\nand much more"))
    monkeypatch.setattr(exports, "_write", exporter)
    exact = TextEncoder(bert, dtype="float32")
    for _ in range(2):
        caplog.clear()
        encoder = TextEncoder(bert, backend=backend, dtype="float32").fit(())
        said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert said == [
            f"model {bert!r} cannot be exported to {backend} (no such operator): torch computes "
            "instead"
        ]
        assert encoder.spec() == exact.spec()  # the store is that of torch
        np.testing.assert_array_equal(encoder.encode(TEXTS), exact.encode(TEXTS))
    assert TextEncoder(bert, backend=backend, dtype="float32").spec() == exact.spec()
    if backend == "onnx":
        with pytest.raises(EncoderError, match="which int8 requires: use another dtype"):
            TextEncoder(bert, backend="onnx", dtype="int8").fit(())
    exporter.assert_called_once()


def test_an_export_that_computes_something_else_has_failed():
    class Model:
        def __init__(self, states):
            self.states = states

        def hidden(self, inputs):
            return self.states(inputs["input_ids"].float()[..., None] + torch.arange(8.0))

    probe = {"input_ids": torch.tensor([[1, 2, 3], [4, 5, 0]])}
    probe["attention_mask"] = (probe["input_ids"] > 0).long()
    good = Model(lambda x: x)
    exports._compare(good, Model(lambda x: x + 1e-4), probe)
    with pytest.raises(exports.ExportError, match="states are others: cosine"):
        exports._compare(good, Model(lambda x: x.flip(-1)), probe)
    with pytest.raises(exports.ExportError, match="shape"):
        exports._compare(good, Model(lambda x: x[:, :3]), probe)


def test_a_precision_that_is_not_there_gives_way(bert, monkeypatch):
    monkeypatch.setattr("w2s_data.encoders.pretrained.fast_dtype", lambda _: torch.float32)
    encoder = TextEncoder(bert, backend="openvino", dtype="bfloat16")
    monkeypatch.setattr(exports.Export, "succeeds", True)
    monkeypatch.setattr(runtimes.OpenVino, "check", lambda: None)
    monkeypatch.setattr(exports, "metadata", type("M", (), {"version": staticmethod(len)}))
    assert encoder.spec()["dtype"] == "float32"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "tensorrt"}, "backend must be 'torch', 'onnx' or 'openvino'"),
        ({"dtype": "int8"}, "dtype 'int8' requires backend 'onnx'; got 'torch'"),
        ({"dtype": "int8", "backend": "openvino"}, "requires backend 'onnx'; got 'openvino'"),
        ({"backend": "onnx", "device": "cuda"}, "computes on the CPU, not on 'cuda'"),
        ({"min_agreement": 2}, r"min_agreement must be a number in \[0, 1\]"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_one_line(bert, settings, message):
    with pytest.raises(EncoderError, match=message):
        TextEncoder(bert, **settings).check()


def test_a_missing_runtime_is_named_with_its_command(bert, monkeypatch):
    monkeypatch.setattr(runtimes.OpenVino, "packages", ("openvino_is_not_here",))
    with pytest.raises(MissingExtraError, match=r"pip install 'w2s-data\[openvino\]'"):
        TextEncoder(bert, backend="openvino").check()


# --- agreement ----------------------------------------------------------------------------------


def test_agreement_of_known_vectors(monkeypatch):
    monkeypatch.setattr(agreement, "_SAMPLE", 200)
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, -1], 100)
    exact = rng.normal(size=(300, 6)).astype(np.float32)
    exact[:, 0] += 4 * np.where(labels == 1, 1, -1)
    other = np.roll(exact, 1, axis=1)

    def vectors(table):
        return lambda rows: table[rows]

    items = list(range(300))
    same = measure(vectors(exact), vectors(exact), items, labels)
    assert (same.n_items, same.lowest) == (200, pytest.approx(1))
    assert (same.cosine.value, same.difference.value) == (pytest.approx(1), 0)
    assert same.accuracy == same.exact_accuracy > 0.99
    half = measure(vectors((exact + other) / 2), vectors(exact), items)
    cosines = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(exact + other, exact, strict=True)
    ]
    assert half.lowest == pytest.approx(min(cosines[i] for i in sample_of(300, None)), abs=1e-5)
    assert half.accuracy is None
    blind = exact.copy()
    blind[:, 0] = 0  # the direction of the classes
    lost = measure(vectors(blind), vectors(exact), items, labels)
    assert lost.difference.high < -0.3
    assert not lost.reaches(0.9)
    assert "a probe is right on" in str(lost)


def test_a_probe_refuses_only_what_its_interval_says():
    cosine = Estimate(0.99, 0.98, 1.0, 0.95)
    noise = Agreement(100, cosine, 0.9, 0.86, 0.90, Estimate(-0.04, -0.09, 0.01, 0.95))
    loss = Agreement(100, cosine, 0.9, 0.80, 0.90, Estimate(-0.10, -0.15, -0.05, 0.95))
    assert (noise.reaches(0.98), loss.reaches(0.98), loss.reaches(0.9)) == (True, False, True)
    assert not Agreement(100, Estimate(0.97, 0.96, 0.98, 0.95), 0.9).reaches(0.98)


def test_zero_vectors_agree_with_zero_vectors_only():
    zero, one = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    found = measure(lambda _: zero, lambda _: np.stack([zero[0], one[0]]), ["a", "b"])
    assert (found.lowest, found.cosine.value) == (0.0, 0.5)
