"""Nearest neighbours against scikit-learn, exact on both sides, and how they grow with N.

python benchmarks/speed/neighbors.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.neighbors import NearestNeighbors

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from measure import (
    Row,
    compared,
    growth_rows,
    growth_table,
    in_fresh_process,
    interleaved,
    points,
    table,
)

from w2s_data import NeighborIndex

K = 20
SIZES = (25_000, 50_000, 100_000)


def ours(features: np.ndarray) -> np.ndarray:
    """The neighbours of each point, its own row left out."""
    return NeighborIndex(device="cpu", random_state=0).fit(features).neighbors(K).indices


def theirs(features: np.ndarray) -> np.ndarray:
    """The same by scikit-learn's exact search."""
    index = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute").fit(features)
    return index.kneighbors()[1]


LIBRARIES = {"ours": ours, "theirs": theirs}


def _searched(library: str, n: int) -> Callable[[], object]:
    features = points(n)[0]
    LIBRARIES[library](features[:1000])
    return lambda: LIBRARIES[library](features)


def against_sklearn(quick: bool = False) -> list[Row]:
    """The 20 nearest by cosine of every point, against scikit-learn's exact search."""
    n = 2000 if quick else 10_000
    features = points(n)[0]
    calls = {name: lambda find=find: find(features) for name, find in LIBRARIES.items()}
    times = interleaved(calls, 1 if quick else 3)
    pairs = zip(ours(features), theirs(features), strict=True)
    same = np.mean([len(np.intersect1d(here, there)) / K for here, there in pairs])
    if same < 0.999:
        raise SystemExit(f"only {same:.2%} of the neighbours are scikit-learn's")
    memory = [in_fresh_process(_searched, library, n)[1] for library in calls]
    what = f"{K} neighbours of each of {n:,} points"
    row = compared(what, times["ours"], "scikit-learn, brute", times["theirs"])
    return [replace(row, memory_mb=memory[0], other_memory_mb=memory[1])]


def growth(quick: bool = False) -> list[Row]:
    """All pairs up to 100,000 points, lists of near ones beyond."""
    sizes = (2000, 4000) if quick else SIZES
    return growth_rows(f"{K} neighbours of every point", sizes, partial(_searched, "ours"))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Small sizes only.")
    quick = parser.parse_args().quick
    rows = [*against_sklearn(quick), *growth(quick)]
    print(f"{table(rows)}\n\n{growth_table(rows)}")


if __name__ == "__main__":
    main()
