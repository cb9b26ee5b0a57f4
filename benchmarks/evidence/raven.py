"""Three teachers of other domains: what do students reach in and out of their distribution?

Sentiment of SST-2, customer reviews and MPQA, each in turn the new domain: one teacher has learned
from 400 texts of each other domain and one from 400 of both (logistic, C = .01, MiniLM layer 1),
200 texts of the other domains have gold labels, and the pool is 1,500 texts of the new domain.
Students are linear heads on MiniLM's last layer. Test rows: 1,000 of the other domains ("known")
and 1,000 of the new one. Run ``python benchmarks/evidence/raven.py``; it prints a Markdown table of
accuracies in percent, means over the domains with 95 % intervals over seeds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, load_corpus, minilm_features, parser

from w2s_data import LinearProbe
from w2s_data.finetune import measure_gain
from w2s_data.utils.intervals import mean_estimate

DOMAINS = ("sst2", "customer_reviews", "mpqa")
METHODS = ("naive", "confidence", "raven", "stacked")
MOST = 3_000  # texts of a corpus
TEACHER_LAYER, TEACHER_C = 1, 0.01  # scikit-learn's C: l2 = 1 / (C n)
N_TEACHER, N_GOLD, N_POOL, N_TEST = 400, 200, 1_500, 1_000
KNOWN, NEW = "test_known", "test_new"
NAMES = {"teacher": "mean ensemble", "labelled_only": "gold labels alone"}


def load(cache: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return domains, labels, weak and strong features of all texts."""
    parts = []
    for name in DOMAINS:
        corpus = load_corpus(name, MOST)
        layers = [minilm_features(corpus, k, cache) for k in (TEACHER_LAYER, LAST_LAYER)]
        parts.append((np.full(len(corpus), name), corpus.labels, *layers))
    domains, labels, weak, strong = (np.concatenate(part) for part in zip(*parts, strict=True))
    return domains, labels, weak, strong


def draw(
    domains: np.ndarray, new: str, seed: int
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return the rows of each teacher, those of the gain, and the splits of the latter."""
    rng = np.random.default_rng([seed, DOMAINS.index(new)])
    others = [rng.permutation(np.flatnonzero(domains == name)) for name in DOMAINS if name != new]
    own = [rows[:N_TEACHER] for rows in others]
    both = np.concatenate([rows[N_TEACHER:][: N_TEACHER // 2] for rows in others])
    rest = rng.permutation(np.concatenate([rows[N_TEACHER + N_TEACHER // 2 :] for rows in others]))
    unseen = rng.permutation(np.flatnonzero(domains == new))
    pieces = {
        "labelled": rest[:N_GOLD],
        "pool": unseen[:N_POOL],
        KNOWN: rest[N_GOLD:][:N_TEST],
        NEW: unseen[N_POOL:][:N_TEST],
    }
    splits = np.repeat(list(pieces), [len(rows) for rows in pieces.values()])
    return [*own, both], np.concatenate(list(pieces.values())), splits


def measure(data: tuple[np.ndarray, ...], new: str, seed: int) -> pd.DataFrame:
    """Return accuracy by student and test split, and the best single teacher."""
    domains, labels, weak, strong = data
    taught, rows, splits = draw(domains, new, seed)
    said = np.stack(
        [
            LinearProbe(l2=1 / (TEACHER_C * len(own)), device="cpu")
            .fit(weak[own], labels[own])
            .predict_proba(weak[rows])
            for own in taught
        ],
        axis=1,
    )
    result = measure_gain(
        strong[rows],
        said,
        labels[rows],
        splits,
        methods=METHODS,
        seeds=[seed],
        device="cpu",
        random_state=seed,
        progress=False,
    )
    table = result.split_table().pivot(index="student", columns="split", values="accuracy")
    right = said.argmax(axis=2) == labels[rows][:, None]
    for split in (KNOWN, NEW):
        singles = right[splits == split].mean(axis=0)
        table.loc["best single teacher", split] = singles.max()
        table.loc["mean of single teachers", split] = singles.mean()
    return table.rename(index=NAMES)


def main() -> None:
    """Print the table."""
    arguments = parser(__doc__, seeds=5)
    arguments.add_argument("--first", type=int, default=0, help="first seed")
    options = arguments.parse_args()
    data = load(options.cache / f"most-{MOST}")
    seeds = range(options.first, options.first + (3 if options.quick else options.seeds))
    runs = {(new, seed): measure(data, new, seed) for new in DOMAINS for seed in seeds}
    whole = pd.concat(runs, names=["new", "seed"]) * 100
    students = list(dict.fromkeys(whole.index.get_level_values("student")))
    columns = [*(f"new: {name}" for name in DOMAINS), "new: mean", "minus ensemble", "known: mean"]
    print(f"| student | {' | '.join(columns)} |\n{'|---' * (1 + len(columns))}|")
    ensemble = whole.xs("mean ensemble", level="student")
    for student in students:
        own = whole.xs(student, level="student")
        by_domain = [f"{own.loc[name, NEW].mean():.1f}" for name in DOMAINS]
        estimates = own[NEW], own[NEW] - ensemble[NEW], own[KNOWN]
        # The three domains are no sample of domains: intervals are over seeds.
        cells = (mean_estimate(e.groupby("seed").mean().to_numpy()) for e in estimates)
        shown = [f"{e.value:.1f} ({e.low:.1f} to {e.high:.1f})" for e in cells]
        print(f"| {student} | {' | '.join([*by_domain, *shown])} |")


if __name__ == "__main__":
    main()
