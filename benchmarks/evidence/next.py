"""What are 100 labels worth that `choose_rows` asks for, beside 100 of random pool rows?

Four corpora, a TF-IDF teacher trained on 600 other rows, 100 gold rows, a pool of 2,000. A student
of gold and weak labels is trained before and after 100 pool rows got their labels. Run
``python benchmarks/evidence/next.py``; it prints a Markdown table. ``--first N`` starts at another
seed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import Corpus, load_corpus, minilm_features, parser, tfidf_features

from w2s_data import LabelPosterior, LinearProbe
from w2s_data.posterior import choose_rows
from w2s_data.utils.intervals import mean_interval

CORPORA = ("ag_news_test", "trec", "sst2", "customer_reviews")
N_EXTERNAL, N_GOLD, N_POOL, MOST_TEST = 600, 100, 2000, 2000
BUDGET = 100
TEACHER_C = 0.01  # scikit-learn's: l2 = 1 / (C n)
STUDENT_L2 = 0.1
LARGEST = 6_000  # rows of a corpus, of which a task uses 4,700


class Task:
    """A corpus divided at random, and the weak labels of a teacher from outside."""

    def __init__(self, corpus: Corpus, strong: np.ndarray, seed: int) -> None:
        self.n_classes, self.seed = corpus.n_classes, seed
        rng = np.random.default_rng([seed, N_GOLD])
        sizes = np.cumsum([N_EXTERNAL, N_GOLD, N_POOL])
        used = rng.permutation(len(corpus))[: sizes[-1] + MOST_TEST]
        external, self.gold, self.pool, self.test = np.split(np.arange(len(used)), sizes)
        self.y, self.strong = corpus.labels[used], strong[used]
        weak = tfidf_features(corpus, used[: sizes[-1]], 48)[used]
        teacher = self.probe(1 / (TEACHER_C * N_EXTERNAL)).fit(weak[external], self.hot(external))
        self.weak_proba = teacher.predict_proba(weak)
        # Chosen once: a penalty that jumps between two grid points would hide 100 labels.
        self.l2 = self.probe("cv").fit(self.strong[self.gold], self.hot(self.gold)).l2_

    def probe(self, l2: object) -> LinearProbe:
        """Return an unfitted probe."""
        return LinearProbe(l2=l2, device="cpu", random_state=self.seed)

    def hot(self, rows: np.ndarray) -> np.ndarray:
        """Return gold labels as distributions."""
        return np.eye(self.n_classes)[self.y[rows]]

    def train(self, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the posterior of the pool and the correctness at test of a student of both."""
        pool = np.setdiff1d(self.pool, gold)
        posterior = LabelPosterior(l2=self.l2, device="cpu", random_state=self.seed).fit(
            self.strong[pool],
            self.weak_proba[pool],
            gold=(self.strong[gold], self.weak_proba[gold], self.y[gold]),
            progress=False,
        )
        both = self.probe(STUDENT_L2).fit(
            self.strong[np.concatenate([pool, gold])],
            np.concatenate([posterior.proba_, self.hot(gold)]),
        )
        guess = both.predict_proba(self.strong[self.test]).argmax(axis=1)
        return posterior.proba_, guess == self.y[self.test]


def measure(task: Task) -> dict[str, float]:
    """Measure the rise in accuracy by random rows, by chosen ones, and the difference."""
    proba, before = task.train(task.gold)
    strong, rng = task.strong[task.pool], np.random.default_rng(task.seed)
    chosen = choose_rows(strong, proba, BUDGET, random_state=rng).rows
    drawn = rng.choice(N_POOL, BUDGET, replace=False)
    by_choice, by_chance = (
        float(task.train(np.append(task.gold, task.pool[rows]))[1].mean() - before.mean())
        for rows in (chosen, drawn)
    )
    return {
        "before": float(before.mean()),
        "random": by_chance,
        "chosen": by_choice,
        "chosen - random": by_choice - by_chance,
        "guess wrong": float((proba[chosen].argmax(axis=1) != task.y[task.pool[chosen]]).mean()),
    }


def main() -> None:
    """Print a row per corpus, and the mean with intervals over seeds."""
    options = parser(__doc__, seeds=10)
    options.add_argument("--first", type=int, default=100, help="first seed (default: %(default)s)")
    arguments = options.parse_args()
    seeds = range(arguments.first, arguments.first + (3 if arguments.quick else arguments.seeds))
    print("| corpus | before | 100 random | 100 chosen | chosen − random | guess wrong |")
    print("|---|---|---|---|---|---|", flush=True)
    found = []
    for name in CORPORA:
        corpus = load_corpus(name, LARGEST)
        strong = minilm_features(corpus, 6, arguments.cache)
        runs = pd.DataFrame([measure(Task(corpus, strong, seed)) for seed in seeds])
        found.append(runs)
        print(f"| {name} | {' | '.join(cells(runs))} |", flush=True)
    # By seed, since the corpora of one seed are no sample of corpora.
    mean = sum(found) / len(found)
    print(f"| mean | {' | '.join(cells(mean))} |")
    print(f"ratio of the means: {mean['chosen'].mean() / mean['random'].mean():.2f}")


def cells(runs: pd.DataFrame) -> list[str]:
    """Return the means, in points, and the interval of the difference."""
    _, low, high = mean_interval(runs["chosen - random"].to_numpy())
    return [
        f"{runs['before'].mean():.3f}",
        f"{100 * runs['random'].mean():+.2f}",
        f"{100 * runs['chosen'].mean():+.2f}",
        f"{100 * runs['chosen - random'].mean():+.2f} ({100 * low:+.2f} to {100 * high:+.2f})",
        f"{runs['guess wrong'].mean():.0%}",
    ]


if __name__ == "__main__":
    main()
