"""`LinearProbe` against scikit-learn's logistic regression: the same optimum, and the time to it.

Run ``python benchmarks/probe.py``; it prints a Markdown table. Rows are MiniLM features of
several corpora, with classes from a random linear teacher so that their number can be chosen.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from corpora import LAST_LAYER, load_corpus, minilm_features, parser
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from w2s_data import LinearProbe

CORPORA = ("sst2", "subj", "ag_news_test", "trec")
N = 12_000
ROUNDS = 5
L2 = (1e-1, 1e-2, 1e-3)


def task(n_classes: int, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features (N, 384) and noisy classes."""
    parts = [minilm_features(load_corpus(name), LAST_LAYER, cache) for name in CORPORA]
    rng = np.random.default_rng(0)
    everything = np.concatenate(parts)
    features = StandardScaler().fit_transform(everything[rng.permutation(len(everything))[:N]])
    logits = features @ rng.normal(size=(features.shape[1], n_classes)) / 10
    return features, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def objective(
    features: np.ndarray, classes: np.ndarray, weights: np.ndarray, bias: np.ndarray, l2: float
) -> float:
    """What both minimise: mean cross-entropy + l2/2 |W|^2; two classes share one weight vector."""
    logits = features @ weights.T + bias
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    peak = logits.max(axis=1, keepdims=True)
    log_sum = peak[:, 0] + np.log(np.exp(logits - peak).sum(axis=1))
    fit = (log_sum - logits[np.arange(len(classes)), classes]).mean()
    return float(fit + l2 / 2 * (weights**2).sum())


def compare(n_classes: int, cache: Path) -> None:
    """A row for each penalty: seconds of both, interleaved, and the difference of their losses."""
    features, classes = task(n_classes, cache)
    for l2 in L2:
        ours = LinearProbe(l2=l2, standardize=False, device="cpu")
        theirs = LogisticRegression(C=1 / (l2 * len(features)), tol=1e-6, max_iter=5000)
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(ROUNDS):
            for name, model in (("ours", ours), ("theirs", theirs)):
                started = time.perf_counter()
                model.fit(features, classes)
                seconds[name].append(time.perf_counter() - started)
        here, there = (
            objective(features, classes, model.coef_, model.intercept_, l2)
            for model in (ours, theirs)
        )
        mine, yours = (float(np.median(seconds[name])) for name in ("ours", "theirs"))
        print(
            f"| {n_classes} | {l2:g} | {yours:.2f} | {mine:.2f} | {yours / mine:.1f} | "
            f"{here - there:+.1e} |",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    arguments = parser(__doc__, seeds=0).parse_args()
    print(f"{N:,} x 384 features, median of {ROUNDS} interleaved rounds\n")
    print("| classes | l2 | scikit-learn, s | LinearProbe, s | times faster | loss here - theirs |")
    print("|---|---|---|---|---|---|")
    for n_classes in (2, 10):
        compare(n_classes, arguments.cache)


if __name__ == "__main__":
    main()
