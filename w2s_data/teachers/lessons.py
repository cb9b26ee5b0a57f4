"""Lessons: which gold rows a teacher learns from, and hierarchies of specialists."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import InputError, SplitError, listing, unknown
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.teachers.learner import Lesson
from w2s_data.utils.typing import IntArray

CLUSTERS = 4
LEVELS = {"halves": 1, "quarters": 2}  # below the generalist, each of which halves the classes


@dataclass(frozen=True)
class Selection:
    """Conditions on the gold rows of a teacher, all of which a row must fulfil.

    `cluster` are numbers of `clusters` that k-means finds in the teacher's features. A random
    `share` of the rows is kept, and a share `label_noise` of these gets another of their classes.
    """

    source: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    cluster: Sequence[int] | None = None
    clusters: int | None = None
    share: float | None = None
    label_noise: float | None = None

    def check(self, name: str, dataset: W2SDataset) -> None:
        """Raise InputError for sources and classes that the data do not have."""
        known = {"source": _sources(dataset), "classes": dataset.class_names}
        for key, own in known.items():
            for wanted in getattr(self, key) or ():
                if key == "source" and dataset.sources is None:
                    raise InputError(
                        f"teacher {name!r}: train_on by source requires sources; name their column "
                        "as source"
                    )
                if wanted not in own:
                    kind = "class" if key == "classes" else key
                    raise InputError(f"teacher {name!r}, train_on: {unknown(kind, wanted, own)}")

    def lesson(
        self,
        name: str,
        dataset: W2SDataset,
        rows: IntArray,
        features: FeatureMatrix | None = None,
        seed: int = 0,
    ) -> Lesson:
        """Choose among gold rows; without features, as in a check, clusters are not looked at.

        Raise SplitError if no row is left, or rows of a single class.
        """
        self.check(name, dataset)
        if not len(rows):
            raise SplitError(
                f"teacher {name!r} has no training row: the labelled split has no gold label; name "
                "their column as label"
            )
        # A seed of its own: a teacher does not change when another one joins.
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        labels = dataset.labels
        if self.source is not None:
            assert dataset.sources is not None
            rows = rows[np.isin(dataset.sources[rows], list(self.source))]
        if self.classes is not None:
            codes = [dataset.class_names.index(own) for own in self.classes]
            rows = rows[np.isin(labels[rows], codes)]
        if self.cluster is not None and features is not None:
            rows = rows[np.isin(self._clusters(name, features, rng)[rows], list(self.cluster))]
        if self.share is not None and len(rows):
            n = max(1, round(self.share * len(rows)))
            rows = np.sort(rng.choice(rows, n, replace=False))
        _check_rows(name, rows, dataset)
        return Lesson(rows, _noisy(labels[rows], self.label_noise or 0.0, rng))

    def _clusters(self, name: str, features: FeatureMatrix, rng: np.random.Generator) -> IntArray:
        from w2s_data.groups.kmeans import kmeans

        n_clusters = self.clusters or CLUSTERS
        if bad := [number for number in self.cluster or () if not 0 <= number < n_clusters]:
            raise InputError(
                f"teacher {name!r}, train_on: there is no cluster {bad[0]} of {n_clusters}; they "
                f"are numbered from 0 to {n_clusters - 1}"
            )
        return kmeans(features, n_clusters, random_state=rng).codes


def _sources(dataset: W2SDataset) -> list[str]:
    return [] if dataset.sources is None else sorted({str(name) for name in dataset.sources})


def _check_rows(name: str, rows: IntArray, dataset: W2SDataset) -> None:
    if not len(rows):
        raise SplitError(
            f"teacher {name!r} has no training row: no gold row of the labelled split is of the "
            "sources and classes that it is trained on"
        )
    classes = np.unique(dataset.labels[rows])
    if len(classes) < 2:
        raise SplitError(
            f"teacher {name!r} would learn from {len(rows):,} rows of the single class "
            f"{dataset.class_names[classes[0]]!r}: it needs two or more"
        )


def _noisy(codes: IntArray, noise: float, rng: np.random.Generator) -> IntArray:
    """Give a random share of the rows another of the classes that they have."""
    known, places = np.unique(codes, return_inverse=True)
    n = round(noise * len(codes))
    wrong = rng.choice(len(codes), n, replace=False)
    noisy = places.copy()
    noisy[wrong] = (places[wrong] + rng.integers(1, len(known), size=n)) % len(known)
    return np.asarray(known[noisy])


@dataclass(frozen=True)
class Member:
    """A teacher of a hierarchy: its name, its level (0 is the generalist), and its part."""

    name: str
    level: int
    part: Mapping[str, Any]


def hierarchy(name: str, kind: str, dataset: W2SDataset, rows: IntArray) -> list[Member]:
    """Return the generalist and its specialists: 1, 2 and 4 by class, or one per source.

    Raise InputError where a specialist would know a single class, or there are no sources.
    """
    found = [Member(name, 0, {})]
    if kind == "sources":
        if dataset.sources is None:
            raise InputError(
                f"teacher {name!r}: specialists by source require sources; name their column as "
                "source"
            )
        own = sorted({str(source) for source in dataset.sources[rows]})
        if len(own) < 2:
            raise InputError(
                f"teacher {name!r}: specialists by source require gold rows of two sources or "
                f"more; there is only {listing(own)}"
            )
        return found + [Member(f"{name}/{s}", 1, {"source": (s,)}) for s in own]
    names = dataset.class_names
    parts = [names]
    for level in range(1, LEVELS[kind] + 1):
        parts = [half for part in parts for half in _halves(part)]
        if len(names) < 2 * len(parts):
            raise InputError(
                f"teacher {name!r}: {len(parts)} specialists of {len(names)} classes would know a "
                f"single class each: {kind} require {2 * len(parts)} classes or more, and sources "
                "are another choice"
            )
        found += [
            Member(f"{name}/{number}of{len(parts)}", level, {"classes": part})
            for number, part in enumerate(parts, start=1)
        ]
    return found


def _halves(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide names in the middle; the first half has one more of an odd number."""
    middle = (len(names) + 1) // 2
    return names[:middle], names[middle:]
