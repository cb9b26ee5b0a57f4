"""Pools of sources on real text, for the benchmarks of source selection.

Natural pools: k-means clusters of a corpus, and mixes of review domains. Spam pools: one good
source, one whose weak labels are confident and unrelated to the texts, one off topic, one of
near-duplicates, and one cluster. Every pool has a test set and an unlabelled target sample from the
same distribution, which share no text with the sources.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LARGEST, LAST_LAYER, load_corpus, minilm_features

from w2s_data import LinearProbe, W2SDataset

N_TARGET, N_TEST, N_LABELLED = 300, 1500, 200
TEACHER_C, STUDENT_L2 = 0.01, 1e-2
N_CLUSTERS = 5
N_GOLD = 100  # rows that only a label posterior sees
DUPLICATES = 12  # different texts in the source of near-duplicates
SENTIMENT = ("sst2", "customer_reviews", "mpqa")


@dataclass(frozen=True)
class Part:
    """Items of one source."""

    strong: np.ndarray
    proba: np.ndarray

    def __len__(self) -> int:
        return len(self.strong)


@dataclass(frozen=True)
class Pool:
    """Sources by name, the target sample, a gold test set, and gold rows for a posterior."""

    name: str
    parts: dict[str, Part]
    target: np.ndarray
    test: np.ndarray
    gold: np.ndarray
    labelled: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # strong, weak, labels

    @property
    def sources(self) -> np.ndarray:
        """Source of each item, in the order of the parts."""
        return np.repeat(np.array(list(self.parts), dtype=object), [*map(len, self.parts.values())])

    @property
    def strong(self) -> np.ndarray:
        """Strong features of all items."""
        return np.concatenate([part.strong for part in self.parts.values()])

    @property
    def proba(self) -> np.ndarray:
        """Weak probabilities of all items."""
        return np.concatenate([part.proba for part in self.parts.values()])

    def dataset(self) -> W2SDataset:
        """The items as a data set of the pool split, with their weak probabilities."""
        n = len(self.sources)
        table = pd.DataFrame(
            {
                "id": [f"{self.name}-{i}" for i in range(n)],
                "label": None,
                "split": "pool",
                "source": self.sources,
            }
        )
        classes = tuple(map(str, range(self.proba.shape[1])))
        return W2SDataset(
            table, "features", classes, weak_proba=self.proba, features=self.strong, name=self.name
        )

    def accuracy(self, strong: np.ndarray, proba: np.ndarray) -> float:
        """Test accuracy of a student of these weak labels."""
        probe = LinearProbe(l2=STUDENT_L2, device="cpu").fit(strong, proba)
        return float((probe.predict(self.test) == self.gold).mean())


@dataclass(frozen=True)
class Features:
    """A corpus as numbers: gold labels, what the weak and what the strong model sees."""

    labels: np.ndarray
    weak: np.ndarray
    strong: np.ndarray


class Pools:
    """Makes pools from corpora whose features are kept in a folder."""

    def __init__(self, folder: Path, most: int = LARGEST) -> None:
        self._folder, self._most = folder, most
        self.features: Callable[[str], Features] = cache(self._load)

    def _load(self, name: str) -> Features:
        corpus = load_corpus(name, self._most)
        labels = corpus.labels
        if corpus.n_classes > 2 and name == "trec":
            labels = np.unique(labels, return_inverse=True)[1]
        weak, strong = (minilm_features(corpus, layer, self._folder) for layer in (0, LAST_LAYER))
        return Features(labels, weak, strong)

    def clusters(self, corpus: str, seed: int, n_clusters: int = N_CLUSTERS) -> Pool:
        """K-means clusters of a corpus's strong features as sources."""
        data, rng = self.features(corpus), np.random.default_rng(seed)
        labelled, target, test, rest = self._split(len(data.labels), rng)
        proba = self._teach(data, labelled)(data.weak[rest])
        cluster = KMeans(n_clusters, n_init=1, random_state=seed).fit_predict(data.strong[rest])
        parts = {
            f"cluster {k}": Part(data.strong[rest][cluster == k], proba[cluster == k])
            for k in range(n_clusters)
        }
        return Pool(
            f"{corpus}, {n_clusters} clusters",
            parts,
            data.strong[target],
            data.strong[test],
            data.labels[test],
        )

    def domains(self, home: str, seed: int) -> Pool:
        """Review domains as sources; teacher, target and test from one of them, or from all."""
        rng = np.random.default_rng(seed)
        data = {name: self.features(name) for name in SENTIMENT}
        rows = {name: self._split(len(part.labels), rng) for name, part in data.items()}
        homes = SENTIMENT if home == "all" else (home,)

        def joined(field: str, split: int) -> np.ndarray:
            cut = [
                getattr(data[name], field)[rng.permutation(rows[name][split])[:: len(homes)]]
                for name in homes
            ]
            return np.concatenate(cut)

        state = rng.bit_generator.state
        taught = []
        for field in ("weak", "labels"):  # the same rows of both
            rng.bit_generator.state = state
            taught.append(joined(field, 0))
        teacher = _teacher(*taught)
        state = rng.bit_generator.state
        tested = []
        for field in ("strong", "labels"):
            rng.bit_generator.state = state
            tested.append(joined(field, 2))
        parts = {
            name: Part(data[name].strong[rows[name][3]], teacher(data[name].weak[rows[name][3]]))
            for name in SENTIMENT
        }
        return Pool(f"domains, home {home}", parts, joined("strong", 1), *tested)

    def spam(
        self,
        corpus: str,
        off_topic: str,
        seed: int,
        size: int = 800,
        noise: float = 1.0,
        confident: bool = True,
    ) -> Pool:
        """One good source among a noisy, an off-topic, a repetitive and a narrow one.

        `noise` is the share of the noisy source's labels that is random: confident, or else those
        of other texts.
        """
        data, rng = self.features(corpus), np.random.default_rng(seed)
        labelled, target, test, rest = self._split(len(data.labels), rng)
        teach = self._teach(data, labelled)
        cluster = KMeans(N_CLUSTERS, n_init=1, random_state=seed).fit_predict(data.strong[rest])
        narrow = rest[cluster == rng.integers(N_CLUSTERS)]
        others = rest[~np.isin(rest, narrow)]
        good, noisy, few = np.split(others, [len(others) // 2, len(others) - DUPLICATES])
        good, noisy, narrow = good[:size], noisy[:size], narrow[:size]
        repeated = rng.choice(few, size)
        jitter = 0.05 * data.strong.std(axis=0) * rng.normal(size=(size, data.strong.shape[1]))
        other = self.features(off_topic)
        foreign = rng.permutation(len(other.labels))[:size]
        parts = {
            "good": Part(data.strong[good], teach(data.weak[good])),
            "noisy": Part(
                data.strong[noisy], _noisy(teach(data.weak[noisy]), noise, confident, rng)
            ),
            "off topic": Part(other.strong[foreign], teach(other.weak[foreign])),
            "repetitive": Part(data.strong[repeated] + jitter, teach(data.weak[repeated])),
            "narrow": Part(data.strong[narrow], teach(data.weak[narrow])),
        }
        parts = {name: parts[name] for name in rng.permutation(list(parts))}
        return Pool(
            f"spam, {corpus}", parts, data.strong[target], data.strong[test], data.labels[test]
        )

    def bad(self, corpus: str, off_topic: str, seed: int, size: int = 600) -> Pool:
        """Two good sources among four bad ones: noise, half wrong, off topic, near-duplicates.

        The weak labels of "noise" are confident and drawn by chance, half of those of "half wrong"
        say another class as surely as they said the first one.
        """
        data, rng = self.features(corpus), np.random.default_rng(seed)
        labelled, target, test, rest = self._split(len(data.labels), rng)
        teach = self._teach(data, labelled)
        size = min(size, (len(rest) - DUPLICATES) // 4)
        *parts, few = np.split(rest[: 4 * size + DUPLICATES], size * np.arange(1, 5))
        repeated = rng.choice(few, size)
        jitter = 0.05 * data.strong.std(axis=0) * rng.normal(size=(size, data.strong.shape[1]))
        other = self.features(off_topic)
        foreign = rng.permutation(len(other.labels))[:size]
        good, more, noisy, wrong = (
            Part(data.strong[rows], teach(data.weak[rows])) for rows in parts
        )
        sources = {
            "good": good,
            "more": more,
            "noise": Part(noisy.strong, _confident(noisy.proba.shape, rng)),
            "half wrong": Part(wrong.strong, _half_wrong(wrong.proba, rng)),
            "off topic": Part(other.strong[foreign], teach(other.weak[foreign])),
            "repetitive": Part(data.strong[repeated] + jitter, teach(data.weak[repeated])),
        }
        sources = {name: sources[name] for name in rng.permutation(list(sources))}
        gold, test = np.split(test, [N_GOLD])
        labelled = data.strong[gold], teach(data.weak[gold]), data.labels[gold]
        tested = data.strong[test], data.labels[test]
        return Pool(corpus, sources, data.strong[target], *tested, labelled)

    def _split(self, n: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Rows for the teacher, the target sample, the test, and the sources."""
        n_test = min(N_TEST, n // 4)
        return np.split(rng.permutation(n), np.cumsum([N_LABELLED, N_TARGET, n_test]))

    def _teach(self, data: Features, labelled: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return _teacher(data.weak[labelled], data.labels[labelled])


def _teacher(weak: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return (
        LinearProbe(l2=1 / (TEACHER_C * len(labels)), device="cpu").fit(weak, labels).predict_proba
    )


def _confident(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw a class by chance for each item, at about .95."""
    n, n_classes = shape
    sure = rng.uniform(0.91, 0.99, n)
    proba = np.repeat((1 - sure)[:, None] / (n_classes - 1), n_classes, axis=1)
    proba[np.arange(n), rng.integers(n_classes, size=n)] = sure
    return proba


def _half_wrong(proba: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exchange the probability of the weak label with that of another class in half of the rows."""
    n, n_classes = proba.shape
    label = proba.argmax(axis=1)
    rows = np.flatnonzero(rng.random(n) < 0.5)
    to = (label[rows] + rng.integers(1, n_classes, len(rows))) % n_classes
    wrong = proba.copy()
    wrong[rows, label[rows]], wrong[rows, to] = proba[rows, to], proba[rows, label[rows]]
    return wrong


def _noisy(
    proba: np.ndarray, noise: float, confident: bool, rng: np.random.Generator
) -> np.ndarray:
    """Replace a share of the probabilities by others that have nothing to do with the items."""
    n = len(proba)
    positive = np.where(rng.random(n) < 0.5, 0.95, 0.05) + rng.uniform(-0.04, 0.04, n)
    drawn = np.column_stack([1 - positive, positive]) if confident else rng.permutation(proba)
    return drawn if noise == 1 else np.where(rng.random((n, 1)) < noise, drawn, proba)
