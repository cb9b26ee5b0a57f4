"""Does the forecast of four options come true, and what does choosing by it cost?

A task is a corpus, a TF-IDF teacher trained on 600 other rows ("external", its labels are
ready-made) or on the gold rows ("own"), and a number of gold rows, with a pool of 1,000. The truth
is the accuracy on up to 2,000 other rows of models trained on that very draw. Run
``python benchmarks/evidence/options.py``; it prints Markdown tables. ``--first N`` starts at
another seed.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import Corpus, load_corpus, minilm_features, parser, tfidf_features

from w2s_data import GainForecaster, LabelPosterior, LinearProbe
from w2s_data.forecast.options import OPTIONS

CORPORA = ("customer_reviews", "sst2", "ag_news_test", "trec")
GOLD_ROWS = (50, 100, 200, 400)
N_EXTERNAL, N_POOL, MOST_TEST = 600, 1000, 2000
TEACHER_C = 0.01  # scikit-learn's: l2 = 1 / (C n)
STUDENT_L2 = 0.1  # of weak alone, both and ceiling; gold alone has its own, by cross-validation
LEVEL = 0.9


def draw(corpus: Corpus, own: bool, n_gold: int, seed: int) -> list[np.ndarray]:
    """External, gold, pool and test rows; drawn again until each class has two gold rows."""
    rng = np.random.default_rng([seed, n_gold, own])
    sizes = np.cumsum([0 if own else N_EXTERNAL, n_gold, N_POOL])
    while True:
        rows = np.split(rng.permutation(len(corpus)), sizes)
        counts = np.bincount(corpus.labels[rows[1]], minlength=corpus.n_classes)
        if counts.min() >= 2:
            return [*rows[:3], rows[3][:MOST_TEST]]


def measure(corpus: Corpus, strong: np.ndarray, own: bool, n_gold: int, seed: int) -> dict:
    """Forecast and truth of one task."""
    external, gold, pool, test = draw(corpus, own, n_gold, seed)
    y, taught = corpus.labels, gold if own else external
    weak = tfidf_features(corpus, np.concatenate([external, gold, pool]), 48)
    untaught = LinearProbe(l2=1 / (TEACHER_C * len(taught)), device="cpu")
    teacher = clone(untaught).fit(weak[taught], y[taught])
    student = LinearProbe(l2=STUDENT_L2, device="cpu")
    gold_student = LinearProbe(l2="cv", device="cpu", random_state=seed).fit(strong[gold], y[gold])
    fixed = LinearProbe(l2=gold_student.l2_, device="cpu")
    ready = tuple(teacher.predict_proba(weak[rows]) for rows in (gold, pool))
    forecast = (
        GainForecaster(student, untaught, gold_student=fixed, level=LEVEL, random_state=seed)
        .fit(
            strong[gold],
            weak[gold],
            y[gold],
            strong_pool=strong[pool],
            weak_pool=weak[pool],
            weak_proba=None if own else ready,
            progress=False,
        )
        .forecast_
    )

    def relabel(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        retrained = clone(untaught).fit(weak[gold[rows]], np.eye(corpus.n_classes)[y[gold[rows]]])
        return retrained.predict_proba(weak[gold]), retrained.predict_proba(weak[pool])

    posterior = LabelPosterior(
        l2=fixed.l2, student_l2=STUDENT_L2, device="cpu", random_state=seed
    ).fit(
        strong[pool],
        ready[1],
        gold=(strong[gold], ready[0], y[gold]),
        relabel=relabel if own else None,
        progress=False,
    )
    both = np.concatenate([posterior.proba_, np.eye(corpus.n_classes)[y[gold]]])
    models = {
        "gold": gold_student,
        "weak": clone(student).fit(strong[pool], teacher.predict(weak[pool])),
        "both": clone(student).fit(np.concatenate([strong[pool], strong[gold]]), both),
        "ceiling": clone(student).fit(strong[pool], y[pool]),
    }
    truth = {"teacher": np.mean(teacher.predict(weak[test]) == y[test])}
    truth |= {name: np.mean(m.predict(strong[test]) == y[test]) for name, m in models.items()}
    return compared(forecast, truth) | {"classes": corpus.n_classes, "own": own, "n": n_gold}


def compared(forecast: object, truth: dict[str, float]) -> dict:
    """A record of forecast accuracies and differences beside the true ones."""
    record: dict = {"best": forecast.best, "advised": forecast.advised}
    found = {option.name: option.accuracy for option in forecast.options}
    cv = dict(zip(OPTIONS, forecast.ingredients.options.cv, strict=True))
    record["cv best"] = max(cv, key=cv.get)
    for name, estimate in (found | {"ceiling": forecast.ceiling}).items():
        inside = estimate.low <= truth[name] <= estimate.high
        record |= {name: estimate.value, f"true {name}": truth[name], f"{name} inside": inside}
        record |= {f"{name} half": (estimate.high - estimate.low) / 2, f"cv {name}": cv.get(name)}
    for pair in forecast.differences:
        key, value = f"{pair.name} - {pair.other}", pair.difference
        true = truth[pair.name] - truth[pair.other]
        inside = value.low <= true <= value.high
        record |= {key: value.value, f"true {key}": true, f"{key} inside": inside}
        record |= {f"{key} half": (value.high - value.low) / 2}
        record |= {f"cv {key}": cv[pair.name] - cv[pair.other]}
    return record


def print_errors(results: pd.DataFrame) -> None:
    """Print errors and coverage of each estimate, and the errors of cross-validation."""
    print("| estimate | mean | mean error | MAE | MAE, cross-validation | coverage | half-width |")
    print("|---|---|---|---|---|---|---|")
    for name in [column.removesuffix(" inside") for column in results if column.endswith("inside")]:
        error = results[name] - results[f"true {name}"]
        by_cv = (results[f"cv {name}"] - results[f"true {name}"]).abs().mean()
        print(
            f"| {name} | {results[f'true {name}'].mean():.3f} | {error.mean():+.3f} | "
            f"{error.abs().mean():.3f} | {by_cv:.3f} | {results[f'{name} inside'].mean():.2f} | "
            f"{results[f'{name} half'].mean():.3f} |"
        )
    print()


def print_costs(results: pd.DataFrame) -> None:
    """Print the accuracy that each way to choose gives away against the best option."""
    true = results[[f"true {name}" for name in OPTIONS]].set_axis(OPTIONS, axis=1)
    best = true.max(axis=1)
    rules = {
        "the forecast's best": results["best"],
        "the forecast's advice": results["advised"],
        "the best in cross-validation": results["cv best"],
    } | {f"always {name}": pd.Series(name, results.index) for name in OPTIONS}
    sizes = sorted(results["n"].unique())
    print("| choice | cost | " + " | ".join(f"{n} gold rows" for n in sizes) + " | worst |")
    print("|---" * (len(sizes) + 3) + "|")
    for rule, names in rules.items():
        reached = pd.Series([true.at[i, name] for i, name in names.items()], names.index)
        cost = best - reached
        means = [cost.mean(), *(cost[results["n"] == n].mean() for n in sizes), cost.max()]
        print(f"| {rule} | " + " | ".join(f"{value:.4f}" for value in means) + " |")
    print()


def main() -> None:
    """Print the tables."""
    options = parser(__doc__, seeds=2)
    options.add_argument("--first", type=int, default=200, help="first seed (default: %(default)s)")
    arguments = options.parse_args()
    records = []
    for name in CORPORA:
        corpus = load_corpus(name)
        strong = minilm_features(corpus, 6, arguments.cache)
        seeds = range(arguments.first, arguments.first + arguments.seeds)
        for own, n_gold, seed in product((False, True), GOLD_ROWS, seeds):
            records.append(measure(corpus, strong, own, n_gold, seed))
            print(name, own, n_gold, seed, records[-1]["best"], file=sys.stderr, flush=True)
    results = pd.DataFrame(records)
    print(f"**Accuracy that a choice gives away, {len(results)} tasks**\n")
    print_costs(results)
    for title, part in (
        ("All tasks", results),
        ("Several classes", results[results["classes"] > 2]),
    ):
        print(f"**{title}, {len(part)}, intervals of {LEVEL:.0%}**\n")
        print_errors(part)
    for n, part in results.groupby("n"):
        inside = part[[c for c in part if c.endswith("inside") and " - " not in c]].mean().mean()
        print(f"coverage of accuracies at {n} gold rows: {inside:.2f}")


if __name__ == "__main__":
    main()
