"""Heads on large pools: at the optimum, and after 20 epochs of steps on the same rows.

Students see 384 components of TF-IDF, teachers 48 of them under a usual penalty, and under one so
strong that it makes them shy of rare classes; they learned from 500 other rows. One task is the
phrases of SST-2, the other the texts of five corpora together with their 16 classes. Run
``python benchmarks/evidence/solvers.py``; it prints a Markdown table of test accuracies at the
optimum, and of their lead over those after steps.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import Corpus, load_corpus, parser, tfidf_features

from w2s_data import LinearProbe
from w2s_data.finetune import measure_gain
from w2s_data.finetune.gain.intervals import format_limits
from w2s_data.probes import cross_fit_proba
from w2s_data.utils.intervals import mean_estimate

TASKS = (("sst2",), ("trec", "sst2", "subj", "ag_news_test", "mpqa"))
N_GOLD, N_POOL, N_TEST = 500, 20_000, 2_000
STRONG, WEAK = 384, 48  # components
METHODS = ("naive", "crossfit", "stacked")
TEACHERS = {"usual": 0.05, "shy": 0.5}  # their penalty


def united(names: tuple[str, ...], most: int = 25_000) -> Corpus:
    """Texts of several corpora, whose classes are told apart."""
    corpora = [load_corpus(name, most // len(names)) for name in names]
    starts = np.cumsum([0, *(corpus.n_classes for corpus in corpora)])
    labels = [corpus.labels + start for corpus, start in zip(corpora, starts, strict=False)]
    texts = tuple(text for corpus in corpora for text in corpus.texts)
    return Corpus(" + ".join(names), texts, np.concatenate(labels))


def measure(corpus: Corpus, features: np.ndarray, l2: float, seed: int) -> dict[str, pd.Series]:
    """Test accuracies by student, with each solver."""
    sizes = {"labelled": N_GOLD, "pool": N_POOL, "test": N_TEST}
    order = np.random.default_rng(seed).permutation(len(corpus))[: sum(sizes.values())]
    strong, weak, y = features[order], features[order, :WEAK], corpus.labels[order]
    gold = slice(N_GOLD)
    teacher = LinearProbe(l2=l2, device="cpu", random_state=seed).fit(weak[gold], y[gold])
    proba = np.zeros((len(y), corpus.n_classes))
    proba[:, teacher.classes_] = teacher.predict_proba(weak)
    proba[gold, teacher.classes_] = cross_fit_proba(teacher, weak[gold], y[gold], random_state=seed)
    found = {}
    for solver in ("adam", "auto"):
        result = measure_gain(
            *(strong, proba, y, np.repeat(list(sizes), list(sizes.values()))),
            methods=METHODS,
            seeds=1,
            solver=solver,
            random_state=seed,
            device="cpu",
            progress=False,
        )
        found[solver] = result.to_frame().set_index("student")["accuracy"]
    return found


def main() -> None:
    """Print the table."""
    arguments = parser(__doc__, seeds=4).parse_args()
    seeds = 3 if arguments.quick else arguments.seeds
    print("| classes | teacher | student | optimum | its lead over steps |")
    print("|---|---|---|---|---|")
    for names, (kind, l2) in product(TASKS, TEACHERS.items()):
        corpus = united(names)
        features = tfidf_features(corpus, np.arange(len(corpus)), STRONG)
        draws = [measure(corpus, features, l2, seed) for seed in range(seeds)]
        steps, best = (pd.DataFrame([draw[solver] for draw in draws]) for solver in draws[0])
        for student in best.columns.drop("vote"):
            lead = mean_estimate(best[student] - steps[student])
            cells = f"{corpus.n_classes}", kind, student, f"{best[student].mean():.3f}"
            limits = format_limits(lead, "+")
            print("| " + " | ".join(cells) + f" | {lead.value:+.4f} ({limits}) |", flush=True)


if __name__ == "__main__":
    main()
