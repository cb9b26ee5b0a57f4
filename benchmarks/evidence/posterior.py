"""Is the label posterior calibrated, does trust rank weak labels, what is a student of both worth?

Sixteen cells: four corpora, a TF-IDF teacher trained on 600 other rows ("external") or on the gold
rows ("own"), 50 or 200 gold rows, a pool of 2,000. Run ``python benchmarks/evidence/posterior.py``;
it prints a Markdown table. ``--first N`` starts at another seed.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import Corpus, load_corpus, minilm_features, parser, tfidf_features

from w2s_data import LabelPosterior, LinearProbe
from w2s_data.posterior.calibration import calibration_error

CORPORA = ("ag_news_test", "trec", "sst2", "customer_reviews")
N_EXTERNAL, N_POOL, MOST_TEST = 600, 2000, 2000
TEACHER_C = 0.01  # scikit-learn's: l2 = 1 / (C n)
STUDENT_L2 = 0.1
OPTIONS = ("teacher", "gold alone", "weak alone")


def measure(corpus: Corpus, strong: np.ndarray, own: bool, n_gold: int, seed: int) -> dict:
    """Accuracies at test of the options and of a student of both, and checks of the posterior."""
    rng = np.random.default_rng([seed, n_gold, own])
    sizes = np.cumsum([0 if own else N_EXTERNAL, n_gold, N_POOL])
    external, gold, pool, rest = np.split(rng.permutation(len(corpus)), sizes)
    test, y = rest[:MOST_TEST], corpus.labels
    weak = tfidf_features(corpus, np.concatenate([external, gold, pool]), 48)

    def teach(rows: np.ndarray) -> LinearProbe:
        targets = np.eye(corpus.n_classes)[y[rows]]
        return LinearProbe(l2=1 / (TEACHER_C * len(rows)), device="cpu").fit(weak[rows], targets)

    def relabel(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        retrained = teach(gold[rows])
        return retrained.predict_proba(weak[gold]), retrained.predict_proba(weak[pool])

    teacher = teach(gold if own else external)
    proba = {name: teacher.predict_proba(weak[rows]) for name, rows in named(gold, pool, test)}
    posterior = LabelPosterior(device="cpu", random_state=seed).fit(
        strong[pool],
        proba["pool"],
        gold=(strong[gold], proba["gold"], y[gold]),
        relabel=relabel if own else None,
        progress=False,
    )
    both = LinearProbe(l2=STUDENT_L2, device="cpu").fit(
        np.concatenate([strong[pool], strong[gold]]),
        np.concatenate([posterior.proba_, np.eye(corpus.n_classes)[y[gold]]]),
    )
    ceiling = LinearProbe(l2=STUDENT_L2, device="cpu").fit(strong[pool], y[pool])
    views = posterior.views_
    q = posterior.proba_
    found = {
        "teacher": proba["test"],
        "gold alone": views.gold_model.predict_proba(strong[test]),
        "weak alone": views.student.predict_proba(strong[test]),
        "both": both.predict_proba(strong[test]),
        "posterior": posterior.predict_proba(strong[test], proba["test"]),
        "ceiling": ceiling.predict_proba(strong[test]),
    }
    result = {name: float((p.argmax(axis=1) == y[test]).mean()) for name, p in found.items()}
    right = proba["pool"].argmax(axis=1) == y[pool]
    true = q.argmax(axis=1) == y[pool]
    estimate = posterior.accuracy_
    return result | {
        "auc trust": roc_auc_score(right, posterior.trust_),
        "auc confidence": roc_auc_score(right, proba["pool"].max(axis=1)),
        "calibration": calibration_error(q.max(axis=1), true),
        "covered": float(estimate.low <= true.mean() <= estimate.high),
    }


def named(gold: np.ndarray, pool: np.ndarray, test: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Parts of the rows by name."""
    return [("gold", gold), ("pool", pool), ("test", test)]


def main() -> None:
    """Print a row for each cell, and the means."""
    options = parser(__doc__, seeds=5)
    options.add_argument("--first", type=int, default=100, help="first seed (default: %(default)s)")
    arguments = options.parse_args()
    n_seeds = 3 if arguments.quick else arguments.seeds
    table = []
    for name in CORPORA:
        corpus = load_corpus(name)
        strong = minilm_features(corpus, 6, arguments.cache)
        for own, n_gold in product((False, True), (50, 200)):
            seeds = range(arguments.first, arguments.first + n_seeds)
            runs = pd.DataFrame([measure(corpus, strong, own, n_gold, seed) for seed in seeds])
            best = runs[list(OPTIONS)].max(axis=1)
            runs["both - best"] = runs["both"] - best
            runs["both - gold"] = runs["both"] - runs["gold alone"]
            mean = runs.mean()
            table.append({"gold rows": n_gold, **mean})
            if len(table) == 1:
                print("| cell | " + " | ".join(mean.index) + " |")
                print("|---" * (len(mean) + 1) + "|")
            cell = f"{name}, {'own' if own else 'external'}, {n_gold}"
            print(f"| {cell} | " + " | ".join(f"{v:.3f}" for v in mean) + " |", flush=True)
    cells = pd.DataFrame(table)
    print("| mean | " + " | ".join(f"{v:.3f}" for v in cells.mean()[1:]) + " |")
    for n_gold, part in cells.groupby("gold rows"):
        print(f"calibration error at {n_gold} gold rows: {part['calibration'].mean():.3f}")
    print(
        f"both - best: worst cell {cells['both - best'].min():+.3f}, ahead in "
        f"{int((cells['both - best'] > 0).sum())} of {len(cells)}; "
        f"AUC of trust: lowest {cells['auc trust'].min():.3f}"
    )


if __name__ == "__main__":
    main()
