"""Unequal classes: heads that start from the shares of the classes, and from equal ones.

Texts with MiniLM features, teachers on 48 components of TF-IDF, 300 gold rows, a pool of 2,500 and
900 test rows; of SST-2 also draws with 10 % and 3 % of one class. All heads take the usual steps.
Run ``python benchmarks/evidence/class_shares.py``; it prints a Markdown table.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, Corpus, load_corpus, minilm_features, parser, tfidf_features

from w2s_data import LinearProbe
from w2s_data.finetune import fit_student
from w2s_data.finetune.gain.intervals import format_limits
from w2s_data.finetune.pool import shares_of
from w2s_data.probes import cross_fit_proba
from w2s_data.utils.intervals import mean_estimate

# Corpus, and the share of its class 1 if not its own.
TASKS = (("sst2", None), ("sst2", 0.1), ("sst2", 0.03), ("customer_reviews", None), ("trec", None))
N_GOLD, N_POOL, N_TEST = 300, 2_500, 900
WEAK = 48  # components
STUDENTS = ("ceiling", "labelled_only", "stacked", "naive", "crossfit")
L2 = 0.05  # penalty of the teacher


def draw(corpus: Corpus, share: float | None, rng: np.random.Generator) -> np.ndarray:
    """Return rows in random order, with this share of class 1."""
    size, order = N_GOLD + N_POOL + N_TEST, rng.permutation(len(corpus))
    if share is not None:
        rare = corpus.labels[order] == 1
        n_rare = round(share * size)
        order = np.concatenate([order[rare][:n_rare], order[~rare][: size - n_rare]])
        rng.shuffle(order)
    return order[:size]


def measure(
    corpus: Corpus, strong: np.ndarray, weak: np.ndarray, share: float | None, seed: int
) -> pd.DataFrame:
    """Test accuracy and log loss by student and start."""
    rows = draw(corpus, share, np.random.default_rng(seed))
    x, z, y, n_classes = strong[rows], weak[rows], corpus.labels[rows], corpus.n_classes
    known = slice(N_GOLD)
    teacher = LinearProbe(l2=L2, device="cpu", random_state=seed).fit(z[known], y[known])
    proba = np.zeros((len(y), n_classes))
    proba[:, teacher.classes_] = teacher.predict_proba(z)
    proba[known, teacher.classes_] = cross_fit_proba(teacher, z[known], y[known], random_state=seed)
    train, test = slice(N_GOLD + N_POOL), slice(N_GOLD + N_POOL, None)
    pool = slice(N_GOLD, N_GOLD + N_POOL)
    gold = np.where(np.arange(N_GOLD + N_POOL) < N_GOLD, y[train], -1)
    starts = {"equal": np.ones(n_classes), "shares": shares_of(y[known], n_classes)}
    found = {}
    for start, shares in starts.items():
        options = {"class_shares": shares, "random_state": seed, "device": "cpu", "progress": False}
        for name in STUDENTS:
            if name == "ceiling":
                student = fit_student("naive", x[pool], np.eye(n_classes)[y[pool]], **options)
            else:
                own = {} if name in ("labelled_only", "stacked") else {"controls": False}
                student = fit_student(name, x[train], proba[train], gold=gold, **options, **own)
            chance = student.predict_proba(x[test])
            right = chance[np.arange(len(chance)), y[test]]
            found[name, start] = {
                "accuracy": (chance.argmax(axis=1) == y[test]).mean(),
                "log loss": -np.log(np.maximum(right, 1e-12)).mean(),
            }
    return pd.DataFrame(found).T


def main() -> None:
    """Print the table."""
    arguments = parser(__doc__, seeds=5).parse_args()
    seeds = 3 if arguments.quick else arguments.seeds
    print("| corpus | student | accuracy | from equal ones | lead | log loss | from equal ones |")
    print("|---|---|---|---|---|---|---|")
    for name, share in TASKS:
        corpus = load_corpus(name, 9_000)
        strong = minilm_features(corpus, LAST_LAYER, arguments.cache)
        weak = tfidf_features(corpus, np.arange(len(corpus)), WEAK)
        draws = [measure(corpus, strong, weak, share, seed) for seed in range(seeds)]
        mean = sum(draws[1:], draws[0]) / seeds
        for student in STUDENTS:
            own, equal = mean.loc[student, "shares"], mean.loc[student, "equal"]
            lead = mean_estimate(
                [
                    one.loc[(student, "shares"), "accuracy"]
                    - one.loc[(student, "equal"), "accuracy"]
                    for one in draws
                ]
            )
            print(
                f"| {name}{'' if share is None else f', {share:.0%} of a class'} | {student} "
                f"| {own['accuracy']:.3f} | {equal['accuracy']:.3f} "
                f"| {lead.value:+.3f} ({format_limits(lead, '+')}) "
                f"| {own['log loss']:.3f} | {equal['log loss']:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
