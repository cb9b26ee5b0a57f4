"""Precisions of the alignment: how far each is from float64, and which one a device gets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from w2s_data.errors import InputError
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.overlap import OverlapDetector, precision
from w2s_data.overlap.alignment import align, unit_rows
from w2s_data.overlap.precision import FEW_PRODUCTS, choose_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def cpu_with(monkeypatch):
    """Set what this CPU is said to multiply in hardware."""

    def having(bfloat16, int8):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: int8)

    return having


def test_auto_takes_the_fastest_only_for_many_products(cpu_with):
    many = FEW_PRODUCTS + 1
    cpu_with(bfloat16=True, int8=True)
    assert choose_precision("auto", CPU, many) == "int8"
    assert choose_precision("auto", CPU, FEW_PRODUCTS) == "float32"
    assert choose_precision("auto", CUDA, many) == "bfloat16"
    cpu_with(bfloat16=True, int8=False)
    assert choose_precision("auto", CPU, many) == "bfloat16"
    cpu_with(bfloat16=False, int8=False)
    assert choose_precision("auto", CPU, many) == "float32"


def test_a_precision_that_the_device_lacks_is_replaced_and_said(cpu_with, caplog):
    cpu_with(bfloat16=False, int8=False)
    assert choose_precision("int8", CPU) == "float32"
    assert choose_precision("bfloat16", CPU) == "float32"
    assert choose_precision("int8", CUDA) == "bfloat16"
    assert choose_precision("float64", CPU) == "float64"
    assert [record.message for record in caplog.records] == [
        "this CPU has no fast products in int8: alignments are computed in float32",
        "this CPU has no fast products in bfloat16: alignments are computed in float32",
        "device cuda has no fast products in int8: alignments are computed in bfloat16",
    ]


@pytest.mark.parametrize("n_anchors", [1, 7, 1500])
@pytest.mark.parametrize(("name", "tolerance"), [("bfloat16", 4e-3), ("int8", 4e-3)])
def test_rounded_factors_keep_the_alignment(rng, monkeypatch, n_anchors, name, tolerance):
    # The products are right on any CPU; without the hardware they are only slow.
    monkeypatch.setattr(precision, "_is_fast", lambda *_: True)
    features = ArrayFeatures((rng.normal(size=(1600, 37)) + 1).astype(np.float32))
    wanted = np.arange(1600) < 300
    anchors = unit_rows(features, np.arange(n_anchors))
    exact, rounded = (
        align(features, wanted, anchors, top_share=0.2, device="cpu", precision=each)
        for each in ("float64", name)
    )
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded, exact, atol=tolerance)


@pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="this CPU has no VNNI")
def test_threads_and_blocks_do_not_change_an_int8_alignment(rng):
    features = ArrayFeatures(rng.normal(size=(700, 24)).astype(np.float32))
    wanted, anchors = np.ones(700, dtype=bool), unit_rows(features, np.arange(600))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(
                align(features, wanted, anchors, top_share=0.2, device="cpu", precision="int8")
            )
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*found)


def test_the_detector_says_which_precision_it_used(rng):
    features, p = rng.normal(size=(200, 4)), rng.random(200)
    proba = np.column_stack([p, 1 - p])
    fitted = OverlapDetector(n_resamples=0, random_state=0).fit(features, proba)
    assert fitted.precision_ == fitted.to_dict()["precision"] == "float32"
    published = OverlapDetector.reference(precision="int8", n_resamples=0, random_state=0)
    assert published.fit(features, proba).precision_ == "float64"
    with pytest.raises(InputError, match="precision"):
        OverlapDetector(precision="fp8").fit(features, proba)
