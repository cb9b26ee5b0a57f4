"""How often does a scored run raise a false alarm of shift?

Random divisions of digits, SST-2 and TREC into labelled rows, pool and 500 test rows, with a
teacher trained on the labelled rows: strong features are pixels or MiniLM, weak ones means of 9
patches or TF-IDF + SVD(16), learned from all rows. Run
``python benchmarks/evidence/shift_runs.py``; it prints a Markdown table.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, load_corpus, minilm_features, parser

from w2s_data import LinearProbe, TfidfEncoder, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.stages.shifting import find_shift
from w2s_data.stages.weak_labels import teach
from w2s_data.utils.intervals import wilson_interval

MOST, N_POOL, N_TEST = 6_000, 2_000, 500


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return strong and weak features, and labels."""
    data = load_digits()
    corners = [(row, column) for row in (0, 3, 5) for column in (0, 3, 5)]
    weak = [data.images[:, r : r + 3, c : c + 3].mean(axis=(1, 2)) for r, c in corners]
    return data.data, np.stack(weak, axis=1), data.target


def texts(name: str, cache: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return strong and weak features, and labels."""
    corpus = load_corpus(name, MOST)
    items = corpus.text(np.arange(len(corpus)))
    weak = TfidfEncoder(16, random_state=0).fit(items).encode(items)
    return minilm_features(corpus, LAST_LAYER, cache), weak, np.asarray(corpus.labels)


def alarm(strong: np.ndarray, weak: np.ndarray, labels: np.ndarray, n: int, seed: int) -> bool:
    """Divide rows at random, and return whether any set raises an alarm."""
    rows = np.random.default_rng(1000 + seed).permutation(len(labels))[: n + N_POOL + N_TEST]
    split = np.full(len(rows), "pool", dtype=object)
    split[:n], split[n : n + N_TEST] = "labelled", "test"
    table = pd.DataFrame({"text": rows.astype(str), "label": labels[rows].astype(str)})
    data = load_dataset(table.assign(split=split), item="text", label="label", split="split")
    features = {"strong": as_feature_matrix(strong[rows]), "weak": as_feature_matrix(weak[rows])}
    taught = teach(data, features["weak"], LinearProbe(l2=0.01, random_state=0))
    found = find_shift(data, features, taught, Compute(progress=False, seed=seed))
    return bool(found.summary["alarm"])


def main() -> None:
    """Print the table."""
    args = parser(__doc__, seeds=30).parse_args()
    print("| data | gold rows | alarms | 95 % interval |\n|---|---|---|---|")
    for name in ("digits", "sst2", "trec"):
        arrays = digits() if name == "digits" else texts(name, args.cache)
        for n in (50, 200):
            found = sum(alarm(*arrays, n, seed) for seed in range(args.seeds))
            low, high = wilson_interval(found, args.seeds, 0.95)
            print(f"| {name} | {n} | {found} of {args.seeds} | {low:.3f} to {high:.3f} |")


if __name__ == "__main__":
    main()
