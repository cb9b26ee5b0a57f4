"""Does the forecast of the gain come true? On real text and on scikit-learn's data, with controls.

A task is a corpus (two of its classes, or all), a weak and a strong view of the texts, numbers of
labelled and pool rows, and the penalties of two probes. The forecast sees the labelled rows and the
pool without labels; the truth is the gain on fresh rows of teacher and student trained on that very
draw. Run ``python benchmarks/evidence/forecast.py``; it prints Markdown tables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, cycle
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import RBFSampler
from sklearn.preprocessing import StandardScaler

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import load_corpus, minilm_features, parser, tfidf_features

from w2s_data import LinearProbe
from w2s_data.forecast import GainForecaster

VIEWS = (
    ("tfidf", "layer 6"),
    ("layer 0", "layer 6"),
    ("layer 6", "4 of layer 6"),
    ("tfidf", "layer 0"),
    ("layer 6", "layer 0"),
    ("layer 0", "16 of layer 6"),
    ("layer 6", "tfidf"),
)
SIZES = ((100, 600), (200, 900), (120, 1000), (300, 900), (150, 700))
PENALTIES = ((1e-3, 1e-1), (1e-2, 1e-2), (1e-2, 1e-1))
TEST = 4000  # at most; all rows that are left where there are fewer
SMALLEST = 500  # texts of a class; smaller ones leave too few test rows
CORPORA = ("sst2", "customer_reviews", "subj", "mpqa", "trec", "ag_news_test")


@dataclass(frozen=True)
class ForecastTask:
    """Pair of models to forecast, with its data."""

    corpus: str
    classes: tuple[int, ...]
    weak: str
    strong: str
    n: int
    N: int
    teacher_l2: float
    student_l2: float

    @property
    def label(self) -> str:
        """First cell of its row in a table."""
        classes = "" if len(self.classes) > 2 else " {} v {}".format(*self.classes)
        return f"{self.corpus}{classes}, {self.weak} → {self.strong} ({self.n}, {self.N})"


def tasks(several_classes: bool) -> Iterator[ForecastTask]:
    """Tasks with two classes, or those with all classes of TREC and AG-News."""
    views, sizes, penalties = cycle(VIEWS), cycle(SIZES), cycle(PENALTIES)
    for corpus in CORPORA:
        sizes_of_classes = np.bincount(load_corpus(corpus).labels)
        n_classes = len(sizes_of_classes)
        if several_classes:
            splits = [tuple(range(n_classes))] if n_classes > 2 else []
        else:
            splits = list(combinations(np.flatnonzero(sizes_of_classes >= SMALLEST).tolist(), 2))
        for classes in splits:
            for _ in VIEWS if len(splits) == 1 else VIEWS[:2]:  # few views of many pairs
                yield ForecastTask(corpus, classes, *next(views), *next(sizes), *next(penalties))


def view(corpus: str, name: str, folder: Path) -> np.ndarray:
    """Features of all texts of a corpus, learnt without labels."""
    if name == "tfidf":
        texts = load_corpus(corpus)
        return tfidf_features(texts, np.arange(len(texts)))
    n_components, _, layer = name.rpartition(" of ")
    features = minilm_features(load_corpus(corpus), int(layer.split()[-1]), folder)
    if not n_components:
        return features
    centred = features - features.mean(axis=0)
    return centred @ np.linalg.eigh(centred.T @ centred)[1][:, -int(n_components) :]


def draw_rows(task: ForecastTask, labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """Labelled, pool and test rows; drawn again until each class has two labelled rows."""
    rng = np.random.default_rng(seed)
    while True:
        rows = rng.permutation(np.flatnonzero(np.isin(labels, task.classes)))
        labelled, pool, test = np.split(rows, [task.n, task.n + task.N])
        if np.bincount(labels[labelled])[list(task.classes)].min() >= 2:
            return [labelled, pool, test[:TEST]]


def measure_task(
    task: ForecastTask, weak: np.ndarray, strong: np.ndarray, labels: np.ndarray, seed: int
) -> dict[str, object]:
    """Forecast and truth of one draw of a task."""
    rows = draw_rows(task, labels, seed)
    teacher = LinearProbe(l2=task.teacher_l2, device="cpu")
    student = LinearProbe(l2=task.student_l2, device="cpu")
    record = forecast_and_truth(weak, strong, labels, rows, (teacher, student), seed)
    return {"task": task.label, "n": task.n} | record


def forecast_and_truth(
    weak: np.ndarray,
    strong: np.ndarray,
    labels: np.ndarray,
    rows: Sequence[np.ndarray],
    probes: tuple[LinearProbe, LinearProbe],
    seed: int,
) -> dict[str, object]:
    """Forecast without the labels of pool and test, and what training then gave."""
    labelled, pool, _ = rows
    teacher, student = probes
    forecaster = GainForecaster(student, teacher, level=0.9, random_state=seed)  # as calibrated
    forecaster.fit(
        strong[labelled],
        weak[labelled],
        labels[labelled],
        strong_pool=strong[pool],
        weak_pool=weak[pool],
    )
    forecast = forecaster.forecast_
    truth = realised(weak, strong, labels, rows, probes)
    record: dict[str, object] = {"seed": seed, "cv": forecast.ingredients.cv, "zero": 0.0}
    record["cv_half"] = 1.645 * forecast.ingredients.se
    for name, true in truth.items():
        found = getattr(forecast, name)
        inside = found.low <= true <= found.high
        record |= {name: found.value, f"true_{name}": true, f"{name}_inside": inside}
    record |= {"half": (forecast.gain.high - forecast.gain.low) / 2}
    return record | {"chance": forecast.chance_w2s_helps, "verdict": forecast.verdict}


def realised(
    weak: np.ndarray,
    strong: np.ndarray,
    labels: np.ndarray,
    rows: Sequence[np.ndarray],
    probes: tuple[LinearProbe, LinearProbe],
) -> dict[str, float]:
    """Accuracies on the test rows, and the gain."""
    labelled, pool, test = rows
    teacher, student = (clone(probe) for probe in probes)
    teacher.fit(weak[labelled], labels[labelled])
    student.fit(strong[pool], teacher.predict(weak[pool]))
    ceiling = clone(probes[1]).fit(strong[pool], labels[pool])
    accuracy = {
        name: float((model.predict(features[test]) == labels[test]).mean())
        for name, model, features in (
            ("teacher", teacher, weak),
            ("student", student, strong),
            ("ceiling", ceiling, strong),
        )
    }
    return accuracy | {"gain": accuracy["student"] - accuracy["teacher"]}


def scikit_learn_cases() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, int, int]]:
    """Weak and strong features, labels, n and N; all features standardised."""
    digits, cancer = load_digits(), load_breast_cancer()
    pixels = StandardScaler().fit_transform(digits.data)
    columns = StandardScaler().fit_transform(cancer.data)
    large, odd, benign = digits.target >= 5, digits.target % 2, cancer.target
    left = pixels.reshape(-1, 8, 8)[:, :, :4].reshape(len(pixels), -1)
    # gamma = 1 / (2 D): the kernel falls to 1 / e at the root mean square distance
    fourier = RBFSampler(gamma=1 / (2 * 64), n_components=300, random_state=0).fit_transform(pixels)
    return {
        "digits ≥ 5, left half → 300 Fourier": (left, fourier, large, 100, 900),
        "digits ≥ 5, left half → all": (left, pixels, large, 200, 900),
        "digits ≥ 5, all → PCA 4": (pixels, PCA(4).fit_transform(pixels), large, 200, 900),
        "cancer, all → columns 8:12": (columns, columns[:, 8:12], benign, 100, 250),
        "digits odd, upper half → all": (pixels[:, :32], pixels, odd, 200, 900),
        "digits odd, all → PCA 8": (pixels, PCA(8).fit_transform(pixels), odd, 200, 900),
        "digits odd, all → left half": (pixels, left, odd, 100, 900),
        "cancer, columns 8:12 → all": (columns[:, 8:12], columns, benign, 100, 250),
    }


def measure_case(name: str, seeds: int, true_seeds: int) -> list[dict[str, object]]:
    """Forecasts of some draws of a case; the truth is the mean over `true_seeds` draws."""
    weak, strong, labels, n, n_pool = scikit_learn_cases()[name]
    probes = LinearProbe(l2=3e-3, device="cpu"), LinearProbe(l2=1e-1, device="cpu")
    records, gains = [], []
    for seed in range(true_seeds):
        rows = np.split(np.random.default_rng(seed).permutation(len(labels)), [n, n + n_pool])
        gains.append(realised(weak, strong, labels, rows, probes)["gain"])
        if seed < seeds:
            records.append(forecast_and_truth(weak, strong, labels, rows, probes, seed))
    label = f"{name} ({n}, {n_pool})"
    return [record | {"task": label, "mean_gain": float(np.mean(gains))} for record in records]


def print_scores(results: pd.DataFrame, true: pd.Series) -> None:
    """Print the forecast and its controls against a truth."""
    print("| forecaster | Spearman | Pearson | MAE | sign right | coverage, 90 % | half-width |")
    print("|---|---|---|---|---|---|---|")
    half = {"gain": results["half"], "cv": results["cv_half"]}
    names = {"gain": "forecast", "cv": "labelled cross-validation", "zero": "always zero"}
    for column, name in names.items():
        found, cells = results[column], ["–"] * 6
        cells[2] = f"{(found - true).abs().mean():.4f}"
        if column in half:
            cells[0] = f"{found.corr(true, method='spearman'):.2f}"
            cells[1] = f"{found.corr(true):.2f}"
            cells[3] = f"{(np.sign(found) == np.sign(true)).mean():.2f}"
            cells[4] = f"{((found - results['true_gain']).abs() <= half[column]).mean():.2f}"
            cells[5] = f"{half[column].mean():.3f}"
        print(f"| {name} | {' | '.join(cells)} |")
    print(
        f"\nTrue gains {true.min():+.3f} … {true.max():+.3f}, {(true > 0).mean():.0%} positive.\n"
    )


def print_accuracies(results: pd.DataFrame) -> None:
    """Print how the other three estimates did, and what chance and verdict were worth."""
    print("| estimate | mean error | MAE | coverage, 90 % |\n|---|---|---|---|")
    for name in ("teacher", "student", "ceiling"):
        error = results[name] - results[f"true_{name}"]
        inside = results[f"{name}_inside"].mean()
        print(f"| {name} | {error.mean():+.3f} | {error.abs().mean():.3f} | {inside:.2f} |")
    right = np.sign(results["gain"]) == np.sign(results["true_gain"])
    print("\n| size of the forecast / half-width | draws | sign right |\n|---|---|---|")
    bands = pd.cut(results["gain"].abs() / results["half"], [0, 0.25, 0.5, 1, np.inf])
    for band, rows in right.groupby(bands, observed=True):
        print(f"| {band.left:g} – {band.right:g} | {len(rows)} | {rows.mean():.2f} |")
    print("\n| stated chance that it helps | draws | mean chance | it helped |\n|---|---|---|---|")
    positive = results["true_gain"] > 0
    bands = pd.cut(results["chance"], [0, 0.1, 0.35, 0.65, 0.9, 1], include_lowest=True)
    for band, rows in results.groupby(bands, observed=True):
        print(
            f"| {max(band.left, 0):g} – {band.right:g} | {len(rows)} | "
            f"{rows['chance'].mean():.2f} | {positive[rows.index].mean():.2f} |"
        )
    print()


def main() -> None:
    """Print the table of each family of tasks."""
    options = parser(__doc__, seeds=1)
    options.add_argument("--jobs", type=int, default=2, help="processes")
    options.add_argument("--first-seed", type=int, default=0, help="other draws")
    arguments = options.parse_args()
    binary, several = list(tasks(several_classes=False)), list(tasks(several_classes=True))
    seeds = range(min(3, arguments.seeds) if arguments.quick else arguments.seeds)
    views = {
        (corpus, name): view(corpus, name, arguments.cache)
        for corpus in CORPORA
        for name in {name for pair in VIEWS for name in pair}
    }
    labels = {corpus: load_corpus(corpus).labels for corpus in CORPORA}
    with joblib.parallel_config("loky", n_jobs=arguments.jobs, inner_max_num_threads=1):
        chunks = joblib.Parallel()(
            joblib.delayed(measure_case)(name, 8, 12) for name in scikit_learn_cases()
        )
        records = joblib.Parallel()(
            joblib.delayed(measure_task)(
                task,
                views[task.corpus, task.weak],
                views[task.corpus, task.strong],
                labels[task.corpus],
                arguments.first_seed + seed,
            )
            for task in binary + several
            for seed in seeds
        )
    cases = pd.DataFrame([record for chunk in chunks for record in chunk])
    print("### scikit-learn data, truth over 12 draws\n")
    print("| case | true | forecast (s.d.) | labelled cross-validation (s.d.) |\n|---|---|---|---|")
    for name, rows in cases.groupby("task", sort=False):
        cells = [f"{rows[c].mean():+.3f} ({rows[c].std():.3f})" for c in ("gain", "cv")]
        print(f"| {name} | {rows['mean_gain'].mean():+.3f} | {' | '.join(cells)} |")
    print()
    print_scores(cases, cases["mean_gain"])

    results = pd.DataFrame(records)
    n_binary = len(binary) * len(seeds)
    for title, part in (
        ("two classes", results[:n_binary]),
        ("TREC 6, AG-News 4", results[n_binary:]),
    ):
        print(f"### Real text, {title}: {part['task'].nunique()} tasks, {len(seeds)} draws\n")
        print_scores(part, part["true_gain"])
        means = part.groupby("task")[["gain", "true_gain"]].mean()
        rank = means["gain"].corr(means["true_gain"], method="spearman")
        print(f"Spearman over the tasks' means: {rank:.2f}.\n")
        print_accuracies(part)


if __name__ == "__main__":
    main()
