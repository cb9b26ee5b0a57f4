"""Do overlap points teach a strong student more than other points? On real text, with controls.

A weak teacher (logistic, on TF-IDF or MiniLM's input embeddings) labels a pool; students (logistic,
on MiniLM's last layer) learn from equally many pool points, chosen in different ways. Run
``python benchmarks/evidence/mechanism.py``; it prints a Markdown table. ``--sensitivity`` repeats
it with other penalties and with soft labels, ``--as-found`` without balancing the classes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, load_corpus, minilm_features, parser, split_rows, tfidf_features

from w2s_data import LinearProbe, OverlapDetector, Region

TEACHER_C = 0.01  # scikit-learn's: l2 = 1 / (C n)
STUDENT_L2 = 1e-2
PROPORTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
DRAWS = 3  # random subsets behind each number of a seed


@dataclass(frozen=True)
class Setting:
    """A corpus, a weak model, and how many rows go into each split."""

    corpus: str
    weak: str
    n_labelled: int
    n_pool: int
    n_test: int

    @property
    def label(self) -> str:
        """First cell of its row in a table."""
        return f"{self.corpus.replace('_', ' ')}, {self.weak}"


SETTINGS = tuple(
    Setting(corpus, weak, n_labelled, n_pool, n_test)
    for corpus, n_tfidf, n_pool, n_test in (
        ("sst2", 500, 7000, 4000),
        ("customer_reviews", 300, 1500, 900),
        ("subj", 300, 6000, 3000),
    )
    for weak, n_labelled in (("TF-IDF", n_tfidf), ("layer 0", 200))
)


@dataclass(frozen=True)
class Student:
    """How the student is trained; `accuracy` trains one on some pool points and tests it."""

    l2: float = STUDENT_L2
    soft: bool = False

    def accuracy(
        self, pool: np.ndarray, proba: np.ndarray, test: np.ndarray, gold: np.ndarray, rows: list
    ) -> float:
        """Test accuracy of a student of the teacher's labels of the pool points `rows`."""
        given = proba[rows]
        if not self.soft:  # as distributions, since a subset may hold a single class
            given = np.eye(given.shape[1])[given.argmax(axis=1)]
        probe = LinearProbe(l2=self.l2, device="cpu").fit(pool[rows], given)
        return float((probe.predict(test) == gold).mean())


def measure(
    setting: Setting, seed: int, students: list[Student], balanced: bool, cache: Path
) -> list[dict[str, object]]:
    """Run one seed of a setting: a record for each student."""
    corpus = load_corpus(setting.corpus)
    strong = minilm_features(corpus, LAST_LAYER, cache)
    sizes = (setting.n_labelled, setting.n_pool, setting.n_test)
    labelled, pool, test = split_rows(corpus.labels, sizes, seed, balanced)
    if setting.weak == "TF-IDF":
        weak = tfidf_features(corpus, np.concatenate([labelled, pool]))
    else:
        weak = minilm_features(corpus, 0, cache)
    gold = corpus.labels[test]
    teacher = LinearProbe(l2=1 / (TEACHER_C * len(labelled)), device="cpu")
    teacher.fit(weak[labelled], corpus.labels[labelled])
    proba = teacher.predict_proba(weak[pool])
    detector = OverlapDetector(quantify="count", n_resamples=0, device="cpu", random_state=seed)
    detector.fit(strong[pool], proba)
    records = []
    for student in students:
        accuracy = partial(student.accuracy, strong[pool], proba, strong[test], gold)
        records.append(
            {
                "setting": setting.label,
                "l2": student.l2,
                "soft": student.soft,
                "density": detector.density_,
                "weak": float((teacher.predict(weak[test]) == gold).mean()),
                **compare(accuracy, detector, np.random.default_rng([seed, 1])),
            }
        )
    return records


def compare(
    accuracy: Callable[[np.ndarray], float], detector: OverlapDetector, rng: np.random.Generator
) -> dict[str, float]:
    """Accuracies of students of m points of each kind, and the slope over overlap proportion.

    m is the largest size that all kinds allow: as many points as the smaller of the overlap and
    the easy-only region has. The curve's training sets have as many points as the overlap region
    or its complement has, whichever is smaller.
    """
    regions = detector.regions_
    overlap = np.flatnonzero(regions == Region.OVERLAP)
    easy = np.flatnonzero(regions == Region.EASY)
    others = np.flatnonzero(regions != Region.OVERLAP)
    kinds = {
        "overlap": overlap,
        "random": np.arange(len(regions)),
        "easy": easy,
        "not hard": np.flatnonzero(regions != Region.HARD),
    }
    m, size = min(len(overlap), len(easy)), min(len(overlap), len(others))

    def mixture(n_overlap: int) -> np.ndarray:
        parts = rng.choice(overlap, n_overlap, False), rng.choice(others, size - n_overlap, False)
        return np.concatenate(parts)

    result = {
        name: np.mean([accuracy(rng.choice(rows, m, replace=False)) for _ in range(DRAWS)])
        for name, rows in kinds.items()
    }
    result["confident"] = accuracy(np.argsort(-detector.confidence_, kind="stable")[:m])
    curve = [
        np.mean([accuracy(mixture(round(share * size))) for _ in range(DRAWS)])
        for share in PROPORTIONS
    ]
    result["slope"] = np.polyfit(PROPORTIONS, curve, 1)[0]
    return {"m": m, **{name: float(value) for name, value in result.items()}}


def with_error(values: pd.Series) -> str:
    """Mean, standard error over seeds, and how many seeds are positive."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():+.4f} ({error:.4f}) {(values > 0).sum()}/{len(values)}"


def print_settings(results: pd.DataFrame) -> None:
    """Print a row for each setting."""
    print(
        "| setting | density | m | weak | random | overlap − random | overlap − not hard "
        "| overlap − easy-only | m most confident − random | slope |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    for name, rows in results.groupby("setting", sort=False):
        overlap = rows["overlap"]
        cells = [
            name,
            f"{rows['density'].mean():.2f}",
            f"{rows['m'].mean():,.0f}",
            f"{rows['weak'].mean():.3f}",
            f"{rows['random'].mean():.3f}",
            with_error(overlap - rows["random"]),
            with_error(overlap - rows["not hard"]),
            with_error(overlap - rows["easy"]),
            with_error(rows["confident"] - rows["random"]),
            with_error(rows["slope"]),
        ]
        print(f"| {' | '.join(cells)} |")


def print_sensitivity(results: pd.DataFrame) -> None:
    """Print a row for each kind of student: the mean over settings, and the least of them."""
    columns = ("overlap − random", "overlap − not hard", "overlap − easy-only", "slope")
    print(f"| labels | student l2 | random | {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|---|")
    for (soft, l2), rows in results.groupby(["soft", "l2"]):
        values = pd.DataFrame(
            {
                "overlap − random": rows["overlap"] - rows["random"],
                "overlap − not hard": rows["overlap"] - rows["not hard"],
                "overlap − easy-only": rows["overlap"] - rows["easy"],
                "slope": rows["slope"],
            }
        )
        means = values.groupby(rows["setting"]).mean()
        cells = [
            f"{means[c].mean():+.4f} [{means[c].min():+.4f}] {(means[c] > 0).sum()}/{len(means)}"
            for c in columns
        ]
        kind = "soft" if soft else "hard"
        print(f"| {kind} | {l2:g} | {rows['random'].mean():.3f} | {' | '.join(cells)} |")


def main() -> None:
    """Measure all settings and print the table."""
    options = parser(__doc__, seeds=12)
    options.add_argument("--sensitivity", action="store_true", help="other kinds of student")
    options.add_argument("--as-found", action="store_true", help="keep the shares of the classes")
    options.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = options.parse_args()
    students = [Student()]
    if arguments.sensitivity:
        students = [Student(l2, soft) for soft in (False, True) for l2 in (1e-3, 1e-2, 1e-1)]
    for setting in SETTINGS:  # embed once, before several processes read the features
        corpus = load_corpus(setting.corpus)
        for layer in (0, LAST_LAYER):
            minilm_features(corpus, layer, arguments.cache)
    seeds = range(3 if arguments.quick else arguments.seeds)
    with joblib.parallel_config("loky", n_jobs=arguments.jobs, inner_max_num_threads=1):
        records = joblib.Parallel()(
            joblib.delayed(measure)(
                setting, seed, students, not arguments.as_found, arguments.cache
            )
            for setting in SETTINGS
            for seed in seeds
        )
    results = pd.DataFrame([record for chunk in records for record in chunk])
    if arguments.sensitivity:
        print_sensitivity(results)
    else:
        print_settings(results)


if __name__ == "__main__":
    main()
