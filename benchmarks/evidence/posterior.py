"""Is the label posterior calibrated, does trust rank weak labels, what is a student of both worth?

Sixteen cells of text: four corpora, a TF-IDF teacher trained on 600 other rows ("external") or on
the gold rows ("own"), 50 or 200 gold rows, a pool of 2,000. Four cells of images: Fashion-MNIST
(Debian's package dataset-fashion-mnist), a teacher that sees 5 x 5 pixels. Run ``python
benchmarks/evidence/posterior.py``; it prints Markdown tables. ``--first N`` starts at another seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import load_corpus, minilm_features, parser, tfidf_features
from images import fashion_mnist, patch_features, shrunk

from w2s_data import LabelPosterior, LinearProbe
from w2s_data.finetune import fit_student
from w2s_data.finetune.levels.penalty import choose_penalty
from w2s_data.posterior.calibration import calibration_error

CORPORA = ("ag_news_test", "trec", "sst2", "customer_reviews")
N_EXTERNAL, N_POOL, MOST_TEST = 600, 2000, 2000
TEACHER_C = 0.01  # scikit-learn's: l2 = 1 / (C n)
OPTIONS = ("teacher", "gold alone", "weak alone")
PEERS = ("trust", "prediction_powered")  # published methods that use gold rows
BARS = {  # of the means over cells, and of the single cells
    "both - best": (0.018, -0.012),
    "both - gold": (0.03, -np.inf),
    "auc trust": (0.83, 0.72),
}
WORST_CALIBRATION = {50: 0.07, 200: 0.035}


@dataclass(frozen=True)
class World:
    """Labels and strong features of all rows; weak ones may be learned from some."""

    name: str
    labels: np.ndarray
    strong: np.ndarray
    weak: Callable[[np.ndarray], np.ndarray]


def measure(
    world: World, own: bool, n_gold: int, seed: int, peers: tuple[str, ...] = PEERS
) -> dict[str, float]:
    """Accuracies at test of the options and of a student of both, and checks of the posterior."""
    rng = np.random.default_rng([seed, n_gold, own])
    sizes = np.cumsum([0 if own else N_EXTERNAL, n_gold, N_POOL])
    external, gold, pool, rest = np.split(rng.permutation(len(world.labels)), sizes)
    test, y, strong = rest[:MOST_TEST], world.labels, world.strong
    weak = world.weak(np.concatenate([external, gold, pool]))
    classes = np.eye(y.max() + 1)

    def teach(rows: np.ndarray) -> LinearProbe:
        probe = LinearProbe(l2=1 / (TEACHER_C * len(rows)), device="cpu")
        return probe.fit(weak[rows], classes[y[rows]])

    def relabel(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        retrained = teach(gold[rows])
        return retrained.predict_proba(weak[gold]), retrained.predict_proba(weak[pool])

    teacher = teach(gold if own else external)
    said = teacher.predict_proba(weak)
    posterior = LabelPosterior(device="cpu", random_state=seed).fit(
        strong[pool],
        said[pool],
        gold=(strong[gold], said[gold], y[gold]),
        relabel=relabel if own else None,
        progress=False,
    )
    q = posterior.proba_
    both = np.concatenate([pool, gold])
    l2 = choose_penalty(strong[pool], said[pool], device="cpu", random_state=seed)

    def student(rows: np.ndarray, targets: np.ndarray, l2: float = l2) -> np.ndarray:
        probe = LinearProbe(l2=l2, tol=1e-5, device="cpu").fit(strong[rows], targets)
        return probe.predict_proba(strong)

    gold_l2 = choose_penalty(strong[gold], classes[y[gold]], device="cpu", random_state=seed)
    found = {
        "teacher": said,
        "gold alone": student(gold, classes[y[gold]], gold_l2),
        "weak alone": student(pool, said[pool]),
        "both": student(both, np.concatenate([q, classes[y[gold]]])),
        "ceiling": student(pool, classes[y[pool]]),
    }
    # Peers too see gold rows as a teacher does that did not learn them.
    weak_both = np.concatenate([said[pool], posterior.views_.weak_gold.mean(axis=1)])
    known = np.concatenate([np.full(len(pool), -1), y[gold]])
    for name in peers:
        peer = fit_student(
            *(name, strong[both], weak_both),
            gold=known,
            posterior=np.concatenate([q, posterior.gold_proba_]),
            controls=False,
            device="cpu",
            random_state=seed,
            progress=False,
        )
        found[name] = peer.predict_proba(strong)
    result = {name: float((p[test].argmax(axis=1) == y[test]).mean()) for name, p in found.items()}
    vote = posterior.predict(strong[test], said[test])
    best = max(result[name] for name in OPTIONS)
    truth = q.argmax(axis=1) == y[pool]
    estimate = posterior.accuracy_
    return result | {
        "posterior": float((vote == y[test]).mean()),
        "both - best": result["both"] - best,
        "both - gold": result["both"] - result["gold alone"],
        **ranking(posterior, said[pool], y[pool]),
        "calibration": calibration_error(q.max(axis=1), truth),
        "covered": float(estimate.low <= truth.mean() <= estimate.high),
    }


def ranking(posterior: LabelPosterior, said: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """How well scores rank right weak labels first: trust, confidence, cleanlab's label quality."""
    right = said.argmax(axis=1) == truth
    scores = {"auc trust": posterior.trust_, "auc confidence": said.max(axis=1)}
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        sys.exit("cleanlab is missing: pip install '.[bench]'")
    views = dict(zip(posterior.views_.names, posterior.views_.pool, strict=True))
    for name, view in (("weak", "student"), ("gold", "gold labels")):
        # Out of sample, as cleanlab asks for: no view of the pool was trained on the row's label.
        scores[f"auc cleanlab {name}"] = get_label_quality_scores(
            said.argmax(axis=1), views[view], adjust_pred_probs=False
        )
    return {name: float(roc_auc_score(right, score)) for name, score in scores.items()}


def text_world(name: str, cache: Path) -> World:
    """A corpus: MiniLM's last layer is strong, TF-IDF is weak."""
    corpus = load_corpus(name)
    strong = np.asarray(minilm_features(corpus, 6, cache))
    return World(name, corpus.labels, strong, lambda rows: tfidf_features(corpus, rows, 48))


def image_world() -> World | None:
    """Fashion-MNIST: random patches of all pixels are strong, 5 x 5 pixels are weak."""
    loaded = fashion_mnist()
    if loaded is None:
        print("Fashion-MNIST is left out: apt-get install dataset-fashion-mnist", file=sys.stderr)
        return None
    images, labels = loaded
    weak = shrunk(images, 5)
    return World("fashion_mnist", labels, patch_features(images), lambda _: weak)


def cells(world: World, seeds: range, peers: tuple[str, ...]) -> pd.DataFrame:
    """Measure the four cells of a world: their means over seeds, by cell."""
    table = {}
    for own, n_gold in product((False, True), (50, 200)):
        runs = pd.DataFrame([measure(world, own, n_gold, seed, peers) for seed in seeds])
        cell = f"{world.name}, {'own' if own else 'external'}, {n_gold}"
        table[cell] = runs.mean()
        print(cell, runs.mean().round(4).to_dict(), file=sys.stderr, flush=True)
    return pd.DataFrame(table).T


def markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown, with a row of means."""
    whole = pd.concat([table, table.mean().to_frame("mean").T])
    lines = [
        "| cell | " + " | ".join(whole.columns) + " |",
        "|---" * (1 + len(whole.columns)) + "|",
    ]
    lines += [
        f"| {n} | " + " | ".join(f"{v:.3f}" for v in row) + " |" for n, row in whole.iterrows()
    ]
    return "\n".join(lines)


def bars(table: pd.DataFrame) -> str:
    """Compare means and single cells with what they should reach."""
    lines = []
    for name, (mean, least) in BARS.items():
        column = table[name]
        reached = "reached" if column.mean() >= mean and column.min() >= least else "MISSED"
        lines.append(
            f"{name}: mean {column.mean():+.3f} (at least {mean}), lowest {column.min():+.3f} "
            f"({column.idxmin()}; at least {least}), ahead of 0 in {(column > 0).sum()} of "
            f"{len(column)}: {reached}"
        )
    for n_gold, most in WORST_CALIBRATION.items():
        error = table.loc[[str(cell).endswith(f" {n_gold}") for cell in table.index], "calibration"]
        reached = "reached" if error.mean() <= most else "MISSED"
        lines.append(
            f"calibration error at {n_gold} gold rows: {error.mean():.3f} (at most {most}): "
            f"{reached}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print a table of texts and one of images, and compare both with the bars."""
    options = parser(__doc__, seeds=5)
    options.add_argument("--first", type=int, default=100, help="first seed (default: %(default)s)")
    options.add_argument("--only", nargs="*", help="corpora, or fashion_mnist")
    options.add_argument("--no-peers", action="store_true", help="a third of the time")
    arguments = options.parse_args()
    n_seeds = 3 if arguments.quick else arguments.seeds
    seeds = range(arguments.first, arguments.first + n_seeds)
    peers = () if arguments.no_peers else PEERS
    names = arguments.only or [*CORPORA, "fashion_mnist"]
    texts = [
        cells(text_world(name, arguments.cache), seeds, peers) for name in CORPORA if name in names
    ]
    image = image_world() if "fashion_mnist" in names else None
    for tables in (texts, [] if image is None else [cells(image, seeds, peers)]):
        if tables:
            table = pd.concat(tables)
            print(f"{markdown(table)}\n\n{bars(table)}\n", flush=True)


if __name__ == "__main__":
    main()
