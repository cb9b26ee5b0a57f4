"""Accuracy over the share of weak labels that are replaced by random wrong ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from w2s_data.sweep.options import SweepOptions
from w2s_data.sweep.result import SweepResult, facts_of, line_of
from w2s_data.sweep.world import Cell, World, check_size
from w2s_data.utils.typing import FloatArray

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
STUDENT, EQUAL = "student", "student of as many clean weak labels as these are worth"
LABELS = "weak labels themselves"


def measure(world: World, seed: int, options: SweepOptions) -> Cell:
    """Train students on noisier weak labels, and on the smaller pool that theory takes them for.

    Flips that do not depend on the item leave the best classifier as it is. They shrink the signal
    by 1 - q C / (C - 1), and to leading order N labels are worth its square times N clean ones.
    """
    draw, cell, n_classes = world.draw(seed), Cell(), world.n_classes
    proba = draw.teach()
    size = check_size(len(draw.pool), "pool points")
    accuracies = []
    for share in SHARES:
        hits = [
            draw.hits(draw.pool, flipped(proba, share, draw.rng)).mean()
            for _ in range(options.draws if share else 1)
        ]
        accuracies.append(float(np.mean(hits)))
        cell.add(STUDENT, share, accuracies[-1])
        worth = (1 - share * n_classes / (n_classes - 1)) ** 2
        n = max(2, round(worth * size))
        equal = [
            draw.hits(draw.subset(draw.pool, n), proba).mean()
            for _ in range(options.draws if share else 1)
        ]
        cell.add(EQUAL, share, np.mean(equal))
        right = draw.teacher_hits(proba).mean()
        cell.add(LABELS, share, right * (1 - share) + (1 - right) * share / (n_classes - 1))
    cell.facts = {
        "loss at 20 %": accuracies[0] - accuracies[SHARES.index(0.2)],
        "loss at 40 %": accuracies[0] - accuracies[-1],
    }
    return cell


def flipped(proba: FloatArray, share: float, rng: np.random.Generator) -> FloatArray:
    """Return weak labels of which a random share is of another class, each as likely.

    >>> proba = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> flipped(proba, 1.0, np.random.default_rng(0)).tolist()
    [[0.1, 0.9], [0.8, 0.2]]
    """
    n, n_classes = proba.shape
    rows = np.flatnonzero(rng.random(n) < share)
    shift = rng.integers(1, n_classes, size=len(rows))
    # Rolled, so that a soft label keeps its confidence.
    columns = (np.arange(n_classes) - shift[:, None]) % n_classes
    noisy = proba.copy()
    noisy[rows] = proba[rows[:, None], columns]
    return noisy


def read(cells: Sequence[Cell], options: SweepOptions, level: float) -> SweepResult:
    """Average the seeds, and compare with the theory of flips that do not depend on the item."""
    lines = (
        line_of(cells, STUDENT, "measured", "accuracy", level),
        line_of(cells, EQUAL, "predicted", "accuracy", level),
        line_of(cells, LABELS, "reference", "accuracy", level),
    )
    facts = facts_of(cells, level)
    loss = facts["loss at 20 %"]
    return SweepResult(
        options.over,
        "share of weak labels replaced by wrong ones",
        lines,
        facts,
        len(cells),
        f"A fifth of wrong labels beside the teacher's own errors costs {100 * loss.value:.1f} "
        f"points ({100 * loss.low:.1f} to {100 * loss.high:.1f}) of the student's accuracy, and "
        f"{100 * (lines[2].values()[0] - lines[2].values()[3]):.1f} of that of the labels.",
    )
