"""Whether the map keeps neighbourhoods as well as umap-learn's, and at which price.

    pip install umap-learn
    python benchmarks/evidence/maps.py

Three corpora, rows drawn with three seeds. Trustworthiness (Venna, Kaski, 2001) is 1 where the 15
nearest on the map are all among the nearest by cosine. Seconds are those of the processor, on one
thread; the first map of umap-learn, which compiles, is not counted.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from w2s_data import NeighborIndex
from w2s_reports.projection import N_NEIGHBORS
from w2s_reports.umap import N_EPOCHS, umap_positions

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, load_corpus, minilm_features, parser

CORPORA = ("ag_news_test", "trec", "subj")
SIZES = (1500, 5000)
MOST = 6000  # rows of a corpus, of which those of a map are drawn


def library(near: Any, start: np.ndarray, features: np.ndarray, seed: int) -> np.ndarray:
    """Place points by umap-learn, from the same neighbours and the same start."""
    from umap import UMAP

    n = len(start)
    indices = np.hstack([np.arange(n)[:, None], near.indices])
    distances = np.hstack([np.zeros((n, 1)), (1 - near.scores).clip(0)]).astype(np.float32)
    settings = {"n_neighbors": N_NEIGHBORS, "n_epochs": N_EPOCHS, "metric": "cosine", "n_jobs": 1}
    reducer = UMAP(**settings, precomputed_knn=(indices, distances), init=start, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(reducer.fit_transform(features))


def timed(place: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """Return positions, and the seconds that they took."""
    started = time.process_time()
    return place(), time.process_time() - started


def compare(name: str, whole: np.ndarray, size: int, seed: int) -> list[dict[str, Any]]:
    """Measure the maps of some rows of a corpus."""
    rng = np.random.default_rng(seed)
    features = whole[rng.choice(len(whole), min(size, len(whole)), replace=False)]
    start = PCA(2).fit_transform(features)
    near = NeighborIndex(kind="flat", device="cpu").fit(features).neighbors(N_NEIGHBORS - 1)
    distances = (1 - near.scores.astype(np.float64)).clip(0)
    maps = {
        "ours": timed(lambda: umap_positions(near.indices, distances, start, rng)),
        "umap-learn": timed(lambda: library(near, start, features, seed)),
        "principal components": (start, np.nan),
    }
    return [
        {
            "corpus": name,
            "points": len(features),
            "map": method,
            "trust": trustworthiness(features, xy, n_neighbors=N_NEIGHBORS, metric="cosine"),
            "seconds": seconds,
        }
        for method, (xy, seconds) in maps.items()
    ]


def main() -> None:
    """Print the table."""
    options = parser(__doc__, seeds=3).parse_args()
    features = {
        name: minilm_features(load_corpus(name, MOST), LAST_LAYER, options.cache)
        for name in CORPORA
    }
    compare("", features[CORPORA[0]], 100, 0)  # umap-learn compiles
    rows = [
        row
        for size in SIZES
        for name, whole in features.items()
        for seed in range(options.seeds)
        for row in compare(name, whole, size, seed)
    ]
    keys = ["points", "corpus", "map"]
    means = pd.DataFrame(rows).groupby(keys)[["trust", "seconds"]].mean().unstack("map")
    print(means.round(3).to_string())


if __name__ == "__main__":
    main()
