"""Is a student of gold and weak values ahead of the teacher, and of students of either alone?

Four real targets: the angle by which an image of clothing was turned, the share that was cropped
away, the number of words of a news item, the progression of diabetes. The teacher is ridge on weak
features, trained on other rows ("external") or on the gold rows ("own"). Run ``python
benchmarks/evidence/regression.py --first 300``; it prints a Markdown table.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import parser
from values import TASKS, ValueTask

from w2s_data.probes import RidgeProbe
from w2s_data.regression import ValuePosterior, measure_gain
from w2s_data.utils.intervals import mean_interval

METHODS = ("stacked", "naive", "crossfit")
# Rows of the external teacher, gold rows, pool and test; diabetes has 442 rows.
SIZES = {"diabetes": (100, (50, 100), 150, 92)}
USUAL_SIZES = (600, (50, 200), 2000, 1000)


def cell(task: ValueTask, kind: str, n_gold: int, seed: int) -> dict[str, float]:
    """Squared errors over the variance of the test targets, and the coverage of the posterior."""
    n_external, _, n_pool, n_test = SIZES.get(task.name, USUAL_SIZES)
    order = np.random.default_rng(seed).permutation(len(task.targets))
    external, gold, pool, test = np.split(
        order[: n_external + n_gold + n_pool + n_test],
        np.cumsum([n_external, n_gold, n_pool]),
    )
    y = task.targets
    learned = external if kind == "external" else gold
    teacher = RidgeProbe().fit(task.weak[learned], y[learned])
    weak, errors = teacher.predict(task.weak), teacher.predict_errors(task.weak)
    if kind == "own":
        weak[gold], errors[gold] = teacher.leave_one_out_, teacher.leave_one_out_errors_
    rows = np.concatenate([gold, pool, test])
    place = {row: at for at, row in enumerate(rows)}

    def relabel(kept: np.ndarray) -> np.ndarray:
        chosen = rows[kept]
        again = RidgeProbe(teacher.penalty_).fit(task.weak[chosen], y[chosen])
        return again.predict(task.weak[rows])

    assert len(place) == len(rows)
    targets = np.where(np.arange(len(rows)) < n_gold, y[rows], np.nan)
    posterior = ValuePosterior(random_state=seed).fit(
        task.strong[rows],
        weak[rows],
        targets=targets,
        weak_errors=errors[rows],
        pool=np.arange(n_gold, n_gold + n_pool),
        relabel=relabel if kind == "own" else None,
    )
    result = measure_gain(
        task.strong[rows],
        weak[rows],
        y[rows],
        np.repeat(["labelled", "pool", "test"], [n_gold, n_pool, n_test]),
        methods=METHODS,
        weak_errors=errors[rows],
        posterior=(posterior.values_, posterior.errors_),
        seeds=1,
        n_resamples=100,
        random_state=seed,
    )
    variance = y[test].var()
    found = {
        name: result.references[name]["mse"].value / variance
        for name in ("teacher", "labelled_only", "ceiling", "posterior")
    }
    found |= {name: result[name].measures["mse"].value / variance for name in METHODS}
    apart = np.abs(posterior.values_ - y[rows])[n_gold:]
    found["covered"] = float((apart < 1.645 * posterior.errors_[n_gold:]).mean())
    return found


def main() -> None:
    """Print a table of the cells and the leads over all of them."""
    options = parser(__doc__, seeds=5)
    options.add_argument("--first", type=int, default=0, help="first seed")
    options.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    arguments = options.parse_args()
    seeds = range(arguments.first, arguments.first + (2 if arguments.quick else arguments.seeds))
    runs = []
    for name in arguments.tasks:
        task = TASKS[name](arguments.cache)
        if task is None:
            print(f"{name} needs the Debian package dataset-fashion-mnist", file=sys.stderr)
            continue
        for kind in ("external", "own"):
            for n_gold in SIZES.get(name, USUAL_SIZES)[1]:
                for seed in seeds:
                    found = cell(task, kind, n_gold, seed)
                    runs.append({"cell": f"{name}, {kind}, {n_gold}", "seed": seed, **found})
                print(f"{name}, {kind}, {n_gold}", file=sys.stderr, flush=True)
    table = pd.DataFrame(runs)
    three = ["teacher", "labelled_only", "naive"]
    # In each cell, the best of the three on average: the best of each run would profit from chance.
    means = table.groupby("cell", sort=False)[three].transform("mean")
    best = means.idxmin(axis=1)
    own = np.array([row[name] for name, (_, row) in zip(best, table.iterrows(), strict=True)])
    table["lead"] = own - table["stacked"]
    table["vote lead"] = own - table["posterior"]
    print(_markdown(table))
    for name in ("lead", "vote lead"):
        mean, low, high = mean_interval(table.groupby("seed")[name].mean())
        by_cell = table.groupby("cell")[name].mean()
        print(
            f"{name}: {mean:+.3f} ({low:+.3f} to {high:+.3f} over seeds), ahead in "
            f"{int((by_cell > 0).sum())} of {len(by_cell)} cells, worst {by_cell.min():+.3f}"
        )


def _markdown(table: pd.DataFrame) -> str:
    columns = ["teacher", "labelled_only", "naive", "crossfit", "stacked", "ceiling", "posterior"]
    lines = [
        "| cell | " + " | ".join([*columns, "best of three - stacked", "covered"]) + " |",
        "|" + "---|" * (len(columns) + 3),
    ]
    for name, part in table.groupby("cell", sort=False):
        shown = [f"{part[column].mean():.3f}" for column in columns]
        lead, low, high = mean_interval(part["lead"])
        shown += [f"{lead:+.3f} ({low:+.3f} to {high:+.3f})", f"{part['covered'].mean():.2f}"]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
