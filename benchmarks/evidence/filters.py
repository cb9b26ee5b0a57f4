"""Which points to train on: `crossfit` against simpler rules, on corpora x weak features.

Student: L-BFGS head on MiniLM's last layer; teacher: logistic (C = 0.01) on 200 rows.
Every rule is compared with the same student on all points with soft labels.
Called by ``replication.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import Corpus, load_corpus, minilm_features, split_rows, tfidf_features

from w2s_data import LinearProbe, NeighborIndex
from w2s_data.finetune import fit_student
from w2s_data.finetune.filters import best_rows, share_count
from w2s_data.finetune.task import one_hot

CORPORA = ("sst2", "customer_reviews", "subj", "mpqa", "trec", "ag_news_test")
WEAK = ("TF-IDF", "layer 0")
SIZES = {2000: (200, 2000, 1500), 400: (200, 400, 2000)}  # labelled, pool, test
TEACHER_C = 0.01


def compare(
    strong: np.ndarray,
    weak: np.ndarray,
    y: np.ndarray,
    split: list[np.ndarray],
    seed: int,
    l2: float,
) -> dict[str, float]:
    """Accuracy of every rule on one split, in points (x 100) above all points with soft labels."""
    labelled, pool, test = split
    teacher = LinearProbe(l2=1 / (TEACHER_C * len(labelled)), device="cpu")
    teacher.fit(weak[labelled], y[labelled])
    proba = np.zeros((len(pool), y.max() + 1))
    proba[:, teacher.classes_] = teacher.predict_proba(weak[pool])
    x, codes, hard = strong[pool], proba.argmax(axis=1), one_hot(proba)
    rng = np.random.default_rng(seed)
    options = {"solver": "lbfgs", "l2": l2, "device": "cpu", "random_state": seed}

    def score(labels: np.ndarray, rows: np.ndarray | None = None) -> float:
        rows = np.ones(len(pool), dtype=bool) if rows is None else rows
        probe = LinearProbe(l2=l2, device="cpu").fit(x[rows], labels[rows])
        return accuracy(probe.predict_proba(strong[test]))

    def accuracy(predicted: np.ndarray) -> float:
        return float((predicted.argmax(axis=1) == y[test]).mean())

    def half(points: np.ndarray) -> np.ndarray:
        return best_rows(points, share_count(0.5, np.bincount(codes)), codes)

    crossfit = fit_student("crossfit", x, proba, **options)
    twice = fit_student("crossfit", x, proba, rounds=2, controls=False, **options)
    gentle = fit_student("crossfit", x, proba, lowest_share=0.8, controls=False, **options)
    overlap = fit_student("overlap", x, proba, controls=False, **options)
    out_of_fold = crossfit.diagnostics["cross_fitted"][0].argmax(axis=1)
    naive = LinearProbe(l2=l2, device="cpu").fit(x, proba)
    own = naive.predict_proba(x)
    for _ in range(5):  # own labels, hardened, until they settle
        own = (
            LinearProbe(l2=l2, device="cpu")
            .fit(x, 0.25 * proba + 0.75 * one_hot(own))
            .predict_proba(x)
        )
    near = NeighborIndex(metric="cosine").fit(x).neighbors(20).indices
    agreement = (codes[near] == codes[:, None]).mean(axis=1)
    found = {
        "crossfit": accuracy(crossfit.predict_proba(strong[test])),
        "crossfit, two rounds": accuracy(twice.predict_proba(strong[test])),
        "crossfit, lowest share .8": accuracy(gentle.predict_proba(strong[test])),
        "all points, l2 x 10": accuracy(crossfit.controls["l2_x10"].proba(strong[test])[0]),
        "drop where the out-of-fold student disagrees": score(hard, out_of_fold == codes),
        "bootstrapped targets .75": score(0.25 * proba + 0.75 * one_hot(own)),
        "confident half per class, hard": score(hard, half(proba.max(axis=1))),
        "20-neighbour agreement, best half": score(proba, best_rows(agreement, len(pool) // 2)),
        "overlap points only": accuracy(overlap.predict_proba(strong[test])),
        "projection score, best half": score(
            proba, best_rows(projection_score(x, weak[pool], proba), len(pool) // 2)
        ),
        "random half": score(proba, rng.permutation(len(pool)) < len(pool) // 2),
    }
    baseline = accuracy(naive.predict_proba(strong[test]))
    points = {rule: 100 * (value - baseline) for rule, value in found.items()}
    right = float((codes == y[pool]).mean())
    return {
        **points,
        "crossfit - all points, l2 x 10": points["crossfit"] - points["all points, l2 x 10"],
        "teacher": 100 * right,
    }


def projection_score(strong: np.ndarray, weak: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """|P_s (I - P_w) y|: what strong features can say about labels that weak ones cannot."""
    centred = proba - proba.mean(axis=0)
    left = centred - projected(weak, centred)
    return np.asarray(np.linalg.norm(projected(strong, left), axis=1))


def projected(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values as the best linear function of standardised features fits them."""
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-6)
    solution = np.linalg.lstsq(scaled, values, rcond=1e-6)[0]
    return np.asarray(scaled @ solution)


def configurations(cache: Path) -> Iterator[tuple[Corpus, str, np.ndarray]]:
    """Corpus, name of the weak features, and those features (None: TF-IDF of the split)."""
    for name in CORPORA:
        data = load_corpus(name)
        yield data, "TF-IDF", np.empty(0)
        yield data, "layer 0", minilm_features(data, 0, cache)


def filter_table(cache: Path, seeds: range, n_pool: int, l2: float) -> pd.DataFrame:
    """Mean gain of each rule (columns) over the seeds, a row a configuration."""
    records = {}
    for data, name, features in configurations(cache):
        strong = minilm_features(data, 6, cache)
        runs = []
        for seed in seeds:
            split = split_rows(data.labels, SIZES[n_pool], seed, balanced=False)
            weak = features if len(features) else tfidf_features(data, np.concatenate(split[:2]))
            runs.append(compare(strong, weak, data.labels, split, seed, l2))
        records[data.name, name] = pd.DataFrame(runs).mean()
    return pd.DataFrame(records).T
