"""How far leaving out can go on pools with bad sources, and what else a student gains there.

The pools of ``bad_sources.py`` and the default objective: perfect knowledge of the bad sources,
single items of low trust, weights, near-duplicates, earlier stops, and labels of the posterior.
Run ``python benchmarks/evidence/leaving_out.py``; it prints a Markdown table.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import ClassVar
from unittest import mock

import joblib
import numpy as np
import pandas as pd
from bad_sources import BUDGETS, CASES, MOST, RANDOM_RUNS, buy, ratio_interval, shown
from pools import STUDENT_L2, Pools
from selection import alike

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import parser

from w2s_data import LabelPosterior, LinearProbe
from w2s_data.errors import DegenerateDataWarning
from w2s_selectors.objectives import consistency
from w2s_selectors.objectives.screen import ScreenMatch

# Chosen on seeds 0 to 2 and 10.
LEAST_TRUST = 0.4  # of a single item; of .3 to .6
LEAST_SHARE = 0.8  # of the upper quartile of the sources' mean trust; of .8 and .9
ALIKE = 0.9  # cosine of near-duplicates
EARLY = 20  # items after which a source may be stopped, instead of 40
PAIRS = (  # with labels of the posterior: what the choice, and what leaving out adds
    ("chosen, labels of the posterior", "random, labels of the posterior"),
    ("everything, labels of the posterior", "random, labels of the posterior"),
    ("chosen, labels of the posterior", "the 100 gold rows alone"),
)
GOLD_L2 = 0.1  # of the student of gold rows alone, which are few


@dataclass(frozen=True)
class Early(ScreenMatch):
    """`ScreenMatch` that chooses after one batch of each source."""

    name: ClassVar[str] = "early"
    warm_up: ClassVar[int] = 1


def measure(corpus: str, off_topic: str, seed: int, cache: Path) -> list[dict[str, object]]:
    """Accuracies of one pool: a record per budget and idea."""
    warnings.simplefilter("ignore", DegenerateDataWarning)
    pool = Pools(cache, MOST).bad(corpus, off_topic, seed)
    data, strong, proba, sources = pool.dataset(), pool.strong, pool.proba, pool.sources
    posterior = LabelPosterior(device="cpu", random_state=seed)
    posterior.fit(strong, proba, gold=pool.labelled, progress=False)
    trust, joined = posterior.trust_, posterior.proba_
    place = pd.Series(np.arange(len(data)), index=data.ids)
    spend = partial(buy, data, strong, None)
    gold_strong, _, gold = pool.labelled
    alone = LinearProbe(l2=GOLD_L2, device="cpu").fit(gold_strong, gold)

    def rows_of(names: object) -> np.ndarray:
        return place[list(names)].to_numpy()

    def student(rows: np.ndarray, labels: np.ndarray = proba, weight: object = None) -> float:
        probe = LinearProbe(l2=STUDENT_L2, device="cpu")
        probe.fit(strong[rows], labels[rows], sample_weight=weight)
        return 100 * float((probe.predict(pool.test) == pool.gold).mean())

    good = np.flatnonzero(np.isin(sources, ["good", "more"]))
    rng = np.random.default_rng(seed)
    records = []
    for budget in BUDGETS:
        at_random = [
            rows_of(bought(spend(budget, 1000 * seed + run, objective=alike, policy="random")))
            for run in range(RANDOM_RUNS)
        ]
        result = spend(budget, seed, objective="screen_match", target=pool.target)
        with mock.patch.object(consistency, "MINIMUM_POINTS", EARLY):
            early = spend(budget, seed, objective=Early(), target=pool.target)
        everything, chosen = rows_of(bought(result)), rows_of(result.chosen_ids)
        trusted = chosen[np.isin(sources[chosen], trusted_sources(sources, trust, everything))]
        same = one_weight(strong, chosen)
        accuracy = {
            "random": np.mean([student(rows) for rows in at_random]),
            "everything bought": student(everything),
            "without stopped sources (`chosen_ids`)": student(chosen),
            "oracle: without the four bad sources": student(np.intersect1d(everything, good)),
            "oracle: the budget spent on the two good ones": np.mean(
                [student(rng.permutation(good)[:budget]) for _ in range(RANDOM_RUNS)]
            ),
            "everything, but no item of trust < .4": student(above(everything, trust)),
            "chosen, but no item of trust < .4": student(above(chosen, trust)),
            "chosen, weighted by trust": student(chosen, weight=trust[chosen]),
            "chosen, near-duplicates share one weight": student(chosen, weight=same),
            "chosen, sources of low mean trust left out as well": student(trusted),
            "stops after 20 items: everything": student(rows_of(bought(early))),
            "stops after 20 items: chosen": student(rows_of(early.chosen_ids)),
            "random, labels of the posterior": np.mean(
                [student(rows, joined) for rows in at_random]
            ),
            "everything, labels of the posterior": student(everything, joined),
            "chosen, labels of the posterior": student(chosen, joined),
            "the 100 gold rows alone": 100 * alone.score(pool.test, pool.gold),
        }
        common = {"corpus": corpus, "seed": seed, "budget": budget}
        records += [common | {"idea": name, "accuracy": value} for name, value in accuracy.items()]
    return records


def bought(result: object) -> list[str]:
    """Return the ids of all that a selection bought."""
    return [name for part in result.ids for name in part]


def above(rows: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """Return the rows that are trusted enough."""
    return rows[trust[rows] >= LEAST_TRUST]


def trusted_sources(sources: np.ndarray, trust: np.ndarray, rows: np.ndarray) -> list[str]:
    """Return the sources whose mean trust, plus its standard error, is not far below the best."""
    by_source = pd.Series(trust[rows]).groupby(sources[rows])
    mean = by_source.mean()
    return mean.index[mean + by_source.sem() >= LEAST_SHARE * mean.quantile(0.75)].tolist()


def one_weight(strong: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return weights by which an item and those near it count as one."""
    unit = (strong[rows] - strong[rows].mean(axis=0)) / strong[rows].std(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return 1 / (unit @ unit.T > ALIKE).sum(axis=1)


def show(table: pd.DataFrame) -> None:
    """Print the gain over random of each idea, and its ratio to that of everything bought."""
    wide = table.pivot_table(
        index=["budget", "corpus", "seed"], columns="idea", values="accuracy", sort=False
    )
    gains = wide.sub(wide["random"], axis=0).drop(columns="random")
    print("| idea" + "".join(f" | {b} items | minus chosen | ratio" for b in BUDGETS) + " | both |")
    print("|---" * (2 + 3 * len(BUDGETS)) + "|")
    first, second = gains.columns[:2]
    for name in gains:
        cells = []
        for budget in BUDGETS:
            own = gains.loc[budget]
            ratio = ratio_of(own[first], own[name]) if name != first else ""
            apart = shown(own[name] - own[second]) if name != second else ""
            cells += [shown(own[name]), apart, ratio]
        both = gains.groupby(level=["corpus", "seed"]).mean()
        cells.append(ratio_of(both[first], both[name]) if name != first else "")
        print(f"| {name} | {' | '.join(cells)} |")
    for (name, other), budget in product(PAIRS, BUDGETS):
        own = wide.loc[budget]
        print(f"\n{name} − {other}, {budget} items: {shown(own[name] - own[other])}")


def ratio_of(before: pd.Series, after: pd.Series) -> str:
    """Ratio of two mean gains, with its interval."""
    low, high = ratio_interval(before, after)
    return f"{after.mean() / before.mean():.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    """Measure every idea on every pool."""
    options = parser(__doc__, seeds=5)
    options.add_argument("--first", type=int, default=300, help="first seed (default: %(default)s)")
    options.add_argument("--jobs", type=int, default=1)
    arguments = options.parse_args()
    seeds = range(arguments.first, arguments.first + (3 if arguments.quick else arguments.seeds))
    for corpus, _ in CASES:  # features are computed once, before the workers start
        Pools(arguments.cache, MOST).features(corpus)
    done = joblib.Parallel(arguments.jobs)(
        joblib.delayed(measure)(*case, seed, arguments.cache)
        for seed, case in product(seeds, CASES)
    )
    print(f"{len(CASES)} corpora, {len(seeds)} seeds each; points, mean [95 %] runs above 0\n")
    show(pd.DataFrame([record for records in done for record in records]))


if __name__ == "__main__":
    main()
