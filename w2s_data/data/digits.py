"""Scans of handwritten digits through channels that spoil them, each channel a source."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from w2s_data.data.dataset import W2SDataset
from w2s_data.data.splits import apportion
from w2s_data.data.synthetic import Example
from w2s_data.errors import InputError, listing
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters, one_of, whole

READER_SCANS = 150  # that the old reader of `digits` learned from: it is then right in 6 of 10
READER_SPLITS = {"labelled": 100, "test": 0.3}
DIGITS = tuple(str(digit) for digit in range(10))


def digits(
    random_state: RandomState = 0,
    channels: Sequence[str] = ("clean", "blurred", "rotated", "occluded"),
    reader: bool = False,
) -> Example:
    """Return scikit-learn's 1,797 scans of digits (8 x 8 PNG) as images from several sources.

    A channel is a source. K channels take scans in proportion K, K - 1, ..., 1: clean 719,
    blurred 539, rotated 359, occluded 180. With `reader` the weak labels are those of an old
    reader, a logistic regression on 4 x 4 pixels; the 150 clean scans that it learned from are
    left out, and 100 others have gold labels.
    """
    channels = _channels("channels", channels)
    rng = check_generator(random_state)
    scans, labels = read_scans()
    taught = rng.permutation(len(scans))[:READER_SCANS] if reader else np.arange(0)
    old_reader = _reader(scans[taught], labels[taught]) if reader else None
    scans, labels = np.delete(scans, taught, axis=0), np.delete(labels, taught)
    sizes = apportion(len(scans), range(len(channels), 0, -1))
    source = rng.permutation(np.repeat(np.array(channels, dtype=object), sizes))
    seen = _through(source, scans, rng)
    table = _table(np.arange(len(scans)), seen, labels, "pool", source)
    weak = None if old_reader is None else old_reader(seen)
    dataset = W2SDataset(
        table=table, kind="image", class_names=DIGITS, weak_proba=weak, name="digits"
    )
    # Few enough gold labels that the old reader knows something beside them.
    return Example(dataset.with_splits(READER_SPLITS if reader else None, random_state=rng))


def shifted_digits(
    seen: Sequence[str] = ("clean", "blurred", "occluded"),
    held_out: Sequence[str] = ("rotated", "halved", "noisy"),
    reader_per_channel: bool = False,
    n_reader: int = 150,
    n_labelled: int = 100,
    n_validation: int = 50,
    n_test: int = 250,
    random_state: RandomState = 0,
) -> Example:
    """Return the scans of `digits`, with a pool from channels that no gold label came through.

    Labelled and validation rows and the test split `test` come through the `seen` channels, the
    pool and the test split `test_shifted` through those that were `held_out`; a split shares its
    scans equally among its channels, and the pool takes those that are left. The weak labels are
    those of a reader (logistic regression on 4 x 4 pixels) of `n_reader` other scans through the
    seen channels or, with `reader_per_channel`, of as many readers as seen channels, each trained
    on `n_reader` scans of its own. Channels are "clean", "blurred", "rotated", "occluded",
    "halved", "noisy" and "inverted", which turns a linear reader of the others round and which no
    linear head on pixels can read together with them.

    `truth` holds `shifted` (True of rows through a held-out channel) and `scan`, the number of the
    scan in `sklearn.datasets.load_digits`.

    Examples
    --------
    >>> data = shifted_digits(reader_per_channel=True).dataset
    >>> data.weak_names, {name: len(data.rows(name)) for name in ("pool", "test_shifted")}
    (('clean', 'blurred', 'occluded'), {'pool': 697, 'test_shifted': 250})
    """
    seen, held_out = _channels("seen", seen), _channels("held_out", held_out)
    if both := sorted({*seen} & {*held_out}):
        raise InputError(f"a channel is either seen or held out; {listing(both)} is both")
    counts = {"n_labelled": n_labelled, "n_validation": n_validation, "n_test": n_test}
    check_parameters(
        counts | {"n_reader": n_reader, "reader_per_channel": reader_per_channel},
        dict.fromkeys(counts, whole(0))
        | {"n_reader": whole(10), "reader_per_channel": one_of(True, False)},
    )
    readers = {name: (name,) for name in seen} if reader_per_channel else {"reader": seen}
    parts = {f"reader {name}": (n_reader, own) for name, own in readers.items()} | {
        "labelled": (n_labelled, seen),
        "validation": (n_validation, seen),
        "test": (n_test, seen),
        "test_shifted": (n_test, held_out),
    }
    rng = check_generator(random_state)
    scans, labels = read_scans()
    left = len(scans) - sum(size for size, _ in parts.values())
    if left < len(held_out):
        raise InputError(
            f"readers, labelled, validation and test rows take {len(scans) - left:,} of "
            f"{len(scans):,} scans, which leaves no pool: lower n_reader or n_test"
        )
    parts["pool"] = (left, held_out)
    # Every scan is used once, so that no digit of the test rows was seen in another channel.
    split = np.repeat(np.array(list(parts), dtype=object), [size for size, _ in parts.values()])
    source = np.concatenate([_shared(size, own, rng) for size, own in parts.values()])
    scan = rng.permutation(len(scans))
    images, labels = _through(source, scans[scan], rng), labels[scan]
    proba = []
    for name in readers:
        taught = split == f"reader {name}"
        proba.append(_reader(images[taught], labels[taught])(images))
    kept = np.isin(split, ["labelled", "pool", "validation", "test", "test_shifted"])
    weak = np.stack(proba, axis=1)[kept]  # (n, M, 10)
    dataset = W2SDataset(
        table=_table(scan[kept], images[kept], labels[kept], "pool", source[kept]),
        kind="image",
        class_names=DIGITS,
        weak_proba=weak if reader_per_channel else weak[:, 0],
        weak_names=tuple(readers) if reader_per_channel else (),
        name="shifted_digits",
        truth=pd.DataFrame({"shifted": np.isin(source[kept], held_out), "scan": scan[kept]}),
    )
    return Example(dataset.with_given_splits(split[kept]))


def _channels(name: str, channels: Sequence[str]) -> tuple[str, ...]:
    """Return the channels of a parameter; raise unless each is known and named once."""
    channels = (channels,) if isinstance(channels, str) else tuple(channels)
    for channel in channels:
        check_parameters({name: channel}, {name: one_of(*CHANNELS)})
    if not channels or len(set(channels)) < len(channels):
        raise InputError(f"{name} must name each channel once; got {listing(channels)}")
    return channels


def _shared(n: int, channels: tuple[str, ...], rng: np.random.Generator) -> AnyArray:
    """Assign n scans to the channels, as many to each, in random order."""
    return rng.permutation(np.resize(np.array(channels, dtype=object), n))


def _through(source: AnyArray, scans: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return scans (n, 8, 8) as their channels show them."""
    return np.array(
        [CHANNELS[channel](scan, rng) for channel, scan in zip(source, scans, strict=True)]
    )


def _table(
    numbers: IntArray, scans: FloatArray, labels: IntArray, split: str, source: AnyArray
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"digit-{number:04d}" for number in numbers],
            "item": pd.Series([png(scan) for scan in scans], dtype=object),
            "label": labels.astype(str),
            "split": split,
            "source": source,
        }
    )


def read_scans() -> tuple[FloatArray, IntArray]:
    """Return scans (1797, 8, 8) with ink in [0, 1], and their digits."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images / 16.0, data.target  # scikit-learn counts ink from 0 to 16


def _reader(scans: FloatArray, labels: IntArray) -> Callable[[FloatArray], FloatArray]:
    """Train a weak reader; return its probabilities (n, 10) of scans (n, 8, 8) as a function."""
    from sklearn.linear_model import LogisticRegression

    def coarse(images: FloatArray) -> FloatArray:
        blocks = images.reshape(len(images), 4, 2, 4, 2)
        return np.asarray(blocks.mean(axis=(2, 4)).reshape(len(images), 16))

    model = LogisticRegression(C=1.0, max_iter=1000).fit(coarse(scans), labels)
    return lambda images: np.asarray(model.predict_proba(coarse(images)))


def png(scan: FloatArray) -> bytes:
    """Return a scan (8, 8) with ink in [0, 1] as a grey PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.round(np.clip(scan, 0, 1) * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _blurred(scan: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Blur by .7 to 1.2 pixels."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(scan, sigma=rng.uniform(0.7, 1.2)))


def _rotated(scan: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Rotate by 15 to 40 degrees to either side."""
    from scipy.ndimage import rotate

    angle = rng.uniform(15, 40) * rng.choice([-1, 1])
    return np.asarray(rotate(scan, angle, reshape=False, order=1))


def _occluded(scan: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Erase a patch of 4 x 4 pixels that touches the middle of the scan."""
    top, left = rng.integers(1, 4, size=2)  # so that the patch covers the middle 2 x 2 pixels
    covered = scan.copy()
    covered[top : top + 4, left : left + 4] = 0
    return covered


def _halved(scan: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Erase the upper, lower, left or right half."""
    lost, axis = rng.integers(2, size=2)
    kept = scan.copy()
    np.moveaxis(kept, axis, 0)[4 * lost : 4 * lost + 4] = 0
    return kept


def _noisy(scan: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Add noise of standard deviation .3 to the ink."""
    return np.clip(scan + 0.3 * rng.standard_normal(scan.shape), 0, 1)


CHANNELS: Mapping[str, Callable[[FloatArray, np.random.Generator], FloatArray]] = {
    "clean": lambda scan, _: scan,
    "blurred": _blurred,
    "rotated": _rotated,
    "occluded": _occluded,
    "inverted": lambda scan, _: 1 - scan,
    "halved": _halved,
    "noisy": _noisy,
}
