"""`ShiftDetector`: whether, how and where sets of rows differ from the rows with labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.errors import FeatureError, InputError, listing, unknown
from w2s_data.features.matrix import PIECE_BYTES, row_blocks, sampled
from w2s_data.shift.classifier import Sides
from w2s_data.shift.inputs import (
    FEWEST_ROWS,
    VIEWS,
    Finite,
    check_sets,
    check_views,
    names_of,
)
from w2s_data.shift.measures import auc_estimate, holm, significance, unexplained_share
from w2s_data.shift.ratio import DensityRatio, clipped_weights, held_out_ratio, held_out_scores
from w2s_data.shift.results import Comparison, Shift
from w2s_data.shift.structure import MOST_FITTED, Placed, fit_structure
from w2s_data.shift.typical import nearest_rows, typical_rows
from w2s_data.utils.constants import LEVEL
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.threads import for_each, one_thread, serial
from w2s_data.utils.typing import FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters, share, whole
from w2s_data.utils.weighting import effective_size


class ShiftDetector(BaseEstimator):  # type: ignore[misc]
    r"""Compare sets of rows (pool, test, sources) with those that have labels.

    A domain classifier that is held out by folds tells a set from the reference, in each view:
    strong features, weak features, and predictions, which differ where the classes' shares do. It
    joins two linear discriminants with the shares of both sides in cells of k-means at six scales,
    which know nothing of sides: a tenth of foreign rows moves the AUC to .55 at most, but fills a
    cell. An alarm requires all of

    .. math::
        p < .01 \quad\text{and}\quad (AUC \ge .6 \ \text{or}\ share \ge .05)

    with p by permutation of the sides, corrected for all pairs of set and view (Holm), and the
    share of rows of one side that the other cannot explain (see `unexplained_share`).

    Parameters
    ----------
    significance : float
        Chance in (0, 1) of any false alarm.
    min_auc, min_share : float
        A significant difference below both is too small for an alarm.
    n_permutations : int
    max_rows : int
        A random sample of so many rows stands for a larger set.
    level : float
        Coverage of the intervals.
    random_state : int, Generator or None
        Controls samples, folds, cells and permutations.

    Attributes
    ----------
    alarm_ : bool
        Whether any set is shifted.
    comparisons_ : tuple of Comparison
        One for each set and view, with AUC, share, p-value.
    shifts_ : dict of Shift
        One for each set: alarm, share, effective size, typical rows.
    weights_ : dict of array (n,)
        Density ratio of a set to the reference, cut to 10: weights that make estimates on
        reference rows hold for the set, as far as they cover it. One for each reference row, in
        the order in which these were given; of a mask in ascending order.
    notes_ : tuple of str
        Sets that were too small to be compared.

    Notes
    -----
    It sees features and predictions. A change of the labels of the same items (P(y|x)) is visible
    only in gold labels of the set. Intervals are for these rows as a sample, given the classifier.

    References
    ----------
    Rabanser, Günnemann, Lipton, *Failing loudly*, NeurIPS 2019 (domain classifiers and label
    shift); Lopez-Paz, Oquab, *Revisiting classifier two-sample tests*, ICLR 2017.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> strong = rng.normal(size=(1200, 8))
    >>> strong[1100:] += 4  # a tenth of the pool comes from elsewhere
    >>> labelled, pool = np.arange(200), np.arange(200, 1200)
    >>> detector = ShiftDetector(random_state=0).fit(
    ...     strong, reference=labelled, others={"pool": pool}
    ... )
    >>> detector.alarm_, round(detector.shifts_["pool"].share.value, 1)
    (True, 0.1)
    >>> ShiftDetector(random_state=0).fit(
    ...     strong, reference=labelled, others={"pool": pool[:900]}
    ... ).alarm_
    False
    """

    def __init__(
        self,
        *,
        significance: float = 0.01,
        min_auc: float = 0.6,
        min_share: float = 0.05,
        n_permutations: int = 499,
        max_rows: int = 2_000,
        level: float = LEVEL,
        random_state: RandomState = None,
    ) -> None:
        self.significance = significance
        self.min_auc = min_auc
        self.min_share = min_share
        self.n_permutations = n_permutations
        self.max_rows = max_rows
        self.level = level
        self.random_state = random_state

    def fit(
        self,
        strong_features: Any,
        weak_features: Any = None,
        *,
        reference: Any,
        others: Any,
        predictions: Any = None,
        views_of: Mapping[str, Collection[str]] | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Compare each set with the reference rows.

        Parameters
        ----------
        strong_features, weak_features : array (N, D_s), (N, D_w), memory map or FeatureStore
            Features of all rows; samples of the sets are read. Either may be None.
        reference : int array or bool array (N,)
            Rows with labels, 20 or more; a repeated row counts once.
        others : mapping of name to rows
            Sets to compare, which may share rows; one with fewer than 20 rows is left out, with a
            note. Rows of a single set may be given without a name. Results have names as strings.
        predictions : array (N, P), optional
            Such as log-probabilities, of models that learned from no compared row, or held them
            out.
        views_of : mapping of set name to views, optional
            Those of "strong", "weak", "predictions" in which a set is compared, by default all
            that are given. Features of an encoder that learned from the reference, but not from a
            set, differ where nothing is shifted.
        progress : bool, optional
            Draw a progress bar; by default where standard error is a terminal.

        Raises
        ------
        InputError
            Too few reference rows, rows that are not there, row counts that disagree.
        FeatureError
            NaN or infinite features (rows named).
        """
        self._check_parameters()
        views = check_views(strong_features, weak_features, predictions)
        n_rows = next(iter(views.values())).shape[0]
        given, sets, notes = check_sets(reference, others, n_rows)
        labelled, place = np.unique(given, return_inverse=True)
        rng = check_generator(self.random_state)
        sample = sampled(labelled, self.max_rows, rng)
        samples = {name: sampled(rows, self.max_rows, rng) for name, rows in sets.items()}
        union = np.unique(np.concatenate([sample, *samples.values()]))
        fitted_on = sampled(union, MOST_FITTED, rng)
        with serial():  # else last bits depend on the threads
            self.structures_ = {
                name: fit_structure(view.take(fitted_on), rng) for name, view in views.items()
            }
        placed = {name: self.structures_[name].place(view, union) for name, view in views.items()}
        if views_of is not None:
            views_of = {str(name): wanted for name, wanted in views_of.items()}
        compared = {name: names_of(name, views, views_of) for name in sets}
        pairs = []
        n_pairs = sum(map(len, compared.values()))
        with progress_bar("shift", n_pairs, "pairs", progress) as advance:
            for name, rows in samples.items():
                at = np.searchsorted(union, np.concatenate([sample, rows]))
                sides = Sides.of(len(sample), len(rows), rng)
                both = {view: placed[view].take(at) for view in compared[name]}
                pairs.append(self._compare(name, both, sides, rng))
                advance(len(both))
        self.notes_ = tuple(notes)
        self.ratios_ = {pair.name: pair.ratio for pair in pairs}
        self.comparisons_ = self._corrected([c for pair in pairs for c in pair.comparisons])
        self.alarm_ = any(comparison.alarm for comparison in self.comparisons_)
        weights = self._weights(pairs, views, labelled, sample)
        self.shifts_ = {p.name: self._shift(p, samples[p.name], weights[p.name]) for p in pairs}
        self.weights_ = {name: own[place] for name, own in weights.items()}
        return self

    def log_ratio(
        self, name: str, strong_features: Any, weak_features: Any = None, *, predictions: Any = None
    ) -> FloatArray:
        """Return the log density ratio (n,) of a set to the reference at any rows.

        Above 0 a row is more like the set, below 0 more like the reference. Read block by block.
        """
        check_is_fitted(self, "ratios_")
        name = str(name)  # as in `fit`, where a set may be named by a number
        if name not in self.ratios_:
            raise InputError(unknown("set", name, list(self.ratios_)))
        views = check_views(strong_features, weak_features, predictions)
        wanted = [c.view for c in self.comparisons_ if c.name == name]
        if lacking := [view for view in wanted if view not in views]:
            raise InputError(f"{name!r} was compared by {listing(wanted)}; {listing(lacking)} lack")
        for view in wanted:
            n_columns, n_fitted = views[view].shape[1], len(self.structures_[view].mean)
            if n_columns != n_fitted:
                raise FeatureError(
                    f"{VIEWS[view]} have {n_columns} columns; the detector was fitted on {n_fitted}"
                )
        n_rows = next(iter(views.values())).shape[0]
        return self._log_ratios([name], views, np.arange(n_rows))[name]

    def to_dict(self) -> dict[str, Any]:
        """Return alarm, comparisons and shifts as plain types."""
        check_is_fitted(self, "ratios_")
        return {
            "alarm": self.alarm_,
            "comparisons": [comparison.to_dict() for comparison in self.comparisons_],
            "shifts": [shift.to_dict() for shift in self.shifts_.values()],
            "notes": list(self.notes_),
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one row per comparison."""
        check_is_fitted(self, "ratios_")
        return pd.DataFrame([comparison.row() for comparison in self.comparisons_])

    def _compare(
        self, name: str, placed: dict[str, Placed], sides: Sides, rng: np.random.Generator
    ) -> _Pair:
        """Compare two sides in each view; p-values are not corrected yet."""
        comparisons, scores = [], {}
        for view, rows in placed.items():
            p_value = significance(rows, sides, self.n_permutations, rng)
            own = scores[view] = held_out_scores(rows, sides)
            joined = held_out_ratio(own, sides)
            candidates = np.vstack([joined, own.T])
            share, reference_share = (
                unexplained_share(candidates, sides, self.level, of_other=of_other)
                for of_other in (True, False)
            )
            auc = auc_estimate(joined, sides.other, self.level)
            sizes = int((~sides.other).sum()), int(sides.other.sum())
            comparisons.append(
                Comparison(name, view, *sizes, auc, p_value, share, reference_share, alarm=False)
            )
        with one_thread():
            ratio = DensityRatio().fit(list(placed.values()), list(scores.values()), sides)
        main = next(iter(placed.values())).take(np.flatnonzero(sides.other))
        seed = int(rng.integers(2**31))
        return _Pair(name, tuple(comparisons), ratio, ratio.held_out_, sides, main, seed)

    def _corrected(self, comparisons: list[Comparison]) -> tuple[Comparison, ...]:
        """Correct p-values for their number, and raise the alarms."""
        corrected = holm(np.array([comparison.p_value for comparison in comparisons]))
        return tuple(
            replace(c, p_value=float(p), alarm=bool(p < self.significance and self._is_large(c)))
            for c, p in zip(comparisons, corrected, strict=True)
        )

    def _is_large(self, comparison: Comparison) -> bool:
        share = max(comparison.share.value, comparison.reference_share.value)
        return comparison.auc.value >= self.min_auc or share >= self.min_share

    def _weights(
        self, pairs: list[_Pair], views: dict[str, Finite], labelled: IntArray, sample: IntArray
    ) -> dict[str, FloatArray]:
        """Return clipped density ratios of all reference rows; compared ones are held out."""
        known = np.isin(labelled, sample)
        others = self._log_ratios([pair.name for pair in pairs], views, labelled[~known])
        weights = {}
        for pair in pairs:
            log_ratio = np.empty(len(labelled))
            log_ratio[known] = pair.held_out[~pair.sides.other]
            log_ratio[~known] = others[pair.name]
            weights[pair.name] = clipped_weights(log_ratio)
        return weights

    def _log_ratios(
        self, names: list[str], views: dict[str, Finite], rows: IntArray
    ) -> dict[str, FloatArray]:
        """Return the log density ratio (n,) of each set at some rows, which are read once."""
        compared = {name: [c.view for c in self.comparisons_ if c.name == name] for name in names}
        needed = {view for own in compared.values() for view in own}
        wanted = {view: features for view, features in views.items() if view in needed}
        found: dict[str, FloatArray] = {name: np.empty(len(rows)) for name in names}

        def fill(part: slice) -> None:
            placed = {
                view: self.structures_[view].place_block(features.take(rows[part]))
                for view, features in wanted.items()
            }
            for name, own in compared.items():
                found[name][part] = self.ratios_[name].log_ratio([placed[view] for view in own])

        n_columns = sum(features.shape[1] for features in wanted.values())
        for_each(fill, row_blocks((len(rows), n_columns), PIECE_BYTES))
        return found

    def _shift(self, pair: _Pair, rows: IntArray, weights: FloatArray) -> Shift:
        own = [c for c in self.comparisons_ if c.name == pair.name]
        share = max((c.share for c in own), key=float)
        of_other = pair.held_out[pair.sides.other]
        typical = typical_rows(pair.main, of_other, float(share), pair.seed)
        return Shift(
            pair.name,
            any(c.alarm for c in own),
            share,
            effective_size(weights),
            tuple(rows[typical].tolist()),
            tuple(rows[nearest_rows(of_other)].tolist()),
        )

    def _check_parameters(self) -> None:
        check_parameters(
            self,
            {
                "significance": share,
                "min_auc": share,
                "min_share": share,
                "n_permutations": whole(99),
                "max_rows": whole(FEWEST_ROWS),
                "level": share,
            },
        )


@dataclass(frozen=True, eq=False)
class _Pair:
    """A set beside the reference, before all p-values are known."""

    name: str
    comparisons: tuple[Comparison, ...]
    ratio: DensityRatio
    held_out: FloatArray  # log ratio (n,) of the compared rows, the reference first
    sides: Sides
    main: Placed  # rows of the set in the first view
    seed: int
