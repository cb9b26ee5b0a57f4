"""Worth of 100 labels that `choose_rows` asks for, beside 100 of random pool rows.

Four corpora, a TF-IDF teacher trained on 600 other rows, 100 gold rows, a pool of 2,000. A student
of gold and weak labels is trained before and after 100 pool rows got their labels. Run
``python benchmarks/evidence/next.py``; it prints a Markdown table, with ``--rules`` also one of
other rules. ``--first N`` starts at another seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import Corpus, load_corpus, minilm_features, parser, tfidf_features

from w2s_data import LabelPosterior, LinearProbe
from w2s_data.posterior import choose_rows
from w2s_data.utils.intervals import mean_interval

CORPORA = ("ag_news_test", "trec", "sst2", "customer_reviews")
N_EXTERNAL, N_GOLD, N_POOL, MOST_TEST = 600, 100, 2000, 2000
BUDGET = 100
DRAWS = 2  # of random rows, whose mean is less noisy than one
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


@dataclass(frozen=True)
class Pool:
    """Input of a rule: directions of pool and gold rows, and the posterior of the pool."""

    strong: np.ndarray
    proba: np.ndarray
    unit: np.ndarray
    gold: np.ndarray
    rng: np.random.Generator

    @property
    def doubt(self) -> np.ndarray:
        """Chance that the posterior's guess is wrong."""
        return 1 - self.proba.max(axis=1)


def chosen(pool: Pool, n: int = BUDGET) -> np.ndarray:
    """Choose as `w2s next` does."""
    return choose_rows(pool.strong, pool.proba, n, random_state=pool.rng).rows


def half_random(pool: Pool) -> np.ndarray:
    """Choose half of the rows, and draw the others."""
    half = chosen(pool, BUDGET // 2)
    rest = np.setdiff1d(np.arange(N_POOL), half)
    return np.append(half, pool.rng.choice(rest, BUDGET - len(half), replace=False))


def least_sure(pool: Pool) -> np.ndarray:
    """Choose the rows that the posterior doubts most."""
    return pool.doubt.argsort()[-BUDGET:]


def weighted_k_means(pool: Pool) -> np.ndarray:
    """Choose the row nearest to each centre of clusters weighted by doubt."""
    means = KMeans(BUDGET, n_init=1, random_state=int(pool.rng.integers(2**31)))
    distances = means.fit(pool.unit, sample_weight=pool.doubt).transform(pool.unit)
    return np.unique(distances.argmin(axis=0))


def without_classes(pool: Pool) -> np.ndarray:
    """Choose as `w2s next` does, but from all guessed classes at once."""
    rows: list[int] = []
    similar, covered = np.exp(4 * (pool.unit @ pool.unit.T - 1)), np.zeros(N_POOL)
    for _ in range(BUDGET):
        rows.append(int((pool.doubt @ np.maximum(similar - covered[:, None], 0)).argmax()))
        covered = np.maximum(covered, similar[:, rows[-1]])
    return np.array(rows)


def least_variance(pool: Pool) -> np.ndarray:
    """Choose the rows that tell most of the posterior's errors, taken for a Gaussian process."""
    unit = np.concatenate([pool.unit, pool.gold])
    spread = 1 - (pool.proba**2).sum(axis=1)  # variance of a label under the posterior
    spread = np.append(spread, np.full(len(pool.gold), spread.mean()))
    covariance = np.maximum(unit @ unit.T, 0) ** 2 * np.sqrt(np.outer(spread, spread))
    rows = [*range(N_POOL, len(unit))]  # the labels of gold rows are known
    for step in range(len(pool.gold) + BUDGET):
        noisy = covariance.diagonal() + spread + 1e-9
        if step >= len(pool.gold):
            told = (covariance[:N_POOL] ** 2).sum(axis=0) / noisy
            told[rows] = -1
            rows.append(int(told.argmax()))
        column = covariance[:, rows[step]].copy()
        covariance -= np.outer(column, column) / noisy[rows[step]]
    return np.array(rows[len(pool.gold) :])


OTHERS = (half_random, without_classes, least_variance, weighted_k_means, least_sure)


def directions(strong: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Standardise columns as those of `like`, and give every row length one."""
    spread = like.std(axis=0)
    scaled = (strong - like.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)


def measure(task: Task, others: Sequence[Callable[[Pool], np.ndarray]] = ()) -> dict[str, float]:
    """Measure the rise in accuracy by random rows, by chosen ones, and the difference."""
    proba, before = task.train(task.gold)
    strong = task.strong[task.pool]
    unit, gold = directions(strong, strong), directions(task.strong[task.gold], strong)

    def rise(rows: np.ndarray) -> float:
        after = task.train(np.append(task.gold, task.pool[rows]))[1]
        return float(after.mean() - before.mean())

    picked = {}
    for rule in (chosen, *others):
        rng = np.random.default_rng(task.seed)
        picked[title(rule)] = rule(Pool(strong, proba, unit, gold, rng))
    rng, rows = np.random.default_rng(task.seed), picked["chosen"]
    drawn = [rise(rng.choice(N_POOL, BUDGET, replace=False)) for _ in range(DRAWS)]
    found = {name: rise(rows) for name, rows in picked.items()} | {"random": float(np.mean(drawn))}
    wrong = proba[rows].argmax(axis=1) != task.y[task.pool[rows]]
    return found | {
        "before": float(before.mean()),
        "guess wrong": float(wrong.mean()),
    }


def main() -> None:
    """Print a row per corpus, and the mean with intervals over seeds."""
    options = parser(__doc__, seeds=10)
    options.add_argument("--first", type=int, default=300, help="first seed (default: %(default)s)")
    options.add_argument("--rules", action="store_true", help="measure other rules too")
    arguments = options.parse_args()
    seeds = range(arguments.first, arguments.first + (3 if arguments.quick else arguments.seeds))
    others = OTHERS if arguments.rules else ()
    found = {}
    for name in CORPORA:
        corpus = load_corpus(name, LARGEST)
        strong = minilm_features(corpus, 6, arguments.cache)
        found[name] = pd.DataFrame([measure(Task(corpus, strong, seed), others) for seed in seeds])
        print(name, found[name].mean().round(4).to_dict(), file=sys.stderr, flush=True)
    print(tables(found, others))


def tables(found: dict[str, pd.DataFrame], others: Sequence[Callable[[Pool], np.ndarray]]) -> str:
    """Return what was found by corpus and seed as Markdown."""
    # By seed, since the corpora of one seed are no sample of corpora.
    mean = sum(found.values()) / len(found)
    lines = ["| corpus | before | 100 random | 100 chosen | chosen − random | guess wrong |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(cells(runs))} |" for name, runs in found.items()]
    lines += [f"| mean | {' | '.join(cells(mean))} |"]
    lines += ["", f"| rule | {' | '.join(found)} | − random | ratio |"]
    lines += ["|---" * (len(found) + 3) + "|"]
    for rule in map(title, (chosen, *others)):
        rises = [f"{100 * runs[rule].mean():+.2f}" for runs in found.values()]
        rises += [difference(mean, rule), ratio(mean, rule)]
        lines.append(f"| {rule} | {' | '.join(rises)} |")
    return "\n".join(lines)


def title(rule: Callable[[Pool], np.ndarray]) -> str:
    """Return the name of a rule."""
    return rule.__name__.replace("_", " ")


def cells(runs: pd.DataFrame) -> list[str]:
    """Return the means, in points, and the interval of the difference."""
    return [
        f"{runs['before'].mean():.3f}",
        f"{100 * runs['random'].mean():+.2f}",
        f"{100 * runs['chosen'].mean():+.2f}",
        difference(runs, "chosen"),
        f"{runs['guess wrong'].mean():.0%}",
    ]


def difference(runs: pd.DataFrame, rule: str) -> str:
    """Return what a rule gains over random rows, in points, with the interval over seeds."""
    value, low, high = mean_interval((runs[rule] - runs["random"]).to_numpy())
    return f"{100 * value:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def ratio(runs: pd.DataFrame, rule: str) -> str:
    """Return how often a rule is worth random rows, with a jackknife interval over seeds."""
    both = runs[[rule, "random"]]
    value = both[rule].mean() / both["random"].mean()
    rests = (both.sum() - both).eval(f"`{rule}` / random").to_numpy()
    pseudo = len(both) * value - (len(both) - 1) * rests
    _, low, high = mean_interval(pseudo)
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
