"""Is the usual training of whole models long enough, and does "undertrained" mark short ones?

Two layers of MiniLM learn 400 labels of a corpus, in as many steps as is usual and in twice as
many: with clean labels at the usual rate and at a fifth of it, and with three labels in ten drawn
at random. A training was too short where twice the steps raise the accuracy on fresh rows by two
points. Run ``OMP_NUM_THREADS=1 python benchmarks/evidence/steps.py``; it prints two
Markdown tables. A finished training is kept in the cache.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import load_corpus, parser, split_rows
from finetuning import Cell, remembered
from models import shortened

from w2s_data.finetune import Adaptation, fit_student
from w2s_data.finetune.levels.convergence import LEAST_FALL, LEAST_LEFT, Z, loss_trend
from w2s_data.finetune.levels.schedule import StepSchedule, usual_rate

CORPORA = ("trec", "subj", "customer_reviews", "ag_news_test", "sst2")
N_TRAIN, N_TEST = 400, 1_000
LENGTHS = (1, 2)  # times the usual number of epochs
EPOCHS = 3
NOISE = 0.3  # share of the labels that are drawn at random
USUAL = usual_rate("full", 0)
WAYS = {  # the rate, and the share of the labels that are random
    "usual": (USUAL, 0.0),
    "a fifth of the rate": (USUAL / 5, 0.0),
    "noisy labels": (USUAL, NOISE),
}
GAIN = 0.02  # of accuracy by as many steps again, from which a training was too short
LEFT = (0.2, 0.3, 0.4, 0.5, LEAST_LEFT, 0.7, 0.8)


def learn(corpus_name: str, way: str, length: int, seed: int) -> Cell:
    """Train once; return accuracy and log-loss on fresh rows, and the trend of the loss."""
    corpus, (rate, noise) = load_corpus(corpus_name), WAYS[way]
    train, test = split_rows(corpus.labels, (N_TRAIN, N_TEST), seed, balanced=False)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(corpus.n_classes, size=N_TRAIN)
    labels = np.where(rng.random(N_TRAIN) < noise, drawn, corpus.labels[train])
    model = Adaptation(str(shortened(2)), evaluate_every=1)  # so that the history has all steps
    student = fit_student(
        *("naive", None, np.eye(corpus.n_classes)[labels]),
        items=corpus.text(train),
        tuning="full",
        model=model,
        epochs=length * EPOCHS,
        learning_rate=rate,
        device="cpu",
        random_state=seed,
        progress=False,
    )
    proba = student.predict_proba(corpus.text(test))
    truth = corpus.labels[test]
    losses = student.history["loss"].to_numpy()
    schedule = StepSchedule(len(losses), rate, model.decay, model.warmup)
    trend = loss_trend(losses, [schedule.rate(step) for step in range(len(losses))])
    return {
        "accuracy": float((proba.argmax(axis=1) == truth).mean()),
        "loss": float(-np.log(np.maximum(proba[np.arange(N_TEST), truth], 1e-12)).mean()),
        "steps": len(losses),
        "marked": float(trend.is_undertrained),
        **vars(trend),
    }


def show_accuracies(table: pd.DataFrame) -> None:
    """Print accuracy and log-loss in usual and twice as many steps, a row per corpus and way."""
    print(
        "| corpus | training | marked | accuracy | twice the steps | log-loss | twice the steps |"
    )
    print("|---|---|---|---|---|---|---|")
    for (corpus, way), own in table.groupby(["corpus", "way"], sort=False):
        means = own.groupby("length")[["accuracy", "loss"]].mean()
        usual = own[own["length"] == 1]
        cells = [f"{usual['marked'].sum():.0f} of {len(usual)}"]
        cells += [f"{means[name][length]:.3f}" for name in means for length in LENGTHS]
        print(f"| {corpus} | {way} | {' | '.join(cells)} |")


def show_marks(table: pd.DataFrame) -> None:
    """Print how many trainings are marked rightly and wrongly, by the constant."""
    accuracy = table.pivot(index=["corpus", "way", "seed"], columns="length", values="accuracy")
    gain = (accuracy[2] - accuracy[1]).rename("gain").reset_index()
    cases = table[table["length"] == 1].merge(gain, on=["corpus", "way", "seed"])
    too_short = cases["gain"] >= GAIN
    falls = (cases["slope"] < -LEAST_FALL) & (cases["slope"] < -Z * cases["error"])
    print("\n| least loss left | marked, of those too short | marked, of those long enough |")
    print("|---|---|---|")
    for left in LEFT:
        marked = falls & (cases["end"] > left)
        right, wrong = (marked & too_short).sum(), (marked & ~too_short).sum()
        print(f"| {left} | {right} of {too_short.sum()} | {wrong} of {(~too_short).sum()} |")


def main() -> None:
    """Print both tables."""
    options = parser(__doc__, seeds=1)
    options.add_argument("--first", type=int, default=0, help="first seed")
    options.add_argument("--corpora", nargs="+", choices=CORPORA, default=CORPORA)
    arguments = options.parse_args()
    seeds = range(arguments.first, arguments.first + (1 if arguments.quick else arguments.seeds))
    records = []
    for seed in seeds:
        for corpus in arguments.corpora:
            for way in WAYS:
                for length in LENGTHS:
                    name = f"steps {corpus} {way} {length} {seed}".replace(" ", "-")
                    cell = remembered(arguments.cache, name, learn, corpus, way, length, seed)
                    keys = {"corpus": corpus, "way": way, "length": length, "seed": seed}
                    records.append(keys | cell)
    table = pd.DataFrame(records)
    show_accuracies(table)
    show_marks(table)


if __name__ == "__main__":
    main()
