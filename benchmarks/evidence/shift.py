"""How often does the shift detector raise a false alarm, and how much foreign data does it see?

Random divisions of one corpus (no shift), one corpus against another, and a pool of 2,000 texts of
which a tenth is foreign; 200 labelled texts, strong features MiniLM, weak ones TF-IDF + SVD(48),
learned from labelled and pool texts, so that test texts are compared by strong features alone. Run
``python benchmarks/evidence/shift.py``; it prints Markdown tables.
"""

from __future__ import annotations

import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, Corpus, load_corpus, minilm_features, parser

from w2s_data import ShiftDetector, TfidfEncoder
from w2s_data.utils.intervals import wilson_interval

DOMAINS = ("sst2", "customer_reviews", "mpqa", "subj")
CORPORA = (*DOMAINS, "trec")
MOST = 3_000  # texts of a corpus
N_LABELLED, N_POOL, N_TEST = 200, 2_000, 500
FOREIGN = 0.1


class Domain:
    """A corpus with its strong features."""

    def __init__(self, corpus: Corpus, cache: Path) -> None:
        self.corpus = corpus
        self.strong = minilm_features(corpus, LAST_LAYER, cache)

    def rows(self, rng: np.random.Generator) -> np.ndarray:
        """Return all rows in random order."""
        return rng.permutation(len(self.corpus))


def detect(parts: dict[str, list[tuple[Domain, np.ndarray]]], seed: int) -> ShiftDetector:
    """Compare "labelled" with the other parts, each of rows of one or several domains."""
    texts, strong, sets = [], [], {}
    for name, pieces in parts.items():
        start = len(texts)
        for domain, rows in pieces:
            texts += domain.corpus.text(rows)
            strong.append(domain.strong[rows])
        sets[name] = np.arange(start, len(texts))
    encoder = TfidfEncoder(48)
    known = np.concatenate([sets["labelled"], sets["pool"]])
    weak = encoder.fit([texts[row] for row in known]).encode(texts)
    return ShiftDetector(random_state=seed).fit(
        np.concatenate(strong),
        weak,
        reference=sets.pop("labelled"),
        others=sets,
        views_of={"test": ["strong"]},
        progress=False,
    )


def undivided(domain: Domain, seed: int) -> dict[str, object]:
    """Divide a corpus at random."""
    rows = domain.rows(np.random.default_rng(seed))
    n_pool = min(N_POOL, len(rows) - N_LABELLED - N_TEST)
    ends = np.cumsum([N_LABELLED, n_pool, N_TEST])
    labelled, pool, test, _ = np.split(rows, ends)
    found = detect(
        {"labelled": [(domain, labelled)], "pool": [(domain, pool)], "test": [(domain, test)]}, seed
    )
    return {"corpus": domain.corpus.name, "alarm": found.alarm_}


def foreign(home: Domain, away: Domain, share: float, seed: int) -> dict[str, object]:
    """Label rows of one corpus, and replace a share of the pool by rows of another."""
    rng = np.random.default_rng(seed)
    rows, others = home.rows(rng), away.rows(rng)
    n_foreign = round(share * N_POOL)
    pool = [(home, rows[N_LABELLED:][: N_POOL - n_foreign]), (away, others[:n_foreign])]
    found = detect({"labelled": [(home, rows[:N_LABELLED])], "pool": pool}, seed)
    shift, strong = found.shifts_["pool"], found.comparisons_[0]
    return {
        "pair": f"{home.corpus.name}, pool with {away.corpus.name}",
        "alarm": found.alarm_,
        "auc": strong.auc.value,
        "share": shift.share.value,
        "covered": shift.share.low <= share <= shift.share.high,
        "effective size": shift.effective_size,
    }


def shares(table: pd.DataFrame, by: str) -> str:
    """Return a Markdown table of means by group, and the share of alarms of all rows."""
    means = table.groupby(by, sort=False).mean()
    lines = [f"| {by} | {' | '.join(means.columns)} |", "|---" * (1 + len(means.columns)) + "|"]
    lines += [
        f"| {name} | {' | '.join(f'{value:.3f}' for value in row)} |"
        for name, row in means.iterrows()
    ]
    low, high = wilson_interval(table["alarm"].sum(), len(table), 0.95)
    alarms = f"alarms in {table['alarm'].mean():.1%} ({low:.1%} to {high:.1%}) of {len(table)} runs"
    return "\n".join([*lines, "", alarms, ""])


def main() -> None:
    """Print the tables."""
    options = parser(__doc__, seeds=40)
    options.add_argument("--first", type=int, default=0, help="first seed")
    arguments = options.parse_args()
    first, n = arguments.first, 3 if arguments.quick else arguments.seeds
    domains = {
        name: Domain(load_corpus(name, MOST), arguments.cache / f"most-{MOST}") for name in CORPORA
    }
    seeds = range(first, first + n)
    print("No shift\n")
    runs = [undivided(domain, seed) for domain in domains.values() for seed in seeds]
    print(shares(pd.DataFrame(runs), "corpus"), flush=True)
    pairs = [(domains[home], domains[away]) for home, away in permutations(DOMAINS, 2)]
    for share, times in ((1.0, max(1, n // 10)), (FOREIGN, max(1, n // 4))):
        print(f"{share:.0%} of the pool foreign\n")
        runs = [foreign(*pair, share, seed) for pair in pairs for seed in seeds[:times]]
        print(shares(pd.DataFrame(runs), "pair"), flush=True)


if __name__ == "__main__":
    main()
