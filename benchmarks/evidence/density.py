"""Is the overlap density right in level? Estimates beside known truth, and the published algorithm.

Gaussian points (missing patterns noise or zero, three separations, mixed blocks, unequal classes),
five sources under one fit, dominoes of two texts and of two images. Run
``python benchmarks/evidence/density.py [BED ...]``; it prints a Markdown table per bed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
sys.path.append(str(Path(__file__).parent))
from corpora import parser
from dominoes import left_block, right_blocks
from images import fashion_mnist, patch_features, shrunk

from w2s_data import OverlapDetector, Region
from w2s_data.data.examples import DOMINO_SHARES, Block, feature_dominoes
from w2s_data.data.synthetic import gaussian_overlap, weak_model

DENSITIES = (0.05, 0.1, 0.3, 0.5, 0.7)
SOURCES = {"A": 0.05, "B": 0.2, "C": 0.35, "D": 0.5, "E": 0.65}
N_GOLD = 200
# (classes on the left, on the right) of Fashion-MNIST, its other classes are neutral.
IMAGES = (
    ((0, 6), (5, 7)),
    ((1, 3), (7, 9)),
    ((2, 4), (8, 5)),
    ((7, 9), (0, 3)),
    ((0, 1), (8, 9)),
    ((5, 9), (2, 6)),
    ((3, 8), (4, 6)),
)

DETECTORS: dict[str, Callable[..., OverlapDetector]] = {
    "mixture": OverlapDetector,
    "count": lambda **options: OverlapDetector(quantify="count", **options),
    "published": OverlapDetector.reference,
}


@dataclass(frozen=True)
class Pool:
    """Points whose regions are known."""

    features: np.ndarray
    weak_proba: np.ndarray
    regions: np.ndarray
    labels: np.ndarray
    sources: np.ndarray | None = None


def gaussian(missing: str, n: int, density: float, mu: float, seed: int) -> Pool:
    """Points of `gaussian_overlap`."""
    example = gaussian_overlap(n, density, missing, mu=mu, random_state=seed)
    return from_example(example)


def from_example(example) -> Pool:
    """Points of an example of the package."""
    data = example.dataset
    return Pool(
        example.strong_features, data.weak_proba, example.regions, data.labels, data.sources
    )


def mixed(n: int, density: float, seed: int, share: float = 0.5) -> Pool:
    """Blocks mixed by a random matrix, so that no direction is of one block; classes of `share`."""
    rng = np.random.default_rng(seed)

    def draw(n: int):
        regions = rng.choice(3, size=n, p=((1 - density) / 2, (1 - density) / 2, density))
        y = np.where(rng.random(n) < share, 1, -1)
        blocks = [
            rng.standard_normal((n, 20)) + np.where(regions == lacks, 0, y)[:, None] * 3 / 20**0.5
            for lacks in (Region.HARD, Region.EASY)
        ]
        return regions.astype(np.int8), y, blocks

    _, taught, (easy_taught, _) = draw(2000)
    regions, y, (easy, hard) = draw(n)
    mixing = np.eye(40) + rng.standard_normal((40, 40)) / 40**0.5 / 2
    features = (np.hstack([easy, hard]) @ mixing).astype(np.float32)
    return Pool(features, weak_model(easy_taught, taught, easy), regions, (y > 0).astype(int))


def image_pools(seed: int) -> Iterator[tuple[str, Pool]]:
    """Dominoes of two images, by their pixels and by their patches."""
    found = fashion_mnist()
    if found is None:
        return
    images, labels = found
    weak = shrunk(images, 5)
    kinds = {"pixels": images.reshape(len(images), -1), "patches": patch_features(images)}
    for (name, features), (left, right) in product(kinds.items(), IMAGES):

        def block(classes, seen: bool, features=features) -> Block:
            rows = np.flatnonzero(np.isin(labels, classes))
            neutral = np.flatnonzero(~np.isin(labels, classes))
            y = (labels[rows] == classes[1]).astype(np.int64)
            more = (weak[rows], weak[neutral]) if seen else ()
            return Block(features[rows], y, features[neutral], *more)

        example = feature_dominoes(
            block(left, True), block(right, False), DOMINO_SHARES, 300, random_state=seed
        )
        yield name, from_example(example)


def text_pools(cache: Path, seed: int) -> Iterator[tuple[str, Pool]]:
    """Dominoes of two texts."""
    left = left_block(cache)
    for name, right in right_blocks(cache).items():
        example = feature_dominoes(left, right, DOMINO_SHARES, 300, random_state=seed)
        yield name, from_example(example)


def gaussian_pools(missing: str, mus: tuple[float, ...], seed: int) -> Iterator[tuple[str, Pool]]:
    """Cells of separation, size and density."""
    for mu, n, density in product(mus, (500, 2000), DENSITIES):
        yield f"mu {mu:g}, n {n:,}, {density:g}", gaussian(missing, n, density, mu, seed)


def other_pools(seed: int) -> Iterator[tuple[str, Pool]]:
    """Mixed blocks, and unequal classes beside them."""
    for density in DENSITIES:
        yield f"mixed blocks, {density:g}", mixed(2000, density, seed)
        yield f"classes 4 to 1, {density:g}", mixed(2000, density, seed, share=0.8)


def source_pools(seed: int) -> Iterator[tuple[str, Pool]]:
    """Five sources of 400 points."""
    for mu in (2.5, 3.0, 4.0):
        example = gaussian_overlap(2000, missing="noise", mu=mu, sources=SOURCES, random_state=seed)
        yield f"mu {mu:g}", from_example(example)


def measure(detector: OverlapDetector, pool: Pool, seed: int, gold: bool) -> dict[str, float]:
    """Error and coverage of the density, F1 of the region, and agreement over the sources."""
    given = None
    if gold:
        rows = np.random.default_rng(seed).permutation(len(pool.labels))[:N_GOLD]
        given = (pool.features[rows], pool.weak_proba[rows], pool.labels[rows])
    detector.fit(pool.features, pool.weak_proba, gold=given)
    found, true = detector.regions_ == Region.OVERLAP, pool.regions == Region.OVERLAP
    low, high = detector.density_interval_
    result = {
        "error": detector.density_ - true.mean(),
        "covers": float(low <= true.mean() <= high),
        "F1": 2 * (found & true).sum() / max(1, found.sum() + true.sum()),
        "doubted": float(detector.objection_ != ""),
    }
    if pool.sources is not None:
        table = detector.shares(pool.sources)
        truth = pd.Series(true).groupby(pool.sources).mean()[table["name"]].to_numpy()
        result["correlation"] = np.corrcoef(truth, table["density"])[0, 1]
        result["slope"] = np.polyfit(truth, table["density"], 1)[0]
        within = (table["density_low"] <= truth) & (truth <= table["density_high"])
        result["sources covered"] = within.mean()
    return result


def print_table(title: str, table: pd.DataFrame) -> None:
    """Print a table as Markdown, under its title."""
    flat = table.reset_index()
    print(f"\n{title}\n\n| {' | '.join(flat.columns)} |\n|{'---|' * len(flat.columns)}")
    for row in flat.itertuples(index=False):
        cells = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row)
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print a table for each bed."""
    command = parser(__doc__, seeds=5)
    command.add_argument("beds", nargs="*", help="noise, zero, other, sources, text, images")
    command.add_argument("--first", type=int, default=0, help="first seed")
    command.add_argument("--gold", action="store_true", help=f"give {N_GOLD} gold rows")
    arguments = command.parse_args()
    seeds = range(arguments.first, arguments.first + (2 if arguments.quick else arguments.seeds))
    beds: dict[str, Callable[[int], Iterator[tuple[str, Pool]]]] = {
        "noise": lambda seed: gaussian_pools("noise", (2.0, 3.0, 4.0), seed),
        "zero": lambda seed: gaussian_pools("zero", (3.0,), seed),
        "other": other_pools,
        "sources": source_pools,
        "text": lambda seed: text_pools(arguments.cache, seed),
        "images": image_pools,
    }
    for bed in arguments.beds or beds:
        rows = [
            {"cell": cell, "detector": name}
            | measure(
                make(n_resamples=200, random_state=seed, device="cpu"), pool, seed, arguments.gold
            )
            for seed in seeds
            for cell, pool in beds[bed](seed)
            for name, make in DETECTORS.items()
        ]
        table = pd.DataFrame(rows)
        cells = table.groupby(["cell", "detector"], sort=False).mean()
        print_table(bed, cells)
        bias = cells["error"].abs().groupby("detector", sort=False).agg(["mean", "max"])
        print_table(f"{bed}: absolute bias of a cell", bias)


if __name__ == "__main__":
    main()
