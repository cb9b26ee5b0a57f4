"""Gains of the methods of `w2s_data.finetune` on real data, beside those in their papers.

Every experiment is repeated on fresh splits, one per seed. Run
``python benchmarks/evidence/replication.py``; it prints Markdown tables of means over seeds with
95 % t-intervals, and what was to be expected.
Choose some experiments with ``--only SST-2 shortcut filters``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from experiments import Values, digits, eta_curve, raven_domains, raven_flips, shortcut, sst2, union
from filters import filter_table
from scipy.stats import t

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import parser

from w2s_data.finetune import fit_student

SPEED = ("naive", "confidence", "enhanced", "cosupervised", "raven")


@dataclass(frozen=True)
class Setting:
    """One experiment, and the least that was to be expected of some of its numbers."""

    run: Callable[..., Values]
    least: dict[str, float]
    options: dict[str, Any] = field(default_factory=dict)
    seeds: int = 5


SETTINGS = {
    "SST-2, TF-IDF teacher": Setting(
        sst2,
        {
            "ceiling": 0.80,
            "naive hard - teacher": 0.022,
            "confidence .75 - naive soft": 0.03,
            "confidence .75, PGR": 0.35,
        },
        {"weak": "tfidf", "n_labelled": 500},
    ),
    "SST-2, layer-0 teacher": Setting(
        sst2,
        {"naive hard - teacher": 0.010, "confidence .75 - naive soft": 0.012},
        {"weak": "layer 0", "n_labelled": 200},
    ),
    "shortcut, eta_l .05, eta_u .05 to .5": Setting(
        eta_curve, {"fall of the gain from .05 to .5": 0.07}
    ),
    "shortcut length, .05/.25": Setting(
        shortcut,
        {"enhanced - naive": 0.035, "enhanced - naive, worst group": 0.08},
        {"attribute": "length", "eta_l": 0.05, "eta_u": 0.25},
    ),
    "shortcut length, .2/.5": Setting(
        shortcut,
        {"enhanced - naive": 0.012, "enhanced - naive, worst group": 0.07},
        {"attribute": "length", "eta_l": 0.2, "eta_u": 0.5},
    ),
    "shortcut comma, .05/.25": Setting(
        shortcut,
        {"enhanced - naive": 0.009, "enhanced - naive, worst group": 0.035},
        {"attribute": "comma", "eta_l": 0.05, "eta_u": 0.25},
    ),
    "digits, 1/2/4 teachers": Setting(digits, {"cosupervised - single": 0.03}, seeds=10),
    "five corpora, 1/2/5 teachers": Setting(
        union,
        {
            "cosupervised - single": 0.05,
            "cosupervised - mean_ensemble": 0.06,
            "cosupervised - self_training": 0.0,
        },
    ),
    "teachers of three corpora": Setting(
        raven_domains,
        {
            "raven - mean ensemble": 0.04,
            "raven - average single": 0.06,
            "largest weight on the most accurate": 0.8,
            "Spearman of weights and accuracy": 0.8,
        },
    ),
    "teachers with flipped labels": Setting(
        raven_flips, {"raven - mean ensemble": 0.008, "Spearman of weights and accuracy": 0.9}
    ),
}


def interval(values: pd.Series) -> str:
    """Mean and 95 % t-interval."""
    half = t.ppf(0.975, len(values) - 1) * values.sem() if len(values) > 1 else np.nan
    return f"{values.mean():+.3f} [{values.mean() - half:+.3f}, {values.mean() + half:+.3f}]"


def print_setting(name: str, setting: Setting, table: pd.DataFrame) -> None:
    """The setting's lines of the table."""
    for key, values in table.items():
        least = setting.least.get(str(key))
        reached = "" if least is None else "yes" if values.mean() >= least else "no"
        expected = "" if least is None else f"{least:+.3f}"
        positive = f"{(values > 0).sum()}/{len(values)}"
        print(f"| {name} | {key} | {interval(values)} | {positive} | {expected} | {reached} |")
    sys.stdout.flush()


def print_filters(cache: Path, seeds: range, n_pool: int, l2: float) -> None:
    """Rules of choosing points, over configurations: mean, s.e., and how many are positive."""
    table = filter_table(cache, seeds, n_pool, l2)
    print(f"\nPool {n_pool:,}, l2 {l2:g}, {len(table)} configurations, points of accuracy:\n")
    print("| rule, minus all points with soft labels | mean | s.e. | positive | worst |")
    print("|---|---|---|---|---|")
    for rule, values in table.drop(columns="teacher").items():
        print(
            f"| {rule} | {values.mean():+.2f} | {values.sem():.2f} "
            f"| {(values > 0).sum()}/{len(values)} | {values.min():+.2f} |"
        )
    print(f"\nConfigurations below zero: {negative(table)}", flush=True)


def print_speed() -> None:
    """Seconds to train heads on 7,000 x 384 features, five seeds against one."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(7000, 384)).astype(np.float32)
    teachers = rng.dirichlet([1, 1], size=(7000, 3))
    print("\n| method, 7,000 x 384 | one seed, s | five seeds, s | ratio |\n|---|---|---|---|")
    total = 0.0
    for method in SPEED:
        seconds = []
        for seeds in (1, 5):
            started = time.perf_counter()
            fit_student(
                method,
                features,
                teachers,
                seeds=seeds,
                random_state=0,
                controls=False,
                device="cpu",
            )
            seconds.append(time.perf_counter() - started)
        total += seconds[1]
        print(f"| {method} | {seconds[0]:.1f} | {seconds[1]:.1f} | {seconds[1] / seconds[0]:.1f} |")
    print(f"| all five | | {total:.1f} | |", flush=True)


def negative(table: pd.DataFrame) -> str:
    """The configurations in which `crossfit` loses."""
    rows = [
        f"{' / '.join(map(str, index))} (teacher {row['teacher']:.0f} %: {row['crossfit']:+.1f})"
        for index, row in table.iterrows()
        if row["crossfit"] <= 0
    ]
    return ", ".join(rows) or "none"


def main() -> None:
    """Print the table of settings, then those of the rules that choose points."""
    options = parser(__doc__, seeds=5)
    options.add_argument("--first-seed", type=int, default=1000)
    options.add_argument("--only", nargs="+", default=[""], help="parts of the settings' names")
    arguments = options.parse_args()
    started = time.perf_counter()
    n_seeds = 3 if arguments.quick else arguments.seeds
    first = arguments.first_seed
    print("| setting | number | mean [95 %] | seeds > 0 | at least | reached |")
    print("|---|---|---|---|---|---|")
    for name, setting in SETTINGS.items():
        if any(part in name for part in arguments.only):
            seeds = range(first, first + max(n_seeds, setting.seeds * (not arguments.quick)))
            runs = [setting.run(seed, arguments.cache, **setting.options) for seed in seeds]
            print_setting(name, setting, pd.DataFrame(runs))
    if any(part in "filters" for part in arguments.only):
        for n_pool, l2 in ((2000, 1e-3), (400, 1e-3), (400, 1e-2)):
            print_filters(arguments.cache, range(first, first + n_seeds), n_pool, l2)
    if any(part in "speed" for part in arguments.only):
        print_speed()
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
