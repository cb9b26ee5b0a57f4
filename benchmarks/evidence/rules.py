"""Twelve keyword rules on SST-2: is the posterior ahead of the majority vote and of Dawid-Skene?

Each rule names one mood where its words occur, and abstains elsewhere; together they vote on about
a third of the texts. 100 or 200 gold rows, a pool of 3,000, 2,000 rows to test students on. Strong
features are MiniLM's last layer. The words were chosen once, by common sense and with an eye on how
many texts they occur in, not on labels. Run ``python benchmarks/evidence/rules.py``; it prints
Markdown tables. snorkel and crowd-kit are measured where they are installed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, load_corpus, minilm_features, parser

from w2s_data import LabelPosterior, LinearProbe
from w2s_data.finetune.levels.penalty import choose_penalty
from w2s_data.posterior import LabelModel
from w2s_data.teachers import rule_votes
from w2s_data.utils.intervals import Estimate, mean_estimate
from w2s_data.utils.votes import abstains, mean_label

CLASSES = ("negative", "positive")  # codes 0 and 1 of the corpus
RULES = {
    "positive": (
        r"/\b(good|great|best)\b/",
        r"/\b(love|loves|lovely|loved|heart\w*)\b/",
        r"/\b(funny|hilarious|witty|humor\w*)\b/",
        r"/\b(enjoy\w*|entertaining|fun)\b/",
        r"/\b(moving|touching|powerful|beautiful\w*)\b/",
        r"/\b(clever|smart|fresh|original|compelling)\b/",
    ),
    "negative": (
        r"/\b(bad|worst|worse|awful|poor\w*)\b/",
        r"/\b(dull|boring|tedious|predictable|tired|flat)\b/",
        r"/\b(too|unfortunately)\b/",
        r"/\b(lack\w*|fail\w*|never|without)\b/",
        r"/\b(silly|stupid|mess|ridiculous)\b/",
        r"/\b(nothing|hardly|neither|less)\b/",
    ),
}
MOST = 6_000  # texts of the corpus
N_GOLD, N_POOL, N_TEST = (100, 200), 3_000, 2_000
POSTERIOR, MAJORITY = "posterior", "majority vote"


def dawid_skene(weak: np.ndarray) -> np.ndarray:
    """Return the labels of `LabelModel`."""
    return LabelModel().fit(weak).proba_


def snorkel(weak: np.ndarray) -> np.ndarray:
    """Return the labels of snorkel's model, uniform where nobody votes."""
    from snorkel.labeling.model import LabelModel as Snorkel

    said = np.where(abstains(weak), -1, weak.argmax(axis=2))
    model = Snorkel(cardinality=len(CLASSES), verbose=False)
    model.fit(said, seed=0, progress_bar=False)
    return _silent(model.predict_proba(said), said)


def crowd_kit(weak: np.ndarray) -> np.ndarray:
    """Return the labels of crowd-kit's Dawid-Skene, for which silence is a missing answer."""
    from crowdkit.aggregation import DawidSkene

    said = np.where(abstains(weak), -1, weak.argmax(axis=2))
    rows, teachers = np.nonzero(said >= 0)
    answers = {"task": rows, "worker": teachers, "label": said[rows, teachers]}
    table = DawidSkene(n_iter=100).fit_predict_proba(pd.DataFrame(answers))
    proba = np.full((len(said), len(CLASSES)), 0.5)
    proba[table.index] = table.reindex(columns=range(len(CLASSES)), fill_value=0)
    return proba


def _silent(proba: np.ndarray, said: np.ndarray) -> np.ndarray:
    return np.where((said >= 0).any(axis=1)[:, None], proba, 1 / proba.shape[1])


LABELLERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    MAJORITY: mean_label,
    "Dawid-Skene": dawid_skene,
    "snorkel": snorkel,
    "crowd-kit": crowd_kit,
}


def measure(
    weak: np.ndarray, strong: np.ndarray, y: np.ndarray, n_gold: int, seed: int
) -> pd.DataFrame:
    """Return accuracies of labels on the pool, and at test of students of them, by labeller."""
    rng = np.random.default_rng([seed, n_gold])
    gold, pool, rest = np.split(rng.permutation(len(y)), np.cumsum([n_gold, N_POOL]))
    test = rest[:N_TEST]
    posterior = LabelPosterior(device="cpu", random_state=seed).fit(
        strong[pool], weak[pool], gold=(strong[gold], weak[gold], y[gold]), progress=False
    )
    labels = {POSTERIOR: posterior.proba_}
    for name, label in LABELLERS.items():
        try:
            labels[name] = label(weak[pool])
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    voted = ~abstains(weak[pool]).all(axis=1)
    classes = np.eye(len(CLASSES))

    def student(rows: np.ndarray, targets: np.ndarray) -> float:
        l2 = choose_penalty(strong[rows], targets, device="cpu", random_state=seed)
        probe = LinearProbe(l2=l2, tol=1e-5, device="cpu").fit(strong[rows], targets)
        return float(right(probe.predict_proba(strong[test]), y[test]).mean())

    records = []
    for name, proba in labels.items():
        scored = right(proba, y[pool])
        rows, targets = pool[voted], proba[voted]
        if name == POSTERIOR:  # which labels all rows, and knows the gold ones
            rows, targets = np.append(pool, gold), np.concatenate([proba, classes[y[gold]]])
        records.append(
            {
                "labels": name,
                "where rules vote": scored[voted].mean(),
                "whole pool": scored.mean(),
                "student": student(rows, targets),
            }
        )
    view = posterior.views_.pool[posterior.views_.names.index("gold labels")]
    alone = right(view, y[pool])
    records.append(
        {
            "labels": "gold labels alone",
            "where rules vote": alone[voted].mean(),
            "whole pool": alone.mean(),
            "student": student(gold, classes[y[gold]]),
        }
    )
    return pd.DataFrame(records).assign(n_gold=n_gold, seed=seed, coverage=voted.mean())


def right(proba: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return whether each row is right; one without a label guesses."""
    return np.where(abstains(proba), 1 / proba.shape[1], proba.argmax(axis=1) == y)


def spell(found: Estimate) -> str:
    """Return an estimate in points."""
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def main() -> None:
    """Print accuracies, and the paired lead of the posterior over each labeller."""
    options = parser(__doc__, seeds=5)
    options.add_argument("--first", type=int, default=0, help="first seed")
    given = options.parse_args()
    corpus = load_corpus("sst2", MOST)
    strong = minilm_features(corpus, LAST_LAYER, given.cache)
    said = rule_votes(corpus.texts, CLASSES, RULES).codes
    weak = np.full((*said.shape, len(CLASSES)), 0.5)
    weak[said >= 0] = np.eye(len(CLASSES))[said[said >= 0]]
    table = pd.concat(
        [
            measure(weak, strong, corpus.labels, n_gold, seed)
            for n_gold in N_GOLD
            for seed in range(given.first, given.first + given.seeds)
        ]
    )
    print(f"The rules vote on {table['coverage'].mean():.1%} of the pool.\n")
    columns = ["where rules vote", "whole pool", "student"]
    heads = ["gold rows", "labels", *columns, *(f"posterior minus it, {c}" for c in columns)]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for (n_gold, name), own in table.groupby(["n_gold", "labels"], sort=False):
        best = table[(table["n_gold"] == n_gold) & (table["labels"] == POSTERIOR)]
        means = [f"{100 * own[c].mean():.1f}" for c in columns]
        leads = [spell(mean_estimate(best[c].to_numpy() - own[c].to_numpy())) for c in columns]
        cells = [str(n_gold), name, *means, *(leads if name != POSTERIOR else [""] * 3)]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
