"""How well the overlap detector finds regions that are known: two texts joined into one point.

Left text: two topics of AG-News are the classes, the other two are neutral; the weak model sees its
TF-IDF. Right text: subjectivity, sentiment or question type. Five sources hold 10 to 70 % overlap
points. Run ``python benchmarks/evidence/dominoes.py``; it prints a Markdown table.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import (
    LAST_LAYER,
    Corpus,
    load_corpus,
    minilm_features,
    parser,
    tfidf_features,
)

from w2s_data import OverlapDetector, Region
from w2s_data.data.examples import DOMINO_SHARES, Block, Example, feature_dominoes

N_PER_SOURCE = 300
TOPICS = (0, 1)  # of AG-News: world and sports; business and technology are neutral
QUESTIONS = (3, 5)  # of TREC: who, and how many or when
OBJECTIVE = 1  # of SUBJ

DETECTORS: dict[str, Callable[..., OverlapDetector]] = {
    "thresholds": functools.partial(OverlapDetector, quantify="count"),
    "reference": OverlapDetector.reference,
}


def class_rows(corpus: Corpus, classes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two classes, and their labels 0 and 1."""
    rows = np.flatnonzero(np.isin(corpus.labels, classes))
    return rows, (corpus.labels[rows] == classes[1]).astype(np.int64)


def left_block(cache: Path) -> Block:
    """News of two topics, and of two others, with what the weak model sees of them."""
    news = load_corpus("ag_news_test")
    strong = minilm_features(news, LAST_LAYER, cache)
    weak = tfidf_features(news, np.arange(len(news)))
    rows, labels = class_rows(news, TOPICS)
    neutral = np.flatnonzero(~np.isin(news.labels, TOPICS))
    return Block(strong[rows], labels, strong[neutral], weak[rows], weak[neutral])


def right_blocks(cache: Path) -> dict[str, Block]:
    """Blocks of three corpora, each with the items of another one as neutral items."""
    corpora = {name: load_corpus(name) for name in ("subj", "sst2", "trec", "customer_reviews")}
    strong = {n: minilm_features(corpus, LAST_LAYER, cache) for n, corpus in corpora.items()}
    questions, kind = class_rows(corpora["trec"], QUESTIONS)
    objective = strong["subj"][corpora["subj"].labels == OBJECTIVE]
    return {
        "SUBJ (neutral: TREC)": Block(strong["subj"], corpora["subj"].labels, strong["trec"]),
        "SST-2 (neutral: objective)": Block(strong["sst2"], corpora["sst2"].labels, objective),
        "TREC (neutral: reviews)": Block(
            strong["trec"][questions], kind, strong["customer_reviews"]
        ),
    }


def measure(detector: OverlapDetector, example: Example) -> dict[str, float]:
    """F1 of the overlap region, absolute error of the density, correlation over the sources."""
    detector.fit(example.strong_features, example.dataset.weak_proba)
    found, true = detector.regions_ == Region.OVERLAP, example.regions == Region.OVERLAP
    by_source = pd.DataFrame({"found": found, "true": true}).groupby(example.dataset.sources)
    densities = by_source.mean()
    return {
        "F1": 2 * (found & true).sum() / (found.sum() + true.sum()),
        "bias": abs(float(found.mean() - true.mean())),
        "correlation": densities["found"].corr(densities["true"]),
        "ranked": densities["found"].corr(densities["true"], method="spearman"),
    }


def main() -> None:
    """Print a row for each right block and detector."""
    arguments = parser(__doc__, seeds=5).parse_args()
    left, seeds = left_block(arguments.cache), 3 if arguments.quick else arguments.seeds
    print("| right text | detector | F1 | absolute density bias | correlation | Spearman |")
    print("|---|---|---|---|---|---|")
    for name, right in right_blocks(arguments.cache).items():
        examples = [
            feature_dominoes(left, right, DOMINO_SHARES, N_PER_SOURCE, random_state=seed)
            for seed in range(seeds)
        ]
        for kind, make in DETECTORS.items():
            rows = [
                measure(make(n_resamples=0, random_state=0, device="cpu"), example)
                for example in examples
            ]
            table = pd.DataFrame(rows)
            cells = [
                f"{mean:.2f} ({error:.2f})"
                for mean, error in zip(table.mean(), table.sem(), strict=True)
            ]
            print(f"| {name} | {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
