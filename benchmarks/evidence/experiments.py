"""The experiments of ``replication.py``: what methods gain on one fresh split of real data.

Each function takes a seed and the folder of the cached features, and returns numbers by name. A
student is a linear head on MiniLM's last layer; a teacher a logistic regression (C = 0.01) on
weaker features.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import Corpus, load_corpus, minilm_features, split_rows, tfidf_features

from w2s_data import LinearProbe, TfidfEncoder
from w2s_data.finetune import Student, fit_student
from w2s_data.finetune.objectives import Model

TEACHER_C = 0.01  # scikit-learn's: l2 = 1 / (C n)
LONG = 15  # words; longer sentences carry the attribute "length"
UNION = ("ag_news_test", "trec", "sst2", "customer_reviews", "subj")
Values = dict[str, float]


def teach(features: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> LinearProbe:
    """The weak teacher."""
    return LinearProbe(l2=1 / (TEACHER_C * len(rows)), device="cpu").fit(
        features[rows], labels[rows]
    )


def accuracy(student: Student | Model, features: np.ndarray, labels: np.ndarray) -> float:
    """Share of right predictions of a student of one seed."""
    model = student.model if isinstance(student, Student) else student
    return float((model.proba(features)[0].argmax(axis=1) == labels).mean())


@functools.cache
def corpus(name: str) -> Corpus:
    """A corpus, read once."""
    return load_corpus(name)


@functools.cache
def minilm(name: str, layer: int, cache: Path) -> np.ndarray:
    """Features of a corpus, read once."""
    return minilm_features(corpus(name), layer, cache)


def sst2(seed: int, cache: Path, weak: str, n_labelled: int) -> Values:
    """One teacher on SST-2: naive, confidence, and the other methods for one teacher."""
    data, strong = corpus("sst2"), minilm("sst2", 6, cache)
    labelled, pool, test = split_rows(data.labels, (n_labelled, 7000, 4000), seed, balanced=False)
    if weak == "tfidf":
        features = tfidf_features(data, np.concatenate([labelled, pool]))
    else:
        features = minilm("sst2", 0, cache)
    teacher = teach(features, data.labels, labelled)
    proba = teacher.predict_proba(features[pool])
    y = data.labels

    def student(method: str, labels: Any = proba, **options: Any) -> float:
        fitted = fit_student(
            method, strong[pool], labels, random_state=seed, controls=False, **options
        )
        return accuracy(fitted, strong[test], y[test])

    weak_accuracy = float((teacher.predict(features[test]) == y[test]).mean())
    ceiling, naive, soft = student("naive", y[pool]), student("naive", hard=True), student("naive")
    confidence = student("confidence", largest=0.75)
    return {
        "teacher": weak_accuracy,
        "ceiling": ceiling,
        "naive hard - teacher": naive - weak_accuracy,
        "naive soft - teacher": soft - weak_accuracy,
        "confidence .75 - naive soft": confidence - soft,
        "confidence .75, PGR": (confidence - weak_accuracy) / (ceiling - weak_accuracy),
        "confidence .5 - naive soft": student("confidence", largest=0.5) - soft,
        "vsup - naive soft": student("vsup") - soft,
        "bayes - naive soft": student("bayes") - soft,
        "bootstrap - naive soft": student("bootstrap") - soft,
    }


def shortcut_split(
    attribute: np.ndarray, sizes: dict[str, tuple[int, float]], n_test: int, seed: int
) -> dict[str, np.ndarray]:
    """Disjoint rows of SST-2: parts of a size with a minority share, and a test set of 4 groups."""
    labels = corpus("sst2").labels
    rng = np.random.default_rng(seed)
    left = {
        (label, value): rng.permutation(np.flatnonzero((labels == label) & (attribute == value)))
        for label in (0, 1)
        for value in (0, 1)
    }

    def draw(label: int, value: int, n: int) -> np.ndarray:
        taken, left[label, value] = np.split(left[label, value], [n])
        if len(taken) < n:
            sys.exit(f"SST-2 has too few sentences of label {label} and attribute {value}")
        return taken

    parts = {"test": np.concatenate([draw(*group, n_test) for group in list(left)])}
    for name, (size, minority) in sizes.items():
        share = {True: (1 - minority) / 2, False: minority / 2}
        parts[name] = np.concatenate(
            [draw(*group, round(size * share[group[0] == group[1]])) for group in list(left)]
        )
    return parts


def shortcut_attribute(name: str) -> np.ndarray:
    """0 or 1 for every sentence of SST-2."""
    texts = corpus("sst2").texts
    if name == "length":
        return np.array([int(len(text.split()) > LONG) for text in texts])
    return np.array([int("," in text) for text in texts])


def shortcut(
    seed: int, cache: Path, attribute: str, eta_l: float, eta_u: float, full: bool = True
) -> Values:
    """SST-2 with a natural shortcut: gain of naive training, and what `enhanced` adds to it."""
    y, strong, weak = corpus("sst2").labels, minilm("sst2", 6, cache), minilm("sst2", 0, cache)
    values = shortcut_attribute(attribute)
    sizes = {"labelled": (500, eta_l), "pool": (2500, eta_u)}
    rows = shortcut_split(values, sizes, 400, seed)
    test, pool = rows["test"], rows["pool"]
    group = 2 * y[test] + values[test]
    teacher = teach(weak, y, rows["labelled"])
    right = teacher.predict(weak[test]) == y[test]

    def by_group(model: Model) -> np.ndarray:
        hit = model.proba(strong[test])[0].argmax(axis=1) == y[test]
        return np.array([hit[group == g].mean() for g in range(4)])

    proba = teacher.predict_proba(weak[pool])
    if not full:
        naive = by_group(
            fit_student("naive", strong[pool], proba, epochs=20, random_state=seed).model
        )
        return {"naive - teacher": naive.mean() - right.mean()}
    student = fit_student(
        "enhanced", strong[pool], proba, epochs=20, random_state=seed, share=0.3, q=0.7
    )
    enhanced, naive = by_group(student.model), by_group(student.controls["naive"])
    found = {
        "teacher": right.mean(),
        "naive - teacher": naive.mean() - right.mean(),
        "enhanced - naive": enhanced.mean() - naive.mean(),
        "enhanced - naive, worst group": enhanced.min() - naive.min(),
    }
    for name in ("random_subset", "teacher_confidence"):
        control = by_group(student.controls[name])
        found[f"{name} - naive"] = control.mean() - naive.mean()
        found[f"{name} - naive, worst group"] = control.min() - naive.min()
    return found


def eta_curve(seed: int, cache: Path) -> Values:
    """Gain of naive training over the minority share of the pool, teacher at .05."""
    shares = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
    gains = [
        shortcut(seed, cache, "length", 0.05, eta, full=False)["naive - teacher"] for eta in shares
    ]
    found = {f"gain at eta_u {eta}": gain for eta, gain in zip(shares, gains, strict=True)}
    return {**found, "fall of the gain from .05 to .5": gains[0] - gains[-1]}


def spread(proba: np.ndarray, classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Probabilities over all classes, zero for those that a specialist does not know."""
    wide = np.zeros((len(proba), n_classes))
    wide[:, classes] = proba
    return wide


def hierarchy_gains(student: Student, features: np.ndarray, labels: np.ndarray) -> Values:
    """`cosupervised` minus its controls."""
    own = accuracy(student, features, labels)
    found = {"cosupervised": own}
    for name, control in student.controls.items():
        found[f"cosupervised - {name}"] = own - accuracy(control, features, labels)
    return found


def digits(seed: int, cache: Path) -> Values:  # noqa: ARG001 - every setting has this shape
    """A hierarchy of 1, 2 and 4 teachers on PCA(4) of the digits."""
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA

    pixels, y = load_digits(return_X_y=True)
    labelled, pool, test = split_rows(y, (300, 1000, 497), seed, balanced=False)
    levels = [
        [list(range(10))],
        [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]],
        [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9]],
    ]
    teachers = []
    for cluster in [cluster for level in levels for cluster in level]:
        rows = labelled[np.isin(y[labelled], cluster)]
        pca = PCA(4, random_state=0).fit(pixels[rows])
        teacher = LinearProbe(l2=1 / len(rows)).fit(pca.transform(pixels[rows]), y[rows])
        proba = teacher.predict_proba(pca.transform(pixels[pool]))
        teachers.append(spread(proba, teacher.classes_, 10))
    student = fit_student(
        "cosupervised",
        pixels[pool],
        np.stack(teachers, axis=1),
        stages=(1, 2, 4),
        learning_rate=3e-3,
        epochs=20,
        random_state=seed,
    )
    return hierarchy_gains(student, pixels[test], y[test])


def flat(clusters: list[list[int]]) -> list[int]:
    """All classes of some clusters."""
    return [code for cluster in clusters for code in cluster]


def union(seed: int, cache: Path) -> Values:
    """A hierarchy of teachers on the union of five corpora, 15 classes."""
    strong, texts, y, clusters = [], [], [], []
    parts: list[list[np.ndarray]] = []
    n_classes = n_rows = 0
    for name in UNION:
        data = corpus(name)
        codes = data.labels
        allowed = np.ones(len(data), dtype=bool)
        if name == "trec":  # without its rare class of abbreviations
            rare = np.bincount(codes).argmin()
            allowed = codes != rare
            codes = codes - (codes > rare)
        rows = np.flatnonzero(allowed)
        split = split_rows(codes[rows], (600, 1200, 600), seed, balanced=False)
        parts.append([n_rows + rows[part] for part in split])
        strong.append(minilm(name, 6, cache))
        texts += data.texts
        y.append(np.where(allowed, codes + n_classes, -1))
        clusters.append(list(range(n_classes, n_classes + codes[rows].max() + 1)))
        n_classes += len(clusters[-1])
        n_rows += len(data)
    features, labels = np.concatenate(strong), np.concatenate(y)
    labelled, pool, test = (np.concatenate(part) for part in zip(*parts, strict=True))
    levels = [
        [flat(clusters)],
        [flat(clusters[:2]), flat(clusters[2:])],
        clusters,
    ]
    teachers = []
    for cluster in [cluster for level in levels for cluster in level]:
        rows = labelled[np.isin(labels[labelled], cluster)]
        encoder = TfidfEncoder(16).fit([texts[row] for row in rows])
        teacher = LinearProbe(l2=1 / (TEACHER_C * len(rows))).fit(
            encoder.encode([texts[row] for row in rows]), labels[rows]
        )
        proba = teacher.predict_proba(encoder.encode([texts[row] for row in pool]))
        teachers.append(spread(proba, teacher.classes_, n_classes))
    student = fit_student(
        "cosupervised",
        features[pool],
        np.stack(teachers, axis=1),
        stages=tuple(len(level) for level in levels),
        random_state=seed,
    )
    return hierarchy_gains(student, features[test], labels[test])


def weigh_teachers(
    teachers: list[LinearProbe],
    weak: np.ndarray,
    rows: dict[str, np.ndarray],
    seed: int,
    cache: Path,
) -> Values:
    """`raven` minus the mean ensemble and single teachers, and how its weights rank them."""
    y, strong = corpus("sst2").labels, minilm("sst2", 6, cache)
    pool, test = rows["pool"], rows["test"]
    proba = np.stack([teacher.predict_proba(weak[pool]) for teacher in teachers], axis=1)
    weak_accuracy = [float((teacher.predict(weak[test]) == y[test]).mean()) for teacher in teachers]

    def score(student: Student | Model) -> float:
        return accuracy(student, strong[test], y[test])

    raven = fit_student("raven", strong[pool], proba, random_state=seed)
    single = [
        score(fit_student("naive", strong[pool], proba[:, m], hard=True, random_state=seed))
        for m in range(len(teachers))
    ]
    soft = fit_student("raven", strong[pool], proba, random_state=seed, hard=False, controls=False)
    bayes = fit_student("bayes", strong[pool], proba, random_state=seed)
    weights = raven.diagnostics["weights"][0]
    own = score(raven)
    return {
        "raven": own,
        "raven - mean ensemble": own - score(raven.controls["mean_ensemble"]),
        "raven - average single": own - float(np.mean(single)),
        "raven - best single": own - max(single),
        "raven - raven on soft labels": own - score(soft),
        "raven - bayes": own - score(bayes),
        "largest weight on the most accurate": float(weights.argmax() == np.argmax(weak_accuracy)),
        "Spearman of weights and accuracy": float(spearmanr(weights, weak_accuracy).statistic),
        **{f"weight of teacher {m}": float(w) for m, w in enumerate(weights)},
        **{f"accuracy of teacher {m}": a for m, a in enumerate(weak_accuracy)},
    }


def raven_domains(seed: int, cache: Path) -> Values:
    """Teachers from SST-2, customer reviews and MPQA; pool and test from SST-2."""
    y = corpus("sst2").labels
    labelled, pool, test = split_rows(y, (400, 7000, 4000), seed, balanced=False)
    teachers = [teach(minilm("sst2", 1, cache), y, labelled)]
    for name in ("customer_reviews", "mpqa"):
        other = corpus(name).labels
        rows = split_rows(other, (800,), seed, balanced=False)[0]
        teachers.append(teach(minilm(name, 1, cache), other, rows))
    rows = {"pool": pool, "test": test}
    return weigh_teachers(teachers, minilm("sst2", 1, cache), rows, seed, cache)


def raven_flips(seed: int, cache: Path) -> Values:
    """Three SST-2 teachers with 0, 20 and 35 % of their labels flipped."""
    y, weak = corpus("sst2").labels, minilm("sst2", 1, cache)
    *labelled, pool, test = split_rows(y, (400, 400, 400, 6800, 4000), seed, balanced=False)
    rng = np.random.default_rng(seed)
    teachers = []
    for rows, share in zip(labelled, (0.0, 0.2, 0.35), strict=True):
        noisy = y.copy()
        flipped = rng.permutation(rows)[: round(share * len(rows))]
        noisy[flipped] = 1 - noisy[flipped]
        teachers.append(teach(weak, noisy, rows))
    return weigh_teachers(teachers, weak, {"pool": pool, "test": test}, seed, cache)
