"""Groups and sources: shares, accuracies, overlap, duplicates and leakage of each."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from w2s_data.compute.base import Engine
from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.groups.association import associate
from w2s_data.groups.base import BaseGroupAnalyzer
from w2s_data.groups.discovery import METHODS, discover_groups
from w2s_data.groups.group_table import describe_groups
from w2s_data.groups.inputs import Rows, check_index, check_rows
from w2s_data.groups.point_table import describe_points
from w2s_data.groups.reading import association_warnings, group_reading
from w2s_data.neighbors.index import NeighborIndex
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.utils.intervals import estimate_records
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import AnyArray, IntArray
from w2s_data.utils.validation import (
    between,
    check_generator,
    check_parameters,
    one_of,
    share,
    whole,
)

RECALL = 0.9  # of the search, below which a warning says that neighbours are not all the nearest
MINORITY = 0.5  # part of an even share; groups significantly below it are minorities


class GroupAnalyzer(BaseGroupAnalyzer):
    r"""Describe groups and sources: shares, accuracies, overlap, duplicates, neighbours.

    Groups are given or discovered inside the classes of the pseudo-labels:

    - ``"gaps"``: directions along which a class splits into two, from over-clustering by k-means
      and Fisher's discriminant. The separation :math:`(m_1-m_0)/\sqrt{(s_0^2+s_1^2)/2}`
      of the two parts, on points that the direction was not learned from, must exceed
      :math:`2\sqrt3` (values without any gap) and half of that of the clearest split of the class.
      No part is smaller than 2 % of the points that are split, or than 10. Groups of two classes
      that lie in the same direction from the mean of their class are one group.
    - ``"mixture"``: two Gaussians with full covariances across the classes, if mixtures learned on
      two halves of the points agree (adjusted Rand index at least .8). For groups that scale
      features instead of shifting them.
    - ``"errors"``: fine clusters of each class by spherical k-means, merged while that shortens
      the description of the weak model's errors; needs gold labels of some rows.
    - ``"auto"``: gaps, and where no class has any, a mixture; else all points are one group.

    Parameters
    ----------
    n_groups : "auto" or int
        Groups to discover in each class; "auto" lets the criterion of the method decide.
    n_neighbors : int
        Neighbours from which agreement, purity and near-duplicates are determined.
    duplicate_threshold : "auto" or float in (-1, 1]
        Cosine from which two points are near-duplicates. "auto" takes those that are ten times
        nearer than nearest neighbours usually are, in 1 - cosine, and have a cosine of .95 at
        least, since encoders differ in the cosines of neighbours.
    discovery : {"auto", "gaps", "mixture", "errors"}
        How groups are discovered where none are given.
    level : float
        Coverage of all intervals.
    device : str
        As for `NeighborIndex`.
    random_state : int, Generator or None
        Controls discovery, search and bootstrap.

    Attributes
    ----------
    groups_ : DataFrame, one row per group
        `n`, `n_labelled`, `n_pool`, `n_scored`, `n_gold`; `eta_labelled` and `eta_pool` (share of
        the group in the split), `overlap_density`, `weak_confidence`, `weak_accuracy`,
        `student_accuracy`, `calibration_error` (expected, of the weak model, 0 is best; on the
        high side for few rows), `largest_class_share`, `purity` (share of the neighbours with the
        same pseudo-label), all in [0, 1] with `_low` and `_high`; `classes_from` ("gold" where all
        rows have a gold label, else "pseudo"), `largest_class`, `class_balance` (entropy over its
        maximum; 1 is balanced); `n_duplicates`, `n_leaking` (points with a near-duplicate, and
        with one in another split); `nearest_group`, `nearest_cosine`; `unknown` (which numbers
        are unknown, and why). NaN is unknown.
    sources_ : DataFrame or None
        The same for each source.
    points_ : DataFrame (N rows)
        `group`; `local_overlap_density` (among the neighbours); `agreement` (share of the
        neighbours with the same pseudo-label: a reliability, 1 is best); `distance_to_labelled`
        (1 - cosine, in [0, 2], to the nearest labelled row other than itself; of an index that is
        not exact, to the first among the neighbours that it finds); `duplicate_of` (first row of
        which it is a near-duplicate, or -1), `has_duplicate`, `leaks`.
    duplicates_ : DataFrame
        Pairs of near-duplicates, `i` < `j` with their cosine `similarity`, the most similar first.
        They come from the `n_neighbors` nearest of each point, so that not every pair is listed
        where a point has more copies than that.
    similarity_ : DataFrame (G, G)
        Cosines of the groups' mean directions.
    association_ : DataFrame
        Between group and label in the labelled set (gold), and in the pool (gold, where known, and
        pseudo): `cramers_v` and `nmi` in [0, 1], corrected for chance, with intervals; `reason`
        where they are undefined.
    minority_ : list
        Groups whose share in the labelled set or the pool is significantly (by its interval) below
        half of an even share.
    warnings_ : list of str
        Association of group and label that differs between labelled set and pool; leakage.
    reading_ : str
        Groups, minorities and weak spots of the teacher in one or two sentences.
    duplicate_threshold_ : float
        The cosine used.
    group_ : array (N,)
        Name of each point's group.
    index_ : NeighborIndex
    discovery_ : str
        Origin of the groups: "given", "gaps", "mixture", "errors" or "none".

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> label, bright = rng.integers(2, size=1000), rng.random(1000) < 0.2
    >>> features = rng.normal(size=(1000, 4)) + np.outer(label, [3, 0, 0, 0])
    >>> features[:, 3] += 9 * bright
    >>> proba = np.column_stack([1 - label, label]) * 0.8 + 0.1
    >>> splits = np.repeat(["labelled", "pool"], 500)
    >>> analyzer = GroupAnalyzer(random_state=0)
    >>> analyzer = analyzer.fit(features, proba, labels=label, splits=splits)
    >>> analyzer.groups_[["n", "eta_labelled", "eta_pool", "weak_accuracy"]]
               n  eta_labelled  eta_pool  weak_accuracy
    group
    group 0  791         0.806     0.776            1.0
    group 1  209         0.194     0.224            1.0
    """

    def fit(
        self,
        strong_features: Any,
        weak_proba: AnyArray,
        *,
        groups: ArrayLike | None = None,
        sources: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        splits: ArrayLike | None = None,
        regions: ArrayLike | None = None,
        detector: OverlapDetector | None = None,
        student_proba: AnyArray | None = None,
        index: NeighborIndex | None = None,
        engine: Engine | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Describe groups, sources and points.

        Parameters
        ----------
        strong_features : array (N, D), memory map or FeatureStore
            Rows of all splits, read block by block; no row may be all zero.
        weak_proba : array (N, C), or (N, M, C) for M weak models, which are averaged
            From cross-fitting on labelled rows, or the accuracies flatter the teacher.
        groups, sources : array (N,), optional
            Names; groups are discovered where they are not given.
        labels : int array (N,), optional
            Gold classes, -1 where unknown.
        splits : array (N,), optional
            "labelled", "pool", "validation" or "test"; by default all rows are the pool.
        regions : int array (N,), optional
            Values of `Region`, -1 where unknown.
        detector : OverlapDetector, optional
            Fitted on the rows of the pool, in order; replaces `regions`, with intervals that cover
            the uncertainty of its thresholds too.
        student_proba : array (N, C), optional
            Rows of NaN are unknown.
        index : NeighborIndex, optional
            Fitted on these features with metric "cosine"; by default one is built.
        engine : Engine, optional
            Runs the search for neighbours; by default in this process.
        progress : bool, optional
            Draw a progress bar of that search; by default where standard error is a terminal.

        Raises
        ------
        InputError
            Row counts that disagree, missing names (rows named), more groups than points, labels
            or splits that do not exist, an index of other features.
        FeatureError
            NaN, infinite or zero rows, which are named.
        ProbabilityError
            Rows that are not distributions, which are named.
        """
        check_parameters(
            self,
            {
                "n_groups": one_of("auto") | whole(1),
                "n_neighbors": whole(1),
                "duplicate_threshold": one_of("auto") | between(-1, 1, closed="right"),
                "discovery": one_of(*METHODS),
                "level": share,
            },
        )
        rows = check_rows(
            strong_features,
            weak_proba,
            groups=groups,
            sources=sources,
            labels=labels,
            splits=splits,
            regions=regions,
            detector=detector,
            student_proba=student_proba,
        )
        if self.n_groups != "auto" and self.n_groups > len(rows.pseudo):
            raise InputError(
                f"n_groups is {self.n_groups}, more than the {len(rows.pseudo)} points"
            )
        rng = check_generator(self.random_state)
        # One generator per part, so that giving groups or sources does not move the other numbers.
        seeds = [np.random.default_rng(rng.integers(2**63)) for _ in range(4)]
        self.index_ = check_index(index, rows.features, self.device)
        group_names, codes, spans = self._grouped(rows, seeds[0])
        self.points_, self.duplicate_threshold_, self.duplicates_ = describe_points(
            self.index_,
            pseudo=rows.pseudo,
            splits=rows.splits,
            regions=rows.regions,
            n_neighbors=self.n_neighbors,
            duplicate_threshold=self.duplicate_threshold,
            engine=engine,
            progress=progress,
        )
        describe = functools.partial(
            describe_groups, rows, self.points_, detector=detector, level=self.level
        )
        # Sources are described by the same function: they are groups that may overlap the others.
        self.groups_, self.similarity_ = describe(codes, group_names, rng=seeds[1])
        self.sources_ = None
        if rows.sources is not None:
            source_names, source_codes = rows.sources
            self.sources_ = describe(source_codes, source_names, rng=seeds[2])[0]
            self.sources_.index.name = "source"
        self.group_ = np.asarray(pd.Series(group_names, dtype=object))[codes]
        self.points_.insert(0, "group", self.group_)
        self._conclude(rows, codes, spans, seeds[3])
        return self

    def _grouped(self, rows: Rows, rng: np.random.Generator) -> tuple[list[Any], IntArray, bool]:
        """Return names, codes, and whether groups can span classes."""
        if rows.groups is not None:
            self.discovery_, self._origin = "given", f"{len(rows.groups[0])} groups were given"
            return *rows.groups, True
        discovery = discover_groups(
            rows.features,
            rows.pseudo,
            rows.gold,
            method=self.discovery,
            n_groups=None if self.n_groups == "auto" else int(self.n_groups),
            device=self.device,
            rng=rng,
        )
        self.discovery_, self._origin = discovery.method, discovery.reading
        names = [f"group {number}" for number in range(int(discovery.codes.max()) + 1)]
        return names, discovery.codes, discovery.spans

    def _conclude(self, rows: Rows, codes: IntArray, spans: bool, rng: np.random.Generator) -> None:
        """Set association, minorities, warnings and the reading."""
        table = self.groups_
        if len(table) == 1:
            warnings.warn(
                "all points are in one group: there is nothing to compare it with",
                DegenerateDataWarning,
                stacklevel=3,
            )
        parts = {}
        for split, kind, labels in (
            ("labelled", "gold", rows.gold),
            ("pool", "gold", rows.gold),
            ("pool", "pseudo", rows.pseudo),
        ):
            inside = (rows.splits == split) & (labels >= 0)
            parts[split, kind] = associate(codes[inside], labels[inside], self.level, rng)
        self.association_ = pd.DataFrame(
            [{"split": split, "labels": kind, **p.to_dict()} for (split, kind), p in parts.items()]
        )
        # By the upper limit, so that a small group is not called a minority by chance.
        even = MINORITY / len(table)
        few = (table["eta_labelled_high"] < even) | (table["eta_pool_high"] < even)
        self.minority_ = table.index[few].tolist()
        discovered = self.discovery_ != "given"
        self.warnings_ = (
            association_warnings(parts, self.level, discovered=discovered) if spans else []
        )
        if not spans:  # then group determines label by construction, and V would be 1
            self.association_["reason"] = "groups were discovered inside classes"
            for column in self.association_.columns.difference(["split", "labels", "n", "reason"]):
                self.association_[column] = math.nan
        if self.index_.recall_ < RECALL:
            self.warnings_.append(
                f"the search returns {self.index_.recall_:.0%} of the nearest neighbours, so that "
                "purity and agreement are about near points, not always the nearest"
            )
        leaking = int(self.points_["leaks"].sum())
        if leaking:
            self.warnings_.append(
                f"{leaking:,} points leak: each has a near-duplicate (cosine "
                f"{self.duplicate_threshold_:.4g} or more) in another split, which need not be an "
                "exact copy"
            )
        self.reading_ = group_reading(table, self._origin, self.minority_, self.warnings_)

    def to_dict(self) -> dict[str, Any]:
        """Return tables, association, warnings and the reading as plain JSON values."""
        index = {
            "kind": self.index_.kind_,
            "fingerprint": self.index_.fingerprint_,
            "recall": self.index_.recall_,
            "bits": self.index_.bits_,
        }
        own = {"association": estimate_records(self.association_, self.level), "index": index}
        result: dict[str, Any] = jsonable(self.summary() | own)
        return result
