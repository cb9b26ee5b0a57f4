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
import corpora
from corpora import Corpus, load_corpus, minilm_features, parser, tfidf_features

from w2s_data import LinearProbe
from w2s_data.posterior import choose_rows, fit_pool
from w2s_data.probes.linear import stratified_folds
from w2s_data.utils.intervals import mean_interval

CORPORA = ("ag_news_test", "trec", "sst2", "customer_reviews")
N_EXTERNAL, N_GOLD, N_POOL, MOST_TEST = 600, 100, 2000, 2000
BUDGET = 100
TEACHER_C = 0.01  # scikit-learn's: l2 = 1 / (C n)
STUDENT_L2 = 0.1
corpora.LARGEST = 6_000  # rows, of which a task uses 4,700
FOLDS = 5


class Task:
    """A corpus divided at random, with the views that more gold labels do not change."""

    def __init__(self, corpus: Corpus, strong: np.ndarray, seed: int) -> None:
        self.n_classes, self.seed = corpus.n_classes, seed
        rng = np.random.default_rng([seed, N_GOLD])
        sizes = np.cumsum([N_EXTERNAL, N_GOLD, N_POOL])
        used = rng.permutation(len(corpus))[: sizes[-1] + MOST_TEST]
        external, self.gold, self.pool, self.test = np.split(np.arange(len(used)), sizes)
        self.y, self.strong = corpus.labels[used], strong[used]
        weak = tfidf_features(corpus, used[: sizes[-1]], 48)[used]
        strong = self.strong
        targets = np.eye(self.n_classes)[self.y[external]]
        teacher = self.probe(1 / (TEACHER_C * N_EXTERNAL)).fit(weak[external], targets)
        self.teacher = teacher.predict_proba(weak)
        self.student = self.probe(STUDENT_L2).fit(strong[self.pool], self.teacher[self.pool])
        self.student = self.student.predict_proba(strong)
        for train, out in stratified_folds(np.zeros(N_POOL, np.int64), FOLDS, rng):
            part = self.probe(STUDENT_L2).fit(
                strong[self.pool[train]], self.teacher[self.pool[train]]
            )
            self.student[self.pool[out]] = part.predict_proba(strong[self.pool[out]])
        # Chosen once: a penalty that jumps between two grid points would hide 100 labels.
        self.l2 = self.probe("cv").fit(strong[self.gold], self.hot(self.gold)).l2_

    def probe(self, l2: object) -> LinearProbe:
        """Return an unfitted probe."""
        return LinearProbe(l2=l2, device="cpu", random_state=self.seed)

    def hot(self, rows: np.ndarray) -> np.ndarray:
        """Return gold labels as distributions."""
        return np.eye(self.n_classes)[self.y[rows]]

    def train(self, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the posterior of all rows and the correctness at test of a student of both."""
        own = self.probe(self.l2)
        model = own.fit(self.strong[gold], self.hot(gold)).predict_proba(self.strong)
        held_out = np.empty((len(gold), self.n_classes))
        folds = stratified_folds(self.y[gold], FOLDS, np.random.default_rng(self.seed))
        for train, out in folds:  # targets are distributions, since a fold may lack a class
            part = self.probe(self.l2).fit(self.strong[gold[train]], self.hot(gold[train]))
            held_out[out] = part.predict_proba(self.strong[gold[out]])
        views = np.stack([self.teacher[gold], held_out, self.student[gold]])
        joined = fit_pool(views, self.y[gold], offsets=True)
        posterior = joined.proba(np.stack([self.teacher, model, self.student]))
        pool = np.setdiff1d(self.pool, gold)
        both = self.probe(STUDENT_L2).fit(
            self.strong[np.concatenate([pool, gold])],
            np.concatenate([posterior[pool], self.hot(gold)]),
        )
        guess = both.predict_proba(self.strong[self.test]).argmax(axis=1)
        return posterior, guess == self.y[self.test]


def measure(task: Task) -> dict[str, float]:
    """Measure the rise in accuracy by random rows, by chosen ones, and the difference."""
    posterior, before = task.train(task.gold)
    rng = np.random.default_rng(task.seed)
    chosen = choose_rows(
        task.strong[task.pool], posterior[task.pool], BUDGET, random_state=rng
    ).rows
    # Two draws of random rows, whose mean is less noisy.
    drawn = [rng.choice(N_POOL, BUDGET, replace=False) for _ in range(2)]
    after = [task.train(np.append(task.gold, task.pool[rows]))[1] for rows in (chosen, *drawn)]
    rises = [float(right.mean() - before.mean()) for right in after]
    random = float(np.mean(rises[1:]))
    wrong = posterior[task.pool[chosen]].argmax(axis=1) != task.y[task.pool[chosen]]
    return {
        "before": float(before.mean()),
        "random": random,
        "chosen": rises[0],
        "chosen - random": rises[0] - random,
        "guess wrong": float(wrong.mean()),
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
        corpus = load_corpus(name)
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
