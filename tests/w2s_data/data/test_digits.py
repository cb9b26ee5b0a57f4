from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from w2s_data.data.digits import CHANNELS, digits, shifted_digits


def ink_of(data) -> np.ndarray:
    images = np.stack([np.asarray(Image.open(io.BytesIO(item))) for item in data.items])
    return images / 255 * 16


def test_digits_uses_every_scan_once():
    data = digits().dataset
    assert len(data) == 1797
    assert data.class_names == tuple("0123456789")
    assert np.array_equal(data.labels, load_digits().target)
    names, sizes = np.unique(data.sources.astype(str), return_counts=True)
    assert dict(zip(names, sizes.tolist(), strict=True)) == {
        "clean": 719,
        "blurred": 539,
        "rotated": 359,
        "occluded": 180,
    }


def test_an_old_reader_brings_weak_labels_of_scans_that_it_did_not_learn():
    data = digits(reader=True).dataset
    assert len(data) == 1797 - 150
    assert (data.splits == "labelled").sum() == 100
    np.testing.assert_allclose(data.weak_proba.sum(axis=1), 1)
    right = data.weak_proba.argmax(axis=1) == data.labels
    assert 0.55 < right.mean() < 0.7
    # It learned from clean scans: it reads these best.
    assert right[data.sources == "clean"].mean() > right[data.sources == "rotated"].mean() + 0.2


def test_channels_do_what_their_names_say():
    data, scans = digits().dataset, load_digits().images
    ink = ink_of(data)
    assert ink.shape == (1797, 8, 8)
    of = {channel: data.sources == channel for channel in CHANNELS}
    assert np.abs(ink - scans)[of["clean"]].max() < 0.04  # rounding to 8 bits
    sharpness = [np.abs(np.diff(x[of["blurred"]], axis=2)).mean() for x in (ink, scans)]
    assert sharpness[0] < 0.8 * sharpness[1]
    hidden = (ink < scans - 0.04) & (ink == 0)
    assert (hidden[of["occluded"]].sum(axis=(1, 2)) >= 4).all()
    assert (np.abs(ink - scans)[of["rotated"]].max(axis=(1, 2)) > 2).all()


# -------------------------------------------------------------------------------- shifted_digits


@pytest.mark.parametrize("per_channel", [False, True])
def test_held_out_channels_are_seen_in_the_pool_and_its_test_split_alone(per_channel):
    data = shifted_digits(reader_per_channel=per_channel).dataset
    sizes = {"labelled": 100, "validation": 50, "test_shifted": 250, "test": 500}
    sizes["pool"] = 1797 - (450 if per_channel else 150) - 650
    assert {split: len(data.rows(split)) for split in sizes} == sizes
    away = np.isin(data.splits, ["pool"]) | (data.test_splits == "test_shifted")
    assert set(data.sources[away]) == {"rotated", "halved", "noisy"}
    assert set(data.sources[~away]) == {"clean", "blurred", "occluded"}
    assert np.array_equal(data.truth["shifted"], away)
    for split in ("pool", "test_shifted"):  # as many scans of every channel
        counts = np.unique(data.sources[data.rows(split)].astype(str), return_counts=True)[1]
        assert np.ptp(counts) <= 1
    assert np.array_equal(data.labels, load_digits().target[data.truth["scan"]])
    assert data.truth["scan"].is_unique


def test_held_out_channels_show_the_scans_as_their_names_say():
    data = shifted_digits(held_out=("inverted", "halved", "noisy")).dataset
    scans, ink = load_digits().images[data.truth["scan"]], ink_of(data)
    of = {channel: data.sources == channel for channel in CHANNELS}
    assert np.abs(16 - ink - scans)[of["inverted"]].max() < 0.04
    halves = [ink[of["halved"]].sum(axis=axis) for axis in (1, 2)]
    halves = [part.reshape(-1, 2, 4).sum(axis=2) for part in halves]
    assert (np.hstack(halves) == 0).sum(axis=1).min() == 1  # one half of four has no ink
    noise = (ink - scans)[of["noisy"]]
    assert noise[(scans[of["noisy"]] > 6) & (scans[of["noisy"]] < 10)].std() > 3


def test_readers_know_the_seen_channels_best():
    one = shifted_digits().dataset
    assert one.weak_proba.shape == (len(one), 10)
    several = shifted_digits(reader_per_channel=True).dataset
    assert several.weak_proba.shape == (len(several), 3, 10)
    assert several.weak_names == ("clean", "blurred", "occluded")
    for data in (one, several):
        mean = data.weak_proba.reshape(len(data), -1, 10).mean(axis=1)
        right = mean.argmax(axis=1) == data.labels
        home, away = (right[data.test_splits == name].mean() for name in ("test", "test_shifted"))
        assert home > away + 0.15
    data = shifted_digits(held_out="inverted").dataset
    right = data.weak_proba.argmax(axis=1) == data.labels
    assert right[data.sources == "inverted"].mean() < 0.1  # below chance: ink is paper there
