"""Do intervals of class shares and of accuracies on the pool hold, and does correcting pay?

Three tables. Shares: gold rows and a pool of other class shares, in Gaussians and in text, by
likelihood and by black-box estimation. Accuracies of posterior, weak labels and a student, on pools
like the gold rows: by calibration, and by 40 labelled pool rows. Corrected posteriors on pools of
other shares, and whether another domain passes for label shift. Run ``python
benchmarks/evidence/label_shift.py``; it prints Markdown tables.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import load_corpus, minilm_features, parser, tfidf_features

from w2s_data import LabelPosterior, LinearProbe
from w2s_data.probes.linear import stratified_folds
from w2s_data.shift import LabelShift, ShiftDetector

N_POOL, N_EXTERNAL, N_KNOWN = 1_500, 600, 40
TEXTS = ("sst2", "trec")
SHORTER = 1.677 / 2.010  # Student's quantiles of 49 degrees of freedom for 90 and for 95 %


@dataclass(frozen=True)
class World:
    """Classes of all rows, and features of some."""

    name: str
    labels: np.ndarray
    strong: np.ndarray
    weak: Callable[[np.ndarray], np.ndarray]


def text_world(name: str, cache: Path) -> World:
    """A corpus: MiniLM's last layer is strong, TF-IDF is weak."""
    corpus = load_corpus(name)
    strong = np.asarray(minilm_features(corpus, 6, cache))
    return World(name, corpus.labels, strong, lambda rows: tfidf_features(corpus, rows, 48))


def gaussians(n_classes: int, rng: np.random.Generator) -> World:
    """Classes at random places, about as hard as text."""
    means = rng.normal(size=(n_classes, 16))
    means *= 1.5 / np.linalg.norm(means, axis=1, keepdims=True)
    labels = rng.integers(n_classes, size=12_000)
    strong = means[labels] + rng.normal(size=(len(labels), 16))
    return World(f"{n_classes} Gaussians", labels, strong, lambda _: strong[:, :2])


def drawn(labels: np.ndarray, n: int, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw rows so that classes have these shares; fewer of a class that has not so many."""
    wanted = rng.multinomial(n, shares)
    return np.concatenate(
        [rng.permutation(np.flatnonzero(labels == c))[:k] for c, k in enumerate(wanted)]
    )


def split(
    world: World, n_gold: int, shifted: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of a teacher, gold rows and a pool, whose shares are others if shifted."""
    every = rng.permutation(len(world.labels))
    external, gold, rest = np.split(every, [N_EXTERNAL, N_EXTERNAL + n_gold])
    natural = np.bincount(world.labels) / len(world.labels)
    shares = rng.dirichlet(np.full(len(natural), 3.0)) if shifted else natural
    return external, gold, rest[drawn(world.labels[rest], N_POOL, shares, rng)]


def predictions(
    strong: np.ndarray, codes: np.ndarray, n_classes: int, pool: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of gold rows, held out, and of pool rows by a model of the gold labels.

    A class without gold rows has the probability that the penalty leaves it.
    """
    targets = np.eye(n_classes)[codes]
    probe = LinearProbe(l2=0.1, tol=1e-5, device="cpu")
    held_out = np.empty(targets.shape)
    for train, rest in stratified_folds(codes, 5, np.random.default_rng(seed)):
        held_out[rest] = probe.fit(strong[train], targets[train]).predict_proba(strong[rest])
    return held_out, probe.fit(strong, targets).predict_proba(pool)


def shares_of(world: World, n_gold: int, shifted: bool, seed: int) -> dict[str, float]:
    """Estimate the shares of one pool by a linear model of the gold rows."""
    rng = np.random.default_rng([seed, n_gold, shifted])
    _, gold, pool = split(world, n_gold, shifted, rng)
    n_classes, codes = int(world.labels.max()) + 1, world.labels[gold]
    held_out, proba = predictions(world.strong[gold], codes, n_classes, world.strong[pool], seed)
    found = LabelShift(random_state=seed).fit(held_out, codes, proba)
    truth = np.bincount(world.labels[pool], minlength=n_classes) / len(pool)
    result = {"shifted": float(found.shifted_)}
    for name, shares, sides in (
        ("likelihood", found.shares_, found.intervals_),
        ("black box", found.black_box_, found.black_box_intervals_),
    ):
        inside = (sides[:, 0] <= truth) & (truth <= sides[:, 1])
        result[f"{name}: error"] = float(np.abs(shares - truth).mean())
        result[f"{name}: covered"] = float(inside.mean())
    counted = np.bincount(proba.argmax(axis=1), minlength=n_classes) / len(pool)
    return result | {"counted predictions: error": float(np.abs(counted - truth).mean())}


@dataclass(frozen=True)
class Task:
    """A posterior and the truth of its pool."""

    posterior: LabelPosterior
    gold: np.ndarray
    pool: np.ndarray
    truth: np.ndarray  # classes of the pool
    said: np.ndarray  # weak probabilities of the pool


def posterior_task(world: World, n_gold: int, shifted: bool, seed: int, known: int = 0) -> Task:
    """Fit a posterior; the labels of `known` pool rows are known."""
    rng = np.random.default_rng([seed, n_gold, shifted, 5])
    external, gold, pool = split(world, n_gold, shifted, rng)
    y = world.labels
    own = bool(seed % 2)  # every second teacher learned from the gold rows
    rows = gold if own else external
    weak = world.weak(np.concatenate([external, gold, pool]))
    classes = np.eye(y.max() + 1)

    def teach(chosen: np.ndarray) -> LinearProbe:
        probe = LinearProbe(l2=100 / len(chosen), device="cpu")
        return probe.fit(weak[chosen], classes[y[chosen]])

    def relabel(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        retrained = teach(gold[chosen])
        return retrained.predict_proba(weak[gold]), retrained.predict_proba(weak[pool])

    said = teach(rows).predict_proba(weak)
    labels = np.full(len(pool), -1)
    chosen = rng.choice(len(pool), known, replace=False)
    labels[chosen] = y[pool[chosen]]
    posterior = LabelPosterior(device="cpu", random_state=seed).fit(
        world.strong[pool],
        said[pool],
        gold=(world.strong[gold], said[gold], y[gold]),
        relabel=relabel if own else None,
        pool_labels=labels,
        progress=False,
    )
    return Task(posterior, gold, pool, y[pool], said[pool])


def accuracies_of(world: World, n_gold: int, known: int, seed: int) -> dict[str, float]:
    """Return whether intervals hold the accuracies on a pool that is like the gold rows."""
    return _held(posterior_task(world, n_gold, False, seed, known))


def _held(task: Task) -> dict[str, float]:
    fitted = task.posterior
    answers = {
        "posterior": (fitted.accuracy_, fitted.proba_),
        "weak labels": (fitted.weak_accuracy_, task.said),
        "student": (fitted.student_accuracy_, fitted.views_.pool[-1]),
    }
    result = {}
    for name, (estimate, proba) in answers.items():
        truth = float((proba.argmax(axis=1) == task.truth).mean())
        middle, half = estimate.value, (estimate.high - estimate.low) / 2
        result[f"{name}: error"] = abs(middle - truth)
        result[f"{name}: half width"] = half
        result[f"{name}: covered"] = float(estimate.low <= truth <= estimate.high)
        # Student's interval at 90 %, from that at 95 %.
        inner = half * SHORTER
        result[f"{name}: 90 % covered"] = float(abs(middle - truth) <= inner + 1e-12)
    return result


def corrected(world: World, n_gold: int, seed: int) -> dict[str, float]:
    """Compare the posterior before and after correction on a pool of other shares."""
    task = posterior_task(world, n_gold, True, seed)
    fitted, codes = task.posterior, world.labels[task.gold]
    shift = LabelShift(random_state=seed).fit(fitted.gold_proba_, codes, fitted.proba_)
    alone = shift.explains(
        ShiftDetector(random_state=seed),
        world.strong,
        reference=task.gold,
        pool=task.pool,
        pool_proba=fitted.proba_,
    )
    result = {"shifted": float(shift.shifted_), "alone": float(alone)}
    result |= _judged("before", fitted.proba_, task.truth)
    result["covered before"] = _held(task)["posterior: covered"]
    fitted.correct_shares(shift.ratio_)
    result |= _judged("after", fitted.proba_, task.truth)
    return result | {"covered after": _held(task)["posterior: covered"]}


def foreign(cache: Path, seed: int) -> dict[str, float]:
    """Take a pool of product reviews for gold rows of films: not label shift."""
    films, products = (text_world(name, cache) for name in ("sst2", "customer_reviews"))
    rng = np.random.default_rng([seed, 9])
    gold = rng.permutation(len(films.labels))[:200]
    shares = rng.dirichlet([3.0, 3.0])
    pool = drawn(products.labels, N_POOL, shares, rng)
    strong = np.concatenate([films.strong[gold], products.strong[pool]])
    held_out, proba = predictions(strong[:200], films.labels[gold], 2, strong[200:], seed)
    shift = LabelShift(random_state=seed).fit(held_out, films.labels[gold], proba)
    alone = shift.explains(
        ShiftDetector(random_state=seed),
        strong,
        reference=np.arange(200),
        pool=np.arange(200, len(strong)),
        pool_proba=proba,
    )
    return {"shifted": float(shift.shifted_), "alone": float(alone)}


def _judged(when: str, proba: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    chance = np.maximum(proba[np.arange(len(truth)), truth], 1e-4)
    return {
        f"accuracy {when}": float((proba.argmax(axis=1) == truth).mean()),
        f"log-loss {when}": float(-np.log(chance).mean()),
    }


def table(rows: Iterator[tuple[str, pd.DataFrame]]) -> str:
    """Return means of runs by cell as a Markdown table."""
    lines: list[str] = []
    for name, runs in rows:
        print(name, len(runs), runs.mean().round(3).to_dict(), file=sys.stderr, flush=True)
        if not lines:
            lines += ["| cell | " + " | ".join(runs) + " |", "|---" * (1 + runs.shape[1]) + "|"]
        lines.append(f"| {name} | " + " | ".join(f"{v:.3f}" for v in runs.mean()) + " |")
    return "\n".join(lines)


def share_cells(worlds: list[World], seeds: range) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield estimates of shares by world, number of gold rows and shift."""
    for world in worlds:
        # The least that six classes require.
        for n_gold in (max(50, 20 * (int(world.labels.max()) + 1)), 200):
            for shifted in (True, False):
                runs = pd.DataFrame([shares_of(world, n_gold, shifted, seed) for seed in seeds])
                yield f"{world.name}, {n_gold}, {'shifted' if shifted else 'same'}", runs


def main() -> None:
    """Print the tables."""
    options = parser(__doc__, seeds=12)
    options.add_argument("--first", type=int, default=500, help="first seed (default: %(default)s)")
    options.add_argument("--only", nargs="*", default=("shares", "accuracies", "corrected"))
    arguments = options.parse_args()
    n_seeds = 4 if arguments.quick else arguments.seeds
    seeds = range(arguments.first, arguments.first + n_seeds)
    texts = [text_world(name, arguments.cache) for name in TEXTS]
    if "shares" in arguments.only:
        rng = np.random.default_rng(arguments.first)
        worlds = [*(gaussians(n_classes, rng) for n_classes in (2, 4)), *texts]
        print(table(share_cells(worlds, seeds)), "\n", flush=True)
    if "accuracies" in arguments.only:
        cells = (
            (f"{world.name}, {n_gold} gold rows, {known} known", world, n_gold, known)
            for world in texts
            for n_gold, known in ((50, 0), (200, 0), (50, N_KNOWN))
        )
        print(
            table(
                (name, pd.DataFrame([accuracies_of(world, *sizes, seed) for seed in seeds]))
                for name, world, *sizes in cells
            ),
            "\n",
            flush=True,
        )
    if "corrected" in arguments.only:
        cells = (
            (f"{w.name}, {n_gold} gold rows", w, n_gold) for w in texts for n_gold in (120, 300)
        )
        print(
            table(
                (name, pd.DataFrame([corrected(world, n_gold, seed) for seed in seeds]))
                for name, world, n_gold in cells
            ),
            "\n",
        )
        runs = pd.DataFrame([foreign(arguments.cache, seed) for seed in seeds])
        print(f"pool of another domain: {runs.mean().round(3).to_dict()}")


if __name__ == "__main__":
    main()
