"""Is the advised option close to the best one, and how often is a clear lead called chance?

Simulated tasks of known truth: Gaussian classes or clusters, seen by a strong and by a weak model;
a teacher from outside, a teacher of the gold rows, or labels through a noisy channel; 20 to 400
gold rows. The verdict sees 1,000 test rows; the truth is the accuracy of the same students on
20,000 more.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import parser

from w2s_data import LabelPosterior, LinearProbe
from w2s_data.errors import DegenerateDataWarning
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.finetune import GainResult, measure_gain
from w2s_data.forecast.options import difference_of
from w2s_data.posterior.rows import label_rows

N_TEST, N_TRUTH, N_EXTERNAL = 1000, 20_000, 400
SIZES = {"gold": (20, 50, 100, 200, 400), "pool": (300, 800, 1500)}
TEACHERS = ("external", "own", "channel")
STRONG, WEAK = 24, 8  # dimensions


@dataclass(frozen=True)
class Task:
    """Rows in the order labelled, pool, test; the last are for the truth alone."""

    features: np.ndarray
    weak: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    settings: dict[str, Any]


def make_task(seed: int) -> Task:
    """Draw a task."""
    rng = np.random.default_rng(seed)
    n_gold, n_pool = (int(rng.choice(SIZES[name])) for name in ("gold", "pool"))
    n_classes, teacher = int(rng.choice((2, 2, 3, 5))), str(rng.choice(TEACHERS))
    n = n_gold + n_pool + N_TEST + N_TRUTH
    labels = rng.integers(n_classes, size=N_EXTERNAL + n)
    gold = np.arange(N_EXTERNAL, N_EXTERNAL + n_gold)
    labels[gold[: 2 * n_classes]] = np.arange(2 * n_classes) % n_classes  # each class twice
    n_clusters = int(rng.choice((1, 3)))
    cluster = labels * n_clusters + rng.integers(n_clusters, size=len(labels))
    latent = rng.normal(size=(n_classes * n_clusters, 6))[cluster]
    strong = _view(latent, STRONG, rng.uniform(1.5, 4.0), rng)
    if n_clusters > 1:  # clusters are not linear: the strong model has features that bend
        strong = np.concatenate([strong, np.maximum(_view(latent, STRONG, 2.0, rng), 0)], axis=1)
    seen = _view(latent, WEAK, rng.uniform(0.5, 2.5), rng)
    weak = _teach(teacher, seen, labels, gold, n_classes, rng)
    kept = slice(N_EXTERNAL, None)
    splits = np.repeat(["labelled", "pool", "test"], [n_gold, n_pool, N_TEST + N_TRUTH])
    settings: dict[str, Any] = {"solver": "lbfgs", "seeds": 1}
    if rng.random() < 1 / 3:
        settings = {"epochs": 8, "learning_rate": 1e-2, "seeds": 3}
    settings |= {"l2": float(rng.choice((0.003, 0.03)))}
    return Task(strong[kept], weak[kept], labels[kept], splits, settings)


def _view(latent: np.ndarray, size: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    mixed = latent @ rng.normal(size=(latent.shape[1], size)) / np.sqrt(latent.shape[1])
    return mixed + noise * rng.normal(size=mixed.shape)


def _teach(
    kind: str,
    seen: np.ndarray,
    labels: np.ndarray,
    gold: np.ndarray,
    n_classes: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Weak probabilities of all rows, held out on the gold rows."""
    eye = np.eye(n_classes)
    if kind == "channel":
        right = rng.uniform(0.55, 0.97, size=n_classes)  # by class
        wrong = (labels + rng.integers(1, n_classes, size=len(labels))) % n_classes
        given = np.where(rng.random(len(labels)) < right[labels], labels, wrong)
        return 0.8 * eye[given] + 0.2 / n_classes

    def fit(rows: np.ndarray) -> LinearProbe:
        return LinearProbe(l2=0.03, device="cpu").fit(seen[rows], eye[labels[rows]])

    rows = np.arange(N_EXTERNAL) if kind == "external" else gold
    proba = fit(rows).predict_proba(seen)
    if kind == "own":
        for fold in np.array_split(rng.permutation(gold), 5):
            proba[fold] = fit(np.setdiff1d(gold, fold)).predict_proba(seen[fold])
    return proba


def measure(seed: int, methods: tuple[str, ...]) -> tuple[GainResult, GainResult]:
    """Measure the options of a task on the test rows, and the same students on 20,000 others."""
    task = make_task(seed)
    pool = np.flatnonzero(task.splits == "pool")
    gold = np.where(task.splits == "labelled", task.labels, -1)
    posterior = label_rows(
        LabelPosterior(device="cpu", random_state=seed),
        as_feature_matrix(task.features),
        task.weak,
        gold,
        pool=pool,
    )
    n_trained = int((task.splits != "test").sum())
    rows = np.arange(len(task.labels))
    few, many = (rows < n_trained + N_TEST, (rows < n_trained) | (rows >= n_trained + N_TEST))
    found = [
        measure_gain(
            task.features[kept],
            task.weak[kept],
            task.labels[kept],
            task.splits[kept],
            posterior=posterior[kept],
            methods=methods,
            controls=False,
            random_state=seed,
            progress=False,
            device="cpu",
            n_resamples=400,
            **task.settings,
        )
        for kept in (few, many)
    ]
    return found[0], found[1]


def judge(seed: int, methods: tuple[str, ...]) -> dict[str, Any]:
    """Compare the advice of several rules with the truth."""
    result, large = measure(seed, methods)
    students = {option.name: option.student for option in result.options}
    truth = {option.name: option.accuracy.value for option in large.options}
    # Among several methods the verdict may have taken another one than is best on 20,000 rows.
    truth |= {
        name: large[student].scores["accuracy"].value
        for name, student in students.items()
        if name in ("weak", "both")
    }
    first, second = sorted(truth.values())[:-3:-1]
    found = {"advised": result.advised, "lead": first - second}
    found["called chance"] = not result.lead.differs_from_zero
    rules = {name: _advise(result, tolerance) for name, tolerance in RULES.items()}
    return found | {rule: first - truth[name] for rule, name in rules.items()}


# Accuracy that a cheaper option may lie behind the best, if not significantly.
RULES = {
    "the most accurate": -1.0,
    "the cheapest not significantly behind": 1.0,
    "and at most 1 point": 0.01,
    "and at most half a point (the verdict)": 0.005,
}


def _advise(result: GainResult, tolerance: float) -> str:
    for option in result.options:
        if option.name == result.best:
            return option.name
        behind = difference_of(result.differences, result.best, option.name)
        if behind.value <= tolerance and not behind.differs_from_zero:
            return option.name
    raise AssertionError("the best option is among the options")


def main() -> None:
    """Print what each rule costs, and how often a clear lead is called chance."""
    options = parser(__doc__, seeds=200)
    options.add_argument("--first", type=int, default=5000, help="first task (default: 5000)")
    options.add_argument("--methods", default="stacked,naive", help="default: %(default)s")
    arguments = options.parse_args()
    n_tasks = 40 if arguments.quick else arguments.seeds
    methods = tuple(arguments.methods.split(","))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        seeds = range(arguments.first, arguments.first + n_tasks)
        table = pd.DataFrame([judge(seed, methods) for seed in seeds])
    print(f"{len(table)} tasks; advised: {table['advised'].value_counts().to_dict()}\n")
    print("| advice | within .01 of the best | mean cost | worst |\n|---|---|---|---|")
    for rule in RULES:
        cost = table[rule]
        print(f"| {rule} | {(cost <= 0.01).mean():.3f} | {cost.mean():.4f} | {cost.max():.3f} |")
    for least in (0.01, 0.02, 0.03):
        clear = table[table["lead"] > least]
        chance = clear["called chance"].mean()
        print(f"\ntrue lead over {least:.2f}: {len(clear)} tasks, called chance in {chance:.3f}")
    ties = table[table["lead"] < 0.002]
    wrong = 1 - ties["called chance"].mean()
    print(f"\ntrue lead below .002: {len(ties)} tasks, called significant in {wrong:.3f}")


if __name__ == "__main__":
    main()
