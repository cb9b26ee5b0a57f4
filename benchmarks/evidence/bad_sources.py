"""Gain of leaving out items bought from bad sources, and of buying by trust.

Two good sources among confident noise, half wrong labels, an off-topic source and near-duplicates,
on five corpora. Run ``python benchmarks/evidence/bad_sources.py``; it prints Markdown tables.
``--first N`` starts at another seed.
"""

from __future__ import annotations

import sys
import warnings
from functools import partial
from itertools import product
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from pools import Pool, Pools
from selection import alike

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import parser

from w2s_data import LabelPosterior, W2SDataset
from w2s_data.errors import DegenerateDataWarning
from w2s_data.utils.intervals import Estimate, mean_estimate
from w2s_selectors import SelectionResult, TableSource, select_sources
from w2s_selectors.objectives import Acquired, Screen, Task

CASES = (
    ("sst2", "trec"),
    ("customer_reviews", "trec"),
    ("subj", "ag_news_test"),
    ("trec", "sst2"),
    ("ag_news_test", "subj"),
)
BUDGETS, BATCH = (400, 800), 20
MOST = 6_000  # rows of a corpus; a pool takes 4,412
RANDOM_RUNS = 3  # whose mean the others are compared with
OBJECTIVES = {  # label -> objective, and whether it sees the target
    "screen": ("screen", False),
    "screen_match": ("screen_match", True),
    "trust": ("trust", False),
    "trust, target": ("trust", True),
}
DEFAULT = "screen_match"
RIVALS = (("trust", "screen"), ("trust, target", "screen_match"))


def buy(
    data: W2SDataset,
    strong: np.ndarray,
    trust: np.ndarray | None,
    budget: int,
    seed: int,
    **options: object,
) -> SelectionResult:
    """Spend a budget on the sources of a pool."""
    sources = TableSource.from_dataset(data, strong_features=strong, trust=trust, random_state=seed)
    return select_sources(
        sources,
        budget=budget,
        batch_size=BATCH,
        replays=0,
        random_state=seed,
        progress=False,
        **options,
    )


def measure(corpus: str, off_topic: str, seed: int, cache: Path) -> list[dict[str, object]]:
    """Accuracies of one pool: a record per budget and strategy."""
    warnings.simplefilter("ignore", DegenerateDataWarning)
    pool = Pools(cache, MOST).bad(corpus, off_topic, seed)
    data, strong, proba = pool.dataset(), pool.strong, pool.proba
    posterior = LabelPosterior(device="cpu", random_state=seed)
    trust = posterior.fit(strong, proba, gold=pool.labelled, progress=False).trust_
    place = pd.Series(np.arange(len(data)), index=data.ids)
    choose = partial(buy, data, strong, trust)

    def accuracy(ids: object) -> float:
        rows = place[list(ids)].to_numpy()
        return 100 * pool.accuracy(strong[rows], proba[rows])

    records = []
    for budget in BUDGETS:
        of_random = [
            choose(budget, 1000 * seed + run, objective=alike, policy="random")
            for run in range(RANDOM_RUNS)
        ]
        bought = [[name for part in result.ids for name in part] for result in of_random]
        screened = [ids_screened(pool, place[ids].to_numpy(), data.ids) for ids in bought]
        common = {"corpus": corpus, "seed": seed, "budget": budget}
        records.append(
            common
            | {"strategy": "random", "bought": np.mean([accuracy(ids) for ids in bought])}
            | {"chosen": np.mean([accuracy(ids) for ids in screened])}
            | {"aside": 1 - np.mean([len(ids) for ids in screened]) / budget}
        )
        for label, (objective, matches) in OBJECTIVES.items():
            target = pool.target if matches else None
            result = choose(budget, seed, objective=objective, target=target)
            everything = [name for part in result.ids for name in part]
            records.append(
                common
                | {"strategy": label, "bought": accuracy(everything)}
                | {"chosen": accuracy(result.chosen_ids)}
                | {"aside": len(result.set_aside) / len(everything)}
            )
    return records


def ids_screened(pool: Pool, rows: np.ndarray, ids: np.ndarray) -> list[str]:
    """Leave out of some rows what the screen condemns once all of them are bought."""
    names, codes = np.unique(pool.sources[rows], return_inverse=True)
    acquired = Acquired(len(names))
    for k in range(len(names)):
        own = rows[codes == k]
        acquired.add(k, pool.strong[own], pool.proba[own])
    task = Task(np.ones(len(names)), BATCH, None, 0)
    stopped = Screen().start(task)(acquired).stopped
    return ids[rows[~np.isin(codes, list(stopped))]].tolist()


def main() -> None:
    """Print the gain over random with and without what was set aside, and of trust."""
    options = parser(__doc__, seeds=5)
    options.add_argument("--first", type=int, default=200, help="first seed (default: %(default)s)")
    options.add_argument("--jobs", type=int, default=1)
    arguments = options.parse_args()
    n_seeds = 3 if arguments.quick else arguments.seeds
    seeds = range(arguments.first, arguments.first + n_seeds)
    for corpus, _ in CASES:  # features are computed once, before the workers start
        Pools(arguments.cache, MOST).features(corpus)
    done = joblib.Parallel(arguments.jobs)(
        joblib.delayed(measure)(*case, seed, arguments.cache)
        for case, seed in product(CASES, seeds)
    )
    table = pd.DataFrame([record for records in done for record in records])
    table = table.set_index(["corpus", "seed", "strategy"])
    print(f"{len(CASES)} corpora, {n_seeds} seeds each; points, mean [95 %] runs above 0\n")
    print("| items | strategy | set aside | gain over random, all bought | left out | difference |")
    print("|---" * 6 + "|")
    for budget in BUDGETS:
        runs = table[table["budget"] == budget].unstack("strategy")
        random = runs["bought", "random"]
        for name in ("random", *OBJECTIVES):
            bought, chosen = runs["bought", name] - random, runs["chosen", name] - random
            label = "random, screened in the end" if name == "random" else name
            cells = [shown(part) for part in (bought, chosen, chosen - bought)]
            if name == "random":
                cells[0] = ""
            aside = runs["aside", name].mean()
            print(f"| {budget} | {label} | {aside:.0%} | {' | '.join(cells)} |")
        for name, rival in RIVALS:
            lead = shown(runs["chosen", name] - runs["chosen", rival])
            print(f"| {budget} | {name} − {rival} | | | {lead} | |")
    for budget in (*BUDGETS, None):
        part = table if budget is None else table[table["budget"] == budget]
        runs = part.groupby(level=["corpus", "seed", "strategy"])[["bought", "chosen"]].mean()
        runs = runs.unstack("strategy")
        gains = [runs[kind, DEFAULT] - runs["bought", "random"] for kind in ("bought", "chosen")]
        low, high = ratio_interval(*gains)
        print(
            f"\n{DEFAULT}, {budget or 'both'}: {gains[0].mean():+.1f} -> {gains[1].mean():+.1f}, "
            f"ratio {gains[1].mean() / gains[0].mean():.2f} [{low:.2f}, {high:.2f}]"
        )


def shown(values: pd.Series) -> str:
    """Mean, 95 % interval and number of positive runs."""
    estimate: Estimate = mean_estimate(values.to_numpy(), 0.95)
    positive = int((values > 0).sum())
    limits = f"[{estimate.low:+.1f}, {estimate.high:+.1f}]"
    return f"{estimate.value:+.1f} {limits} {positive}/{len(values)}"


def ratio_interval(before: pd.Series, after: pd.Series) -> tuple[float, float]:
    """95 % bootstrap interval of the ratio of two means over the same runs."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(before), size=(2000, len(before)))
    ratios = after.to_numpy()[draws].mean(axis=1) / before.to_numpy()[draws].mean(axis=1)
    return tuple(np.quantile(ratios, [0.025, 0.975]))


if __name__ == "__main__":
    main()
