"""What cross-validation finds in few labelled rows, with splits balanced by source and without.

Scans of digits from four sources, ten classes: labelled rows are drawn by `assign_splits`, balanced
by class alone or by class and source. A probe on the pixels is cross-validated on them, and trained
on all of them and tested on other rows. Run ``python benchmarks/evidence/split_balance.py``; it
prints a Markdown table of the difference, with 95 % t-intervals over the draws.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import parser

from w2s_data import LinearProbe, PixelEncoder, W2SDataset
from w2s_data.data import splits
from w2s_data.data.digits import digits
from w2s_data.finetune.gain.intervals import format_limits
from w2s_data.probes import cross_fit_proba
from w2s_data.utils.intervals import mean_estimate

N_LABELLED = (50, 100, 200, 400)
N_KINDS = 40  # classes times sources


def measure(
    data: W2SDataset, features: np.ndarray, n_labelled: int, by_source: bool, seed: int
) -> dict[str, float]:
    """Cross-validated accuracy of the labelled rows, and that of a probe trained on all of them."""
    sources = data.table["source"].factorize()[0]
    with patch.object(splits, "LEAST_OF_A_KIND", 0):
        split = splits.assign_splits(
            data.labels,
            np.arange(len(data)),
            sources=sources if by_source else None,
            sizes={"labelled": n_labelled, "test": 0.3},
            random_state=seed,
        )
    labelled, test = split == "labelled", split == "test"
    probe = LinearProbe(l2=0.1, device="cpu")
    x, y = features[labelled], data.labels[labelled]
    crossed = cross_fit_proba(probe, x, y, folds=10, random_state=seed).argmax(axis=1) == y
    taught = probe.fit(x, y).predict(features[test]) == data.labels[test]
    return {"crossed": crossed.mean(), "taught": taught.mean()}


def main() -> None:
    """Print the table."""
    options = parser(__doc__, 24).parse_args()
    draws = 3 if options.quick else options.seeds
    data = digits().dataset
    features = PixelEncoder(8).encode(data.items)
    print("| labelled rows | per class and source | balanced by | learned | found minus learned |")
    print("|---|---|---|---|---|")
    for n in N_LABELLED:
        for by_source in (True, False):
            found = pd.DataFrame(
                [measure(data, features, n, by_source, seed) for seed in range(draws)]
            )
            lead = mean_estimate((found["crossed"] - found["taught"]).to_numpy())
            by = "class and source" if by_source else "class"
            limits = f"{lead.value:+.3f} ({format_limits(lead, '+')})"
            print(f"| {n} | {n / N_KINDS:g} | {by} | {found['taught'].mean():.3f} | {limits} |")


if __name__ == "__main__":
    main()
