"""Do the papers' figures come out on real data, by `w2s sweep` alone?

Runs of SST-2 and customer reviews with MiniLM's last layer as strong features. For the share of a
group, that is sentences whose length does not go with the label as in the others (over 15 words:
positive), 5 % of the labelled set, and the teacher reads MiniLM's input embeddings; for all other
figures the teacher reads TF-IDF + SVD(48). Run ``python benchmarks/evidence/sweeps.py``; it prints
a line for each figure.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, Corpus, load_corpus, minilm_features, parser

from w2s_data import Run, audit
from w2s_data.compute.context import Compute
from w2s_data.stages import sweep_stage
from w2s_data.stages.sweep_settings import SweepSettings

MOST, LONG, RARE = 6_000, 15, 0.05
# Labelled and test rows; the pool has the rest.
SIZES = {"sst2": (500, 1900), "customer_reviews": (300, 1000)}
FIGURES = ("overlap", "eta", "gold", "pool", "noise")
FACTS = {
    "overlap": ("slope", "overlap minus random"),
    "eta": ("fall of the average gain", "rank correlation with the theory"),
    "gold": ("d_sw",),
    "pool": ("d_sw",),
    "noise": ("loss at 20 %", "loss at 40 %"),
}


def at_random(corpus: Corpus, seed: int) -> dict[str, np.ndarray]:
    """Rows of each split."""
    n, n_test = SIZES[corpus.name]
    rows = np.random.default_rng(seed).permutation(len(corpus))
    return {
        "labelled": rows[:n],
        "test": rows[n : n + n_test],
        "pool": rows[n + n_test :],
    }


def by_length(corpus: Corpus, groups: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Rows of each split: few of the labelled rows and half of the test are of the rare group."""
    n, n_test = SIZES[corpus.name]
    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {"labelled": [], "test": [], "pool": []}
    for label in (0, 1):
        for group, share in (("rare", RARE), ("usual", 1 - RARE)):
            rows = rng.permutation(np.flatnonzero((corpus.labels == label) & (groups == group)))
            first = round(n * share / 2)
            cut = np.split(rows, [first, first + min(n_test // 4, len(rows) // 3)])
            for name, own in zip(parts, cut, strict=True):
                parts[name].append(own)
    return {name: np.concatenate(own) for name, own in parts.items()}


def scored(corpus: Corpus, figure: str, folder: Path, cache: Path, seed: int) -> Run:
    """A scored run of the corpus."""
    is_long = np.array([len(text.split()) > LONG for text in corpus.texts])
    groups = np.where(is_long == (np.asarray(corpus.labels) == 1), "usual", "rare")
    parts = by_length(corpus, groups, seed) if figure == "eta" else at_random(corpus, seed)
    rows = np.concatenate(list(parts.values()))
    table = pd.DataFrame(
        {
            "text": [corpus.texts[row] for row in rows],
            "label": np.where(np.asarray(corpus.labels)[rows] == 1, "pos", "neg"),
            "split": np.repeat(list(parts), [len(own) for own in parts.values()]),
            "group": groups[rows],
        }
    )
    weak = minilm_features(corpus, 0, cache)[rows] if figure == "eta" else "tfidf:48"
    off = dict.fromkeys(("forecast", "select", "gain", "groups"), False)
    return audit(
        table,
        weak=weak,
        strong=minilm_features(corpus, LAST_LAYER, cache)[rows],
        columns={"item": "text", "label": "label", "split": "split", "group": "group"},
        output=folder / f"{corpus.name}-{'eta' if figure == 'eta' else 'others'}",
        report={"map": False},
        progress=False,
        **off,
    )


def main() -> None:
    """Print a line for each figure, and where asked its points."""
    options = parser(__doc__, seeds=12)
    options.add_argument("--first", type=int, default=300, help="seed of the runs")
    options.add_argument("--only", nargs="+", default=FIGURES, choices=FIGURES)
    options.add_argument("--points", action="store_true", help="print the lines of the figures too")
    arguments = options.parse_args()
    compute = Compute(device="cpu", progress=False, seed=arguments.first)
    print("| corpus | figure | number | mean over draws [95 %] | seconds |\n|---|---|---|---|---|")
    for name in SIZES:
        corpus = load_corpus(name, MOST)
        with tempfile.TemporaryDirectory() as folder:
            for figure in arguments.only:
                run = scored(corpus, figure, Path(folder), arguments.cache, arguments.first)
                started = time.perf_counter()
                seeds = 3 if arguments.quick else arguments.seeds
                settings = SweepSettings(over=figure, seeds=seeds)
                found = sweep_stage(run, settings, compute).summary["sweeps"][figure]
                seconds = time.perf_counter() - started
                for fact in FACTS[figure]:
                    value = found["facts"][fact]
                    text = f"{value['value']:+.3f}"
                    if value["low"] is not None:
                        text += f" [{value['low']:+.3f}, {value['high']:+.3f}]"
                    print(f"| {name} | {figure} | {fact} | {text} | {seconds:.0f} |", flush=True)
                if arguments.points:
                    print((run.path / f"sweep-{figure}.csv").read_text(), flush=True)


if __name__ == "__main__":
    main()
