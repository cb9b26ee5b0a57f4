"""Which discovery method finds the true groups? Adjusted Rand index of every method tried.

    python benchmarks/evidence/discovery.py [known] [sst2]

``known`` has digits with a marked corner, shifted normals and `spurious_gaussian`; on SST-2 the
attribute is the length of the text.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.mixture import GaussianMixture

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, load_corpus, minilm_features, parser, split_rows, tfidf_features

from w2s_data import LinearProbe
from w2s_data.data.examples import spurious_gaussian
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.groups.discovery import discover_groups
from w2s_data.groups.kmeans import kmeans

SIGMAS = 4.0
Task = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def gaussian_task(minority: float, student_dims: int, seed: int) -> Task:
    """`spurious_gaussian` whose groups lie four standard deviations apart for the student."""
    seen = (0.5 + np.sqrt(0.75)) * np.sqrt(student_dims / (4 + student_dims))
    example = spurious_gaussian(
        eta_labelled=minority,
        eta_pool=minority,
        eta_test=minority,
        student_dims=student_dims,
        mu=SIGMAS / seen,
        random_state=seed,
    )
    data = example.dataset
    group = (data.groups == "minority").astype(np.int64)
    labelled = data.splits == "labelled"
    return example.strong_features, example.weak_features, data.labels, group, labelled


def shifted_task(minority: float, seed: int, dim: int = 64) -> Task:
    """Normal features; the group shifts one of them by four standard deviations."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(4000, dim)).astype(np.float32)
    group, label = (rng.random(4000) < minority).astype(np.int64), rng.integers(2, size=4000)
    points[:, 0] += SIGMAS * group
    points[:, 1] += 2 * label
    return points, points[:, 1:9], label, group, np.arange(4000) < 500


def digits_task(minority: float, seed: int) -> Task:
    """Digits below 5 and from 5; a bright 3 x 3 corner; the teacher sees 4 x 4 pixels."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    scans, label = digits.images / 16, (digits.target >= 5).astype(np.int64)
    group = rng.random(len(label)) < minority
    scans[group, 5:, 5:] = 1
    weak = scans.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(len(label), -1)
    labelled = np.zeros(len(label), dtype=bool)
    labelled[rng.permutation(len(label))[:400]] = True
    return scans.reshape(len(label), -1), weak, label, group.astype(np.int64), labelled


def length_task(layer: int, cache: Path, seed: int) -> Task:
    """SST-2, where the attribute is more than 15 words; teacher: TF-IDF and SVD, 500 labels."""
    corpus = load_corpus("sst2")
    group = np.array([len(text.split()) > 15 for text in corpus.texts]).astype(np.int64)
    rows = np.concatenate(split_rows(corpus.labels, (500, 4000), seed))
    labelled = np.arange(len(rows)) < 500
    weak = tfidf_features(corpus, rows[labelled])[rows]
    strong = minilm_features(corpus, layer, cache)[rows]
    return strong, weak, corpus.labels[rows], group[rows], labelled


def in_class(method: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    """A clustering of the strong features of each pseudo-label class."""

    def found(strong: np.ndarray, pseudo: np.ndarray, *_: object) -> np.ndarray:
        codes = np.zeros(len(pseudo), dtype=np.int64)
        for label in np.unique(pseudo):
            codes[pseudo == label] = method(strong[pseudo == label])
        return codes

    return found


def discovered(method: str, n_groups: int | None) -> Callable[..., np.ndarray]:
    """A method of `GroupAnalyzer`."""

    def found(
        strong: np.ndarray, pseudo: np.ndarray, gold: np.ndarray, _: object, seed: int
    ) -> np.ndarray:
        return discover_groups(
            as_feature_matrix(strong),
            pseudo,
            gold,
            method=method,
            n_groups=n_groups,
            rng=np.random.default_rng(seed),
        ).codes

    return found


def silhouette(points: np.ndarray) -> np.ndarray:
    """Spherical k-means, the number of clusters with the largest silhouette."""
    tried = [kmeans(points, k, spherical=True).codes for k in range(2, 9)]
    sample = np.random.default_rng(0).permutation(len(points))[:1000]
    return max(tried, key=lambda codes: silhouette_score(points[sample], codes[sample]))


def mixture(points: np.ndarray) -> np.ndarray:
    """Two Gaussians on 30 principal components of the features as they are."""
    centred = points - points.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:30]
    model = GaussianMixture(2, reg_covar=1e-3 * centred.var(), n_init=3, random_state=0)
    return model.fit_predict(centred @ axes.T)


def disagreement(
    strong: np.ndarray, pseudo: np.ndarray, _gold: object, proba: np.ndarray, _seed: int
) -> np.ndarray:
    """Whether a student that is fitted to the teacher's labels contradicts it."""
    return (LinearProbe().fit(strong, proba).predict(strong) != pseudo).astype(np.int64)


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "**auto**": discovered("auto", None),
    "gaps": discovered("gaps", None),
    "mixture": discovered("mixture", None),
    "errors, two groups": discovered("errors", 2),
    "errors": discovered("errors", None),
    "2-means": in_class(lambda x: KMeans(2, n_init=5, random_state=0).fit_predict(x)),
    "spherical 2-means": in_class(lambda x: kmeans(x, 2, spherical=True).codes),
    "k-means, silhouette": in_class(silhouette),
    "two Gaussians in a class": in_class(mixture),
    "density (HDBSCAN)": in_class(lambda x: HDBSCAN(min_cluster_size=15).fit_predict(x)),
    "teacher against student": disagreement,
}


def rand_index(task: Task, method: Callable[..., np.ndarray], seed: int) -> float:
    """Adjusted Rand index with the true groups, mean within pseudo-label classes."""
    strong, weak, label, group, labelled = task
    proba = LinearProbe(l2=0.01).fit(weak[labelled], label[labelled]).predict_proba(weak)
    pseudo = proba.argmax(axis=1)
    codes = method(strong, pseudo, np.where(labelled, label, -1), proba, seed)
    parts = [pseudo == c for c in np.unique(pseudo)]
    return float(np.mean([adjusted_rand_score(group[part], codes[part]) for part in parts]))


def discovery(
    tasks: dict[str, Callable[[int], Task]], seeds: int, slow: Sequence[str] = ()
) -> None:
    """Adjusted Rand index of every method on every task, mean and lowest over seeds."""
    print(f"\nAdjusted Rand index within classes, mean (lowest) of {seeds} seeds\n")
    print(f"| method | {' | '.join(tasks)} |")
    print("|---" * (len(tasks) + 1) + "|")
    built = {name: [make(seed) for seed in range(seeds)] for name, make in tasks.items()}
    for name, method in METHODS.items():
        cells = []
        for made in built.values():
            if name in slow:
                cells.append("not run")
                continue
            scores = [rand_index(task, method, seed) for seed, task in enumerate(made)]
            cells.append(f"{np.mean(scores):.2f} ({min(scores):.2f})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the tables asked for, all by default."""
    options = parser(__doc__.splitlines()[0], seeds=6)
    options.add_argument("parts", nargs="*", help="known, sst2")
    arguments = options.parse_args()
    wanted = arguments.parts or ["known", "sst2"]
    seeds = 3 if arguments.quick else arguments.seeds
    warnings.filterwarnings("ignore", module="sklearn")
    if "known" in wanted:
        tasks = {f"digits {m}": partial(digits_task, m) for m in (0.5, 0.2, 0.1)}
        tasks["shift 4 sigma .2"] = partial(shifted_task, 0.2)
        tasks |= {f"spurious_gaussian .2, {d} dims": partial(gaussian_task, 0.2, d) for d in (2, 4)}
        discovery(tasks, seeds)
    if "sst2" in wanted:
        length = partial(length_task, LAST_LAYER, arguments.cache)
        discovery({"SST-2 length": length}, min(3, seeds), slow=("density (HDBSCAN)",))


if __name__ == "__main__":
    main()
