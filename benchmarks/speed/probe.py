"""`LinearProbe` against scikit-learn's logistic regression: the same optimum, and the time to it.

Run ``python benchmarks/speed/probe.py``; it prints a Markdown table. Rows are MiniLM features of
several corpora, with classes from a random linear teacher so that their number can be chosen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, load_corpus, minilm_features, parser
from measure import D, Row, compared, in_fresh_process, interleaved, table

from w2s_data import LinearProbe

CORPORA = ("sst2", "subj", "ag_news_test", "trec")
N = 12_000
ROUNDS = 5
L2 = (1e-1, 1e-2, 1e-3)


def real_features(cache: Path) -> np.ndarray:
    """MiniLM features of several corpora, in random order."""
    parts = [minilm_features(load_corpus(name), LAST_LAYER, cache) for name in CORPORA]
    everything = np.concatenate(parts)
    return everything[np.random.default_rng(0).permutation(len(everything))[:N]]


def made_up_features(n: int = N) -> np.ndarray:
    """Features that correlate as those of a sentence encoder do."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(D, D)))[0]
    return (rng.normal(size=(n, D)) * np.logspace(0, -1.5, D)) @ rotation


def task(features: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features (N, D) and noisy classes of a random linear teacher."""
    rng = np.random.default_rng(1)
    scaled = StandardScaler().fit_transform(features)
    logits = scaled @ rng.normal(size=(scaled.shape[1], n_classes)) / 10
    return scaled, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def objective(
    features: np.ndarray, classes: np.ndarray, weights: np.ndarray, bias: np.ndarray, l2: float
) -> float:
    """Return mean cross-entropy + l2/2 |W|^2, which both minimise; two classes share one vector."""
    logits = features @ weights.T + bias
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    peak = logits.max(axis=1, keepdims=True)
    log_sum = peak[:, 0] + np.log(np.exp(logits - peak).sum(axis=1))
    fit = (log_sum - logits[np.arange(len(classes)), classes]).mean()
    return float(fit + l2 / 2 * (weights**2).sum())


def compare(features: np.ndarray, n_classes: int, l2: float, rounds: int) -> tuple[Row, float]:
    """Seconds of both, interleaved, and the difference of their losses."""
    scaled, classes = task(features, n_classes)
    ours = LinearProbe(l2=l2, standardize=False, device="cpu")
    theirs = LogisticRegression(C=1 / (l2 * len(scaled)), tol=1e-6, max_iter=5000)
    calls = {
        "ours": partial(ours.fit, scaled, classes),
        "theirs": partial(theirs.fit, scaled, classes),
    }
    ours.fit(scaled[:500], classes[:500])  # imports torch
    times = interleaved(calls, rounds, warm_up=False)
    here, there = (
        objective(scaled, classes, model.coef_, model.intercept_, l2) for model in (ours, theirs)
    )
    what = f"probe, {len(scaled):,} x {scaled.shape[1]}, {n_classes} classes, l2 {l2:g}"
    return compared(what, times["ours"], "scikit-learn", times["theirs"]), here - there


def _fitted(library: str) -> Callable[[], object]:
    scaled, classes = task(made_up_features(), 2)
    ours = LinearProbe(standardize=False, device="cpu")
    theirs = LogisticRegression(C=100 / len(scaled), tol=1e-6, max_iter=5000)
    model = ours if library == "ours" else theirs
    model.fit(scaled[:500], classes[:500])
    return lambda: model.fit(scaled, classes)


def against_sklearn(quick: bool = False) -> list[Row]:
    """Fitting a probe against scikit-learn's logistic regression, at the same optimum."""
    features = made_up_features(2000 if quick else N)
    rows = []
    for n_classes in (2,) if quick else (2, 10):
        for l2 in L2:
            row, difference = compare(features, n_classes, l2, 1 if quick else 3)
            if difference > 1e-6:
                raise SystemExit(f"the probe stops {difference:.1e} above scikit-learn's loss")
            rows.append(row)
    if not quick:
        memory = [in_fresh_process(_fitted, library)[1] for library in ("ours", "theirs")]
        rows[1] = replace(rows[1], memory_mb=memory[0], other_memory_mb=memory[1])
    return rows


def main() -> None:
    """Print the table, on real features."""
    features = real_features(parser(__doc__, seeds=0).parse_args().cache)
    found = [compare(features, n_classes, l2, ROUNDS) for n_classes in (2, 10) for l2 in L2]
    print(table(row for row, _ in found))
    print(f"\nLargest loss here - there: {max(difference for _, difference in found):+.1e}")


if __name__ == "__main__":
    main()
