"""Do forecasts of squared errors hold what is measured, and does their advice pay?

Three real targets and their noise: scikit-learn's diabetes table (weak: two of ten columns), the
slant of scanned digits (weak: a noisy camera of 4 x 4 pixels), the number of words of AG-News texts
on a log scale from MiniLM's features (weak: TF-IDF), each with a teacher that learns from the gold
rows and with ready-made values of one that learned from 150 others. The truth is the error of the
four options on fresh rows: teacher, `labelled_only`, `naive` and `stacked`. Run ``python
benchmarks/evidence/value_forecast.py``; it prints Markdown tables.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import load_corpus, minilm_features, parser, tfidf_features

from w2s_data.data.continuous import digit_ink
from w2s_data.errors import DegenerateDataWarning
from w2s_data.probes.ridge import RidgeProbe
from w2s_data.regression import ValueForecaster, ValuePosterior, fit_student

READER, MOST_POOL, MOST_TEST, MOST_TEXTS = 150, 1_000, 1_500, 6_000
OPTIONS = ("teacher", "gold", "weak", "both")
SIZES = (30, 60, 120, 240)


@dataclass(frozen=True)
class World:
    """A target, features of all rows, and rows of the reader that ready-made values come from."""

    name: str
    targets: np.ndarray
    strong: np.ndarray
    weak: np.ndarray


def worlds(cache: Path) -> Iterator[World]:
    """Read the three targets."""
    from sklearn.datasets import load_diabetes

    table, progression = load_diabetes(return_X_y=True)
    yield World("diabetes", progression, table, table[:, [2, 3]])
    ink = digit_ink(n_labelled=100, reader=False)
    yield World("slant", ink.dataset.targets, ink.strong_features, ink.weak_features)
    corpus = load_corpus("ag_news_test", MOST_TEXTS)
    words = np.log([len(text.split()) for text in corpus.texts])
    strong = np.asarray(minilm_features(corpus, 6, cache))
    yield World("words", words, strong, tfidf_features(corpus, np.arange(3_000), 48))


def measured(
    world: World, weak: np.ndarray, gold: np.ndarray, pool: np.ndarray, test: np.ndarray, relabel
) -> dict[str, float]:
    """Return the squared errors of the four options on the test rows."""
    rows = np.concatenate([gold, pool])
    targets = np.where(np.isin(rows, gold), world.targets[rows], np.nan)
    strong = world.strong[rows]
    posterior = ValuePosterior(random_state=0).fit(
        strong, weak[rows], targets=targets, relabel=relabel(rows)
    )
    joined = posterior.values_, posterior.errors_
    found = {"teacher": weak[test]}
    for option, method in (("gold", "labelled_only"), ("weak", "naive"), ("both", "stacked")):
        given = {"posterior": joined} if method == "stacked" else {}
        student = fit_student(method, strong, weak[rows], targets=targets, random_state=0, **given)
        found[option] = student.predict(world.strong[test])
    return {name: float(((v - world.targets[test]) ** 2).mean()) for name, v in found.items()}


def trial(world: World, n: int, given: bool, seed: int) -> Iterator[dict[str, object]]:
    """Forecast and measure one draw of the rows."""
    rng = np.random.default_rng([seed, n, given])
    order = rng.permutation(len(world.targets))
    reader, gold, rest = np.split(order, [READER * given, READER * given + n])
    half = len(rest) // 2
    pool, test = rest[:half][:MOST_POOL], rest[half:][:MOST_TEST]
    taught = reader if given else gold
    teacher = RidgeProbe().fit(world.weak[taught], world.targets[taught])
    weak = teacher.predict(world.weak)
    if not given:
        weak[gold] = teacher.leave_one_out_

    def relabel(rows: np.ndarray):
        if given:
            return None
        probe = RidgeProbe(penalty=teacher.penalty_)
        return lambda own: probe.fit(world.weak[rows[own]], world.targets[rows[own]]).predict(
            world.weak[rows]
        )

    ready = {"weak_values": (weak[gold], weak[pool])} if given else {}
    found = (
        ValueForecaster(random_state=seed)
        .fit(
            world.strong[gold],
            world.weak[gold],
            world.targets[gold],
            strong_pool=world.strong[pool],
            weak_pool=world.weak[pool],
            **ready,
        )
        .forecast_
    )
    truth = measured(world, weak, gold, pool, test, relabel)
    best = min(truth.values())
    same = {"world": world.name, "n": n, "given": given, "regret": truth[found.advised] / best - 1}
    same |= {f"regret_{name}": truth[name] / best - 1 for name in OPTIONS}
    for name in OPTIONS:
        mse = found.mse(name)
        inside = mse.low <= truth[name] <= mse.high
        yield same | {"of": "error", "inside": inside, "ratio": mse.value / truth[name]}
    for pair in found.differences:
        apart = truth[pair.name] - truth[pair.other]
        low, high = pair.difference.low, pair.difference.high
        yield same | {"of": "difference", "inside": low <= apart <= high}


def main() -> None:
    """Print coverage, the ratio of forecast to truth, and what the advice costs."""
    options = parser(__doc__, seeds=20)
    options.add_argument("--first-seed", type=int, default=0)
    arguments = options.parse_args()
    warnings.simplefilter("ignore", DegenerateDataWarning)
    seeds = range(
        arguments.first_seed, arguments.first_seed + (3 if arguments.quick else arguments.seeds)
    )
    rows = []
    for world in worlds(arguments.cache):
        for n in (size for size in SIZES if 2 * (READER + size) < len(world.targets)):
            for given in (False, True):
                for seed in seeds:
                    rows += trial(world, n, given, seed)
    table = pd.DataFrame(rows)
    for by in ("world", "n", "given"):
        print(f"\n| {by} | errors covered | differences covered | forecast over truth, median |")
        print("|---|---|---|---|")
        for key, part in table.groupby(by):
            covered = part.groupby("of")["inside"].mean()
            ratio = part["ratio"].median()
            print(f"| {key} | {covered['error']:.3f} | {covered['difference']:.3f} | {ratio:.3f} |")
    once = table.drop_duplicates(
        ["world", "n", "given", "regret", *(f"regret_{n}" for n in OPTIONS)]
    )
    print("\n| option taken | error above the best option's, mean | in more than 5 % above it |")
    print("|---|---|---|")
    for name in ("regret", *(f"regret_{name}" for name in OPTIONS)):
        words = "advised" if name == "regret" else f"always {name.removeprefix('regret_')}"
        print(f"| {words} | {once[name].mean():.1%} | {(once[name] > 0.05).mean():.1%} |")


if __name__ == "__main__":
    main()
