"""Does a tuned model learn a value that its frozen features miss?

The number of words of news items. The teacher is ridge on 64 directions of TF-IDF, trained on 200
gold rows; the students learn its values of 600 other rows, by ridge on the mean of MiniLM's last
layer and by tuning that model. Run ``python benchmarks/evidence/tuned_values.py --first 300``; it
prints a Markdown table.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import Corpus, load_corpus, parser, tfidf_features
from models import minilm

from w2s_data import TextEncoder
from w2s_data.finetune import Adaptation
from w2s_data.probes import RidgeProbe
from w2s_data.regression import fit_student
from w2s_data.utils.intervals import mean_estimate

SIZES = 200, 600, 500  # gold, pool, test
EPOCHS = 2  # of tuned models


def students(
    corpus: Corpus, targets: np.ndarray, rows: list[np.ndarray], seed: int, epochs: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the names of teacher and students, and their values of the test rows."""
    gold, pool, test = rows
    weak = tfidf_features(corpus, gold)
    taught = RidgeProbe().fit(weak[gold], targets[gold]).predict(weak)
    yield "teacher", taught[test]
    encoder = TextEncoder(str(minilm()), pooling="mean", device="cpu")
    strong = [encoder.encode(corpus.text(own)) for own in rows]
    yield "ridge, gold", RidgeProbe().fit(strong[0], targets[gold]).predict(strong[2])
    yield "ridge, weak", RidgeProbe().fit(strong[1], taught[pool]).predict(strong[2])
    tuned = (
        ("full", "weak", pool, taught),
        ("lora", "weak", pool, taught),
        ("full", "gold", gold, targets),
    )
    for tuning, name, own, values in tuned:
        student = fit_student(
            *("naive", None, values[own]),
            items=corpus.text(own),
            tuning=tuning,
            model=Adaptation(str(minilm()), max_length=64),
            epochs=epochs * len(pool) // len(own),  # as many steps
            device="cpu",
            random_state=seed,
        )
        yield f"{tuning}, {name}", student.predict(corpus.text(test))


def main() -> None:
    """Print a row per student: squared error over the variance, and the gain over the teacher."""
    options = parser(__doc__, seeds=1)
    options.add_argument("--first", type=int, default=0, help="first seed")
    options.add_argument("--epochs", type=int, default=EPOCHS, help="passes of tuned models")
    arguments = options.parse_args()
    corpus = load_corpus("ag_news_test")
    words = np.array([len(text.split()) for text in corpus.texts], dtype=np.float64)
    print("| seed | student | MSE / variance | gain in MSE over the teacher | seconds |")
    print("|---|---|---|---|---|", flush=True)
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        order = np.random.default_rng(seed).permutation(len(words))[: sum(SIZES)]
        rows = np.split(order, np.cumsum(SIZES)[:-1])
        truth, teacher, start = words[rows[2]], None, time.monotonic()
        for name, predicted in students(corpus, words, rows, seed, arguments.epochs):
            error = (predicted - truth) ** 2
            teacher = error if teacher is None else teacher
            gain = mean_estimate(teacher - error)
            took = time.monotonic() - start
            print(
                f"| {seed} | {name} | {error.mean() / truth.var():.3f} | {gain.value:+.1f} "
                f"({gain.low:+.1f} to {gain.high:+.1f}) | {took:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
