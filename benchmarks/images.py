"""Real images for the benchmarks, and features of them that need no pretrained model."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of Debian's package dataset-fashion-mnist
FILTERS, SIDE, SEED = 64, 6, 0
BLOCK = 250  # images whose patches are held at a time
FLAT, NOISE = 0.01, 0.1  # variance below which contrast and whitening raise little but noise


def fashion_mnist() -> tuple[np.ndarray, np.ndarray] | None:
    """The 10,000 test images (N, 28, 28) in [0, 1] and their 10 classes; None if not installed."""
    if not FOLDER.exists():
        return None
    with gzip.open(FOLDER / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    with gzip.open(FOLDER / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return pixels.reshape(-1, 28, 28) / np.float32(255), labels.astype(np.int64)


def shrunk(images: np.ndarray, side: int) -> np.ndarray:
    """Mean pixels of side x side blocks, (N, side^2); what is left over at the edge is cut off."""
    block = images.shape[1] // side
    edge = (images.shape[1] - side * block) // 2
    inner = images[:, edge : edge + side * block, edge : edge + side * block]
    return (
        inner.reshape(len(images), side, block, side, block).mean(axis=(2, 4)).reshape(-1, side**2)
    )


def patch_features(images: np.ndarray) -> np.ndarray:
    """How much each quarter of an image resembles random patches of the images, (N, 4 FILTERS).

    Patches are normalised for brightness and contrast and whitened; the answer is what exceeds a
    quarter of the patch's length, averaged over a quarter of the image (Coates, Ng, Lee, *An
    analysis of single-layer networks*, 2011).
    """
    rng = np.random.default_rng(SEED)
    sample = _patches(images[rng.choice(len(images), 1000, replace=False)]).reshape(-1, SIDE**2)
    sample = sample[rng.choice(len(sample), 60_000, replace=False)]
    center = sample.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(sample.T))
    whiten = ((directions / np.sqrt(variances + NOISE)) @ directions.T).astype(np.float32)
    known = (sample - center) @ whiten
    length = np.linalg.norm(known, axis=1)
    # Flat patches resemble nothing.
    rows = rng.choice(np.flatnonzero(length > np.quantile(length, 0.2)), FILTERS, replace=False)
    filters = (known[rows] / length[rows, None]).T
    blocks = []
    for start in range(0, len(images), BLOCK):
        patches = (_patches(images[start : start + BLOCK]) - center) @ whiten
        answer = patches @ filters - np.linalg.norm(patches, axis=-1, keepdims=True) / 4
        answer = np.maximum(answer, 0)
        half = answer.shape[1] // 2
        quarters = [
            answer[:, rows, columns].mean(axis=(1, 2))
            for rows in (slice(half), slice(half, None))
            for columns in (slice(half), slice(half, None))
        ]
        blocks.append(np.hstack(quarters))
    return np.concatenate(blocks)


def _patches(images: np.ndarray) -> np.ndarray:
    """All patches (N, R, R, SIDE^2), every second row and column, of mean 0 and like contrast."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (SIDE, SIDE), axis=(1, 2))
    patches = windows[:, ::2, ::2].reshape(len(images), *windows[0, ::2, ::2].shape[:2], SIDE**2)
    patches = patches - patches.mean(axis=-1, keepdims=True)
    return patches / np.sqrt(patches.var(axis=-1, keepdims=True) + FLAT)
