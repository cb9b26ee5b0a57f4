"""Does `LabelModel` find simulated teachers, beside snorkel's model and crowd-kit's Dawid-Skene?

Worlds whose truth is known: teachers of random accuracy, independent given the class, that vote on
every row, that are silent at random, or that are rules for one class each; and one in which two of
five teachers are copies. 3,000 rows. Run ``python benchmarks/evidence/label_model.py``; it prints a
Markdown table of the accuracy of labels on rows on which somebody votes. snorkel and crowd-kit are
measured where they are installed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import parser
from rules import LABELLERS, right

from w2s_data.utils.votes import abstains

N = 3_000


def teachers(
    rng: np.random.Generator, coverage: float, copies: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return votes (N, 5) of two classes, -1 for silence, and the classes."""
    y = rng.integers(2, size=N)
    said = np.where(rng.random((N, 5)) < rng.uniform(0.55, 0.9, size=5), y[:, None], 1 - y[:, None])
    if copies:
        said[:, 1] = said[:, 0]
    said[rng.random(said.shape) > coverage] = -1
    return said, y


def keywords(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return votes (N, 12) of rules for one class each."""
    y = rng.integers(2, size=N)
    own = np.arange(12) % 2
    often, seldom = rng.uniform(0.02, 0.1, size=12), rng.uniform(0.005, 0.05, size=12)
    fires = rng.random((N, 12)) < np.where(y[:, None] == own, often, seldom)
    return np.where(fires, own, -1), y


WORLDS: dict[str, Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]] = {
    "all vote": lambda rng: teachers(rng, 1.0),
    "silent at random": lambda rng: teachers(rng, 0.5),
    "rules of one class": keywords,
    "two copies": lambda rng: teachers(rng, 1.0, copies=True),
}


def main() -> None:
    """Print the accuracy of each labeller in each world."""
    given = parser(__doc__, seeds=10).parse_args()
    records = []
    for world, draw in WORLDS.items():
        for seed in range(given.seeds):
            said, y = draw(np.random.default_rng(seed))
            weak = np.full((*said.shape, 2), 0.5)
            weak[said >= 0] = np.eye(2)[said[said >= 0]]
            voted = ~abstains(weak).all(axis=1)
            for name, label in LABELLERS.items():
                try:
                    found = right(label(weak), y)[voted].mean()
                except ImportError:
                    continue
                records.append({"world": world, "labels": name, "accuracy": found})
    table = pd.DataFrame(records).groupby(["world", "labels"], sort=False)["accuracy"].mean()
    wide = table.unstack().reindex(columns=[n for n in LABELLERS if n in table.index.levels[1]])
    print(f"| world | {' | '.join(wide.columns)} |\n|{'---|' * (len(wide.columns) + 1)}")
    for world, row in wide.iterrows():
        print(f"| {world} | {' | '.join(f'{100 * value:.1f}' for value in row)} |")


if __name__ == "__main__":
    main()
