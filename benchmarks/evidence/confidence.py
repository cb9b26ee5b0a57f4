"""Margin, rescaled top-1 or entropy: which confidence ranks right weak labels first?

Weak teachers on TREC (6 classes) and AG-News (4) label a pool. Run
``python benchmarks/evidence/confidence.py``; it prints a Markdown table. ``--cv`` lets each teacher
choose its penalty, as ``w2s score`` does.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import Corpus, load_corpus, minilm_features, parser, split_rows, tfidf_features

from w2s_data import LinearProbe
from w2s_data.overlap.changepoint import change_point
from w2s_data.overlap.confidence import weak_confidence

CORPORA = ("trec", "ag_news_test")
WEAK_MODELS = {"TF-IDF": None, "layer 0": 0, "layer 3": 3}  # hidden layer of MiniLM
LABELLED = (100, 300, 1000)
TEACHER_C = 0.01  # scikit-learn's: l2 = 1 / (C n)
N_POOL = 4000


def entropy_confidence(proba: np.ndarray) -> np.ndarray:
    """One minus the entropy in units of its maximum, log C."""
    logs = np.log(np.maximum(proba, 1e-300))
    return 1 + (proba * logs).sum(axis=1) / np.log(proba.shape[1])


def measure(
    corpus: Corpus, features: np.ndarray | None, n_labelled: int, seed: int, l2: float | str
) -> dict[str, float]:
    """AUC of each confidence for "the weak label is right", and the share it marks hard-only.

    Without features the weak model sees TF-IDF of the labelled texts and the pool.
    """
    from sklearn.metrics import roc_auc_score

    labelled, pool = split_rows(corpus.labels, (n_labelled, N_POOL), seed, balanced=False)
    if features is None:
        features = tfidf_features(corpus, np.concatenate([labelled, pool]))
    teacher = LinearProbe(l2=l2, device="cpu", random_state=seed)
    teacher.fit(features[labelled], corpus.labels[labelled])
    proba = teacher.predict_proba(features[pool])
    right = teacher.predict(features[pool]) == corpus.labels[pool]
    result = {"weak": float(right.mean())}
    measures = {
        "margin": weak_confidence(proba, "margin"),
        "top1": weak_confidence(proba, "top1"),
        "entropy": entropy_confidence(proba),
    }
    for name, confidence in measures.items():
        threshold = change_point(confidence).lower
        result[f"auc {name}"] = roc_auc_score(right, confidence)
        result[f"hard {name}"] = float((confidence <= threshold).mean())
    return result


def main() -> None:
    """Print a row for each corpus, weak model and number of labelled rows."""
    options = parser(__doc__, seeds=6)
    options.add_argument("--cv", action="store_true", help="teachers choose their own penalty")
    arguments = options.parse_args()
    seeds = 3 if arguments.quick else arguments.seeds
    records = []
    print(
        "| corpus | weak model | labelled | weak | AUC margin | top-1 | entropy | top-1 − margin "
        "| hard-only margin | top-1 | entropy |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for name, (weak, layer) in product(CORPORA, WEAK_MODELS.items()):
        corpus = load_corpus(name)
        features = None if layer is None else minilm_features(corpus, layer, arguments.cache)
        for n_labelled in LABELLED:
            l2 = "cv" if arguments.cv else 1 / (TEACHER_C * n_labelled)
            rows = pd.DataFrame(
                [measure(corpus, features, n_labelled, seed, l2) for seed in range(seeds)]
            )
            print(row([name, weak, f"{n_labelled:,}"], rows), flush=True)
            records.append(rows)
    print(row(["all", "", ""], pd.concat(records)))


def row(names: list[str], values: pd.DataFrame) -> str:
    """One line of the table: means over seeds, and how often top-1 ranks better than the margin."""
    mean = values.mean()
    better = values["auc top1"] - values["auc margin"]
    cells = [
        *names,
        *(f"{mean[c]:.3f}" for c in ("weak", "auc margin", "auc top1", "auc entropy")),
        f"{better.mean():+.3f} ({better.sem():.3f}) {(better > 0).sum()}/{len(better)}",
        *(f"{mean[c]:.2f}" for c in ("hard margin", "hard top1", "hard entropy")),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
