"""Heads at the optimum and after steps, on the same rows with the same penalty.

On large pools students see 384 components of TF-IDF, teachers 48 of them under a usual penalty, and
under one so strong that it makes them shy of rare classes; they learned from 500 other rows. One
task is the phrases of SST-2, the other the texts of five corpora together with their 16 classes. On
small pools students see MiniLM, or the pixels of digits, and one task has a rare class. Run
``python benchmarks/evidence/solvers.py``; it prints Markdown tables of test accuracies at the
optimum, and of their lead over those after steps.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import Corpus, load_corpus, minilm_features, parser, tfidf_features

from w2s_data import LinearProbe
from w2s_data.finetune import measure_gain
from w2s_data.finetune.gain.intervals import format_limits
from w2s_data.probes import cross_fit_proba
from w2s_data.utils.intervals import mean_estimate

TASKS = (("sst2",), ("trec", "sst2", "subj", "ag_news_test", "mpqa"))
STRONG, WEAK = 384, 48  # components
METHODS = ("naive", "crossfit", "stacked")
TEACHERS = {"usual": 0.05, "shy": 0.5}  # their penalty
RARE = 0.1  # share of the rare class of a small pool


@dataclass(frozen=True)
class World:
    """Features of all rows and labels; sizes of the labelled split, the pool and the test split."""

    name: str
    strong: np.ndarray
    weak: np.ndarray
    labels: np.ndarray
    sizes: tuple[int, int, int]


def united(names: tuple[str, ...], most: int = 25_000) -> Corpus:
    """Texts of several corpora, whose classes are told apart."""
    corpora = [load_corpus(name, most // len(names)) for name in names]
    starts = np.cumsum([0, *(corpus.n_classes for corpus in corpora)])
    labels = [corpus.labels + start for corpus, start in zip(corpora, starts, strict=False)]
    texts = tuple(text for corpus in corpora for text in corpus.texts)
    return Corpus(" + ".join(names), texts, np.concatenate(labels))


def large_worlds() -> Iterator[World]:
    """Pools of 20,000 texts."""
    for names in TASKS:
        corpus = united(names)
        strong = tfidf_features(corpus, np.arange(len(corpus)), STRONG)
        name = f"{corpus.n_classes} classes"
        yield World(name, strong, strong[:, :WEAK], corpus.labels, (500, 20_000, 2_000))


def small_worlds(cache: Path) -> Iterator[World]:
    """Pools of 2,500 texts, of two classes also with a rare one, and of 1,100 digits."""
    for name in ("trec", "sst2"):
        corpus = load_corpus(name)
        strong = np.asarray(minilm_features(corpus, 6, cache))
        weak = tfidf_features(corpus, np.arange(len(corpus)), WEAK)
        yield World(name, strong, weak, corpus.labels, (300, 2_500, 1_500))
    common, rare = (np.flatnonzero(corpus.labels == code) for code in (0, 1))
    rows = np.concatenate([common, rare[: round(RARE / (1 - RARE) * len(common))]])
    name = f"sst2, {RARE:.0%} of a class"
    yield World(name, strong[rows], weak[rows], corpus.labels[rows], (300, 2_500, 1_500))
    digits = load_digits()
    pixels = digits.data.reshape(-1, 8, 8)
    coarse = pixels.reshape(-1, 4, 2, 4, 2).mean((2, 4)).reshape(-1, 16)
    yield World("digits", digits.data, coarse, digits.target, (100, 1_100, 597))


def measure(world: World, l2: float, seed: int) -> dict[str, pd.Series]:
    """Test accuracies by student, with each solver."""
    sizes = dict(zip(("labelled", "pool", "test"), world.sizes, strict=True))
    order = np.random.default_rng(seed).permutation(len(world.labels))[: sum(world.sizes)]
    strong, weak, y = world.strong[order], world.weak[order], world.labels[order]
    gold = slice(sizes["labelled"])
    teacher = LinearProbe(l2=l2, device="cpu", random_state=seed).fit(weak[gold], y[gold])
    proba = np.zeros((len(y), y.max() + 1))
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


def compare(world: World, kind: str, seeds: range) -> None:
    """Print a row per student."""
    draws = [measure(world, TEACHERS[kind], seed) for seed in seeds]
    steps, best = (pd.DataFrame([draw[solver] for draw in draws]) for solver in draws[0])
    for student in best.columns.drop("vote"):
        lead = mean_estimate(best[student] - steps[student])
        cells = world.name, kind, student, f"{best[student].mean():.3f}"
        limits = format_limits(lead, "+")
        print("| " + " | ".join(cells) + f" | {lead.value:+.4f} ({limits}) |", flush=True)


def main() -> None:
    """Print the tables."""
    options = parser(__doc__, seeds=4)
    options.add_argument("--first", type=int, default=0, help="first seed (default: %(default)s)")
    options.add_argument("--small", action="store_true", help="small pools only")
    arguments = options.parse_args()
    n_seeds = 3 if arguments.quick else arguments.seeds
    seeds = range(arguments.first, arguments.first + n_seeds)
    tables = [(small_worlds(arguments.cache), ("usual",)), (large_worlds(), tuple(TEACHERS))]
    for worlds, kinds in tables[: 1 if arguments.small else 2]:
        print("\n| task | teacher | student | optimum | its lead over steps |")
        print("|---|---|---|---|---|")
        for world, kind in product(worlds, kinds):
            compare(world, kind, seeds)


if __name__ == "__main__":
    main()
