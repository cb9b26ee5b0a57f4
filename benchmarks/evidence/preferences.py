"""Preference pairs with a known reward: how near students come to the true ranking.

The reward of a sentence of SST-2 is its sentiment, the log-odds by a probe on MiniLM's features
that is fitted to all labels; preferences follow the Bradley-Terry model. Students learn from 2,000
pairs, each with one preference that is drawn or with its probability: a linear reward on frozen
features, and MiniLM with adapters. Accuracy is the chance, by the true reward, that a preference
agrees with the student's order, on pairs of other sentences; that of the true order is the highest
there is. Run ``OMP_NUM_THREADS=1 python benchmarks/evidence/preferences.py``; it prints a Markdown
table. A finished training is kept in the cache.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, load_corpus, minilm_features, parser
from finetuning import Cell, remembered
from models import minilm

from w2s_data import LinearProbe
from w2s_data.data.prompts import Pair
from w2s_data.finetune import fit_student
from w2s_data.utils.intervals import mean_estimate

MOST_WORDS = 14  # so that a training takes minutes
N_TRAIN, N_TEST = 2_000, 1_000
SPREAD = 2.0  # standard deviation of the reward: the true order then agrees with 83 of 100 pairs
LABELS = ("drawn", "probability")
EPOCHS = 1  # of adapters: in further passes they learn by heart which preferences are noise
TRAINED: dict[str, dict[str, Any]] = {
    "frozen features": {"tuning": "head"},
    "adapters": {"tuning": "lora", "model": str(minilm()), "epochs": EPOCHS},
}


def rewards(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the true reward (N,) of every sentence."""
    # A strong penalty: the reward follows the directions in which sentences differ most.
    proba = LinearProbe(l2=1.0, device="cpu").fit(features, labels).predict_proba(features)
    sentiment = np.log(proba[:, 1]) - np.log(proba[:, 0])
    return np.asarray(SPREAD * sentiment / sentiment.std())


def learn(student: str, labels: str, seed: int, cache: Path) -> Cell:
    """Train a student on pairs; return its accuracy, and that of the true order."""
    corpus, settings = load_corpus("sst2"), TRAINED[student]
    features = minilm_features(corpus, LAST_LAYER, cache)
    true = rewards(features, corpus.labels)
    short = [row for row, text in enumerate(corpus.texts) if len(text.split()) <= MOST_WORDS]
    rng = np.random.default_rng(seed)  # each sentence is in one pair
    first, second = rng.permutation(short)[: 2 * (N_TRAIN + N_TEST)].reshape(2, -1)
    chance = 1 / (1 + np.exp(true[second] - true[first]))
    drawn = (rng.random(len(chance)) < chance).astype(float)
    preferred = drawn if labels == "drawn" else chance
    weak = np.column_stack([preferred, 1 - preferred])
    train, test = slice(None, N_TRAIN), slice(N_TRAIN, None)
    pairs = [Pair(*both) for both in zip(corpus.text(first), corpus.text(second), strict=True)]
    is_head = settings["tuning"] == "head"
    difference = features[first] - features[second]
    trained = fit_student(
        "naive",
        difference[train] if is_head else None,
        weak[train],
        items=None if is_head else pairs[train],
        paired=True,
        device="cpu",
        random_state=seed,
        progress=False,
        **settings,
    )
    is_first = trained.predict_proba(difference[test] if is_head else pairs[test])[:, 0] > 0.5
    chance = chance[test]
    return {
        "accuracy": float(np.where(is_first, chance, 1 - chance).mean()),
        "best": float(np.maximum(chance, 1 - chance).mean()),
        "order": float((is_first == (chance > 0.5)).mean()),
    }


def main() -> None:
    """Print the table."""
    options = parser(__doc__, seeds=5)
    options.add_argument("--first", type=int, default=0, help="first seed")
    arguments = options.parse_args()
    first, cache = arguments.first, arguments.cache
    seeds = range(first, first + (3 if arguments.quick else arguments.seeds))
    print("| labels | student | accuracy | true order | below it | pairs in the true order |")
    print("|---|---|---|---|---|---|")
    for labels in LABELS:
        for student in TRAINED:
            name = f"preferences {student} {labels}".replace(" ", "-")
            runs = [
                remembered(cache, f"{name}-{seed}", learn, student, labels, seed, cache)
                for seed in seeds
            ]
            accuracy, best, order = (
                np.mean([run[key] for run in runs]) for key in ("accuracy", "best", "order")
            )
            below = f"{best - accuracy:.3f}"
            if len(runs) > 1:
                lost = mean_estimate(np.array([run["best"] - run["accuracy"] for run in runs]))
                below += f" ({lost.low:.3f} to {lost.high:.3f})"
            cells = [labels, student, f"{accuracy:.3f}", f"{best:.3f}", below, f"{order:.3f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
