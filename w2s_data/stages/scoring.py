"""Scoring: the weak teacher's labels, and the region of every item."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.base import clone

from w2s_data.compute.context import Compute
from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.load import W2SDataset
from w2s_data.data.regions import Region
from w2s_data.data.weak import proba_of, proba_table
from w2s_data.errors import DegenerateDataWarning, InputError, SplitError
from w2s_data.features.matrix import FeatureMatrix, FeatureView, sampled
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.overlap.summary import summarize_overlap
from w2s_data.posterior import LabelPosterior
from w2s_data.probes.linear import LinearProbe, cross_fit_proba
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import load_features, require_role, required
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import (
    OVERLAP,
    POSTERIOR,
    POSTERIOR_SUMMARY,
    RELIABILITY,
    SCORE,
    SCORES,
    SHIFT_SUMMARY,
)
from w2s_data.stages.posterior import MOST_GOLD, Taught, fit_posterior
from w2s_data.stages.reliability import summarize_reliability
from w2s_data.stages.room import check_room
from w2s_data.stages.settings import ScoreSettings
from w2s_data.stages.shifting import WEIGHT, find_shift, learned_roles, shift_detector
from w2s_data.stages.warnings import data_warnings
from w2s_data.utils.progress import Advance, progress
from w2s_data.utils.stage import WEAK_PROBA, StageResult
from w2s_data.utils.typing import FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator
from w2s_data.utils.votes import mean_label, votes
from w2s_data.utils.warnings import collect_warnings

TEACHER_FOLDS = 5  # the usual number: more folds change cross-fitted probabilities little
MOST_TYPED = 1000  # gold rows beside the 2,000 points of the pool that a mixture is fitted to
PROBE_COPIES = 4  # of its rows in float64, that fitting a probe makes


@writes
def score_stage(
    run: Run, settings: ScoreSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Train the teacher unless weak labels were given, detect overlap, write the scores.

    The detector is fitted on the pool, the items that would get pseudo-labels; its thresholds then
    divide the items of the other splits. Where the labelled split has gold labels of two classes or
    more, the label posterior joins them with the weak labels, see `fit_posterior`. Pool, tests and
    new sources are compared with the labelled rows, see `find_shift`.

    Returns
    -------
    StageResult
        The content of `overlap.json`, and under "posterior" that of `posterior.json`.

    Raises
    ------
    SplitError
        If the pool is empty, or the labelled split cannot train a teacher.
    NotApplicableError
        If features of a needed role are missing.
    """
    settings, compute = settings or ScoreSettings(), compute or Compute(seed=run.seed)
    dataset = run.dataset()
    features = load_features(run, compute)
    # Their parameters are recorded in full: a new default makes the stage run again.
    make = OverlapDetector.reference if settings.reference else OverlapDetector
    detector = make(device=compute.device, random_state=compute.seed)
    if dataset.is_paired:
        # Each pair's order is drawn, and a mixture would find other types in another order.
        detector.set_params(quantify="count")
    probe = LinearProbe(l2=settings.teacher_l2, device=compute.device, random_state=compute.seed)
    teacher = probe_for(dataset, probe)
    posterior = LabelPosterior(
        paired=dataset.is_paired, device=compute.device, random_state=compute.seed
    )
    recorded = {
        "detector": detector.get_params(),
        "posterior": posterior.get_params() | {"max_gold": MOST_GOLD},
        "teacher": None if dataset.weak_proba is not None else teacher.get_params(),
        "shift": shift_detector(compute).get_params(),
    }
    if (earlier := run.earlier(SCORE, recorded)) is not None:
        return earlier
    check_room(SCORE, dataset, compute.memory)
    check_score(settings, Known(dataset, frozenset(features)))
    strong = required(features, "strong")
    with run.stage(SCORE, recorded) as stage:
        with collect_warnings(DegenerateDataWarning) as notes:
            proba, taught = dataset.weak_proba, None
            if proba is None:
                weak = required(features, "weak")
                proba, taught = teach(dataset, weak, teacher, compute.memory)
                stage.write_table(WEAK_PROBA, proba_table(dataset, proba, ("teacher",)))
            # Regions are about the weak labels that a student would get: those of the ensemble.
            averaged = mean_label(proba)
            scores = _detect(dataset, strong, averaged, detector, compute)
        weak_side = proba if taught is None else taught
        shift = find_shift(dataset, features, weak_side, compute, learned_roles(run))
        joined = fit_posterior(
            *(posterior, dataset, strong, proba, compute, taught),
            gold_weight=shift.weights,
            drawn=run.labelling().drawn,
        )
        shift = shift.with_labels(joined.label_shift, dataset)
        summary = summarize_overlap(detector, dataset, scores, notes)
        summary["data_warnings"] = data_warnings(dataset, averaged)
        columns = {"trust": joined.trust, WEIGHT: shift.column(dataset)}
        stage.write_table(SCORES, scores.assign(**columns))
        if joined.proba is not None:
            stage.write_table(POSTERIOR, joined.table(dataset))
        stage.write_summary(POSTERIOR_SUMMARY, joined.summary)
        if (teachers := summarize_reliability(dataset, proba, joined, compute.seed)) is not None:
            stage.write_summary(RELIABILITY, teachers)
        stage.write_summary(SHIFT_SUMMARY, shift.summary)
        stage.write_summary(OVERLAP, summary)
    return StageResult(run.read(SCORE))


def gold_of_types(
    dataset: W2SDataset, strong: FeatureMatrix, proba: FloatArray, detector: OverlapDetector
) -> tuple[FloatArray, FloatArray, IntArray] | None:
    """Return gold rows for the detector's mixture; the teacher's own are cross-fitted already."""
    rows = gold_rows(dataset).consistent
    if detector.quantify == "count" or not len(rows):
        return None
    rows = np.sort(sampled(rows, MOST_TYPED, check_generator(detector.random_state)))
    return strong.take(rows), proba[rows], dataset.labels[rows]


def check_score(settings: ScoreSettings, known: Known) -> None:  # noqa: ARG001
    """Raise unless there is a pool to score, and features and labels to train the teacher."""
    dataset = known.dataset
    if dataset is None:
        return
    require_role(known.roles, "strong")
    if not len(dataset.rows("pool")):
        raise SplitError(
            "the pool is empty, so there is nothing to score: call the split of rows that the "
            "teacher labels 'pool' or 'unlabelled', or leave out split to have splits assigned"
        )
    if dataset.weak_proba is None:
        require_role(known.roles, "weak")
        dataset.check_teacher_data()


def teach(
    dataset: W2SDataset,
    weak_features: FeatureMatrix,
    teacher: LinearProbe,
    memory: MemoryLimit | None = None,
) -> tuple[FloatArray, Taught]:
    """Train a teacher on the labelled split; return its weak probabilities (N, C), and itself.

    Its probabilities on the labelled items themselves are cross-fitted.
    """
    taught, train = train_teacher(dataset, weak_features, teacher, memory)
    proba = taught.predict(weak_features)
    # A teacher is too sure of items that it was trained on, which would hide hard ones.
    cross_fitted = cross_fit_proba(
        taught.probe,
        *(train, taught.codes),
        folds=TEACHER_FOLDS,
        random_state=taught.probe.random_state,
    )
    proba[taught.rows] = taught.spread(cross_fitted)
    return proba, taught


def train_teacher(
    dataset: W2SDataset,
    weak_features: FeatureMatrix,
    teacher: LinearProbe,
    memory: MemoryLimit | None = None,
) -> tuple[Taught, FloatArray]:
    """Train a teacher on the labelled split; return it, and the features that it learned from.

    On pairs it has no intercept, see `probe_for`. Where memory does not hold the labelled items it
    is trained on a random sample of them, with a warning; and without rows that contradict each
    other, likewise.
    """
    labelled = _teaching_rows(dataset)
    known, codes = np.unique(dataset.labels[labelled], return_inverse=True)
    rows = _fitting_rows(labelled, weak_features.shape[1], memory, teacher.random_state)
    codes = codes[np.searchsorted(labelled, rows)]
    train = weak_features.take(rows)
    fitted = probe_for(dataset, teacher).fit(train, codes)
    n_classes = len(dataset.class_names)
    return Taught(weak_features, fitted, rows, codes, known, n_classes), train


def _teaching_rows(dataset: W2SDataset) -> IntArray:
    """Return the gold rows that a teacher learns from."""
    dataset.check_teacher_data()
    gold = gold_rows(dataset)
    for note in gold.notes(dataset, "the teacher"):
        warnings.warn(note, DegenerateDataWarning, stacklevel=3)
    rows = gold.consistent
    if len(np.unique(dataset.labels[rows])) < 2:
        raise SplitError(
            f"the labelled split holds fewer than two classes without the "
            f"{len(gold.contradicting):,} gold rows that contradict equal items, and the teacher "
            "needs two: label each item once"
        )
    return rows


def teacher_of(
    run: Run, dataset: W2SDataset, weak_features: FeatureMatrix, memory: MemoryLimit
) -> Taught:
    """Train the teacher of a scored run again, from the settings that its scores recorded."""
    recorded = run.manifest["stages"][SCORE.name]["settings"]
    probe = probe_for(dataset, LinearProbe(**recorded["teacher"]))
    return train_teacher(dataset, weak_features, probe, memory)[0]


def _fitting_rows(
    labelled: IntArray, n_columns: int, memory: MemoryLimit | None, random_state: RandomState
) -> IntArray:
    limit = memory or MemoryLimit.parse(None)
    chosen = sampled(labelled, limit.rows(n_columns, PROBE_COPIES), check_generator(random_state))
    if len(chosen) < len(labelled):
        warnings.warn(
            f"the teacher is trained on a random {len(chosen):,} of the {len(labelled):,} labelled "
            "items, which fit into memory",
            DegenerateDataWarning,
            stacklevel=3,
        )
    return chosen


def probe_for(dataset: W2SDataset, probe: LinearProbe) -> LinearProbe:
    """Return the probe; for pairs one without intercept, so that swapped items swap probabilities.

    Raises
    ------
    InputError
        If it is a ridge probe on pairs, whose labels 0 and 1 have no symmetry without intercept.
    """
    if not dataset.is_paired:
        return probe
    if probe.loss != "logistic":
        raise InputError(f"a probe on pairs needs loss='logistic'; got {probe.loss!r}")
    ranker: LinearProbe = clone(probe).set_params(fit_intercept=False)
    return ranker


def weak_proba_by_model(run: Run, dataset: W2SDataset) -> FloatArray:
    """Return weak probabilities (N, C) of the run, or (N, M, C) of several weak models."""
    stacked = dataset.weak_proba  # they came with the data, and are not read a second time
    if stacked is None:
        stacked = proba_of(run.read_table(WEAK_PROBA, per_item=True), dataset.class_names)
    return stacked[:, 0] if stacked.ndim == 3 and stacked.shape[1] == 1 else stacked


def weak_proba_of(run: Run, dataset: W2SDataset) -> FloatArray:
    """Return weak probabilities (N, C) of the run, averaged over weak models."""
    return mean_label(weak_proba_by_model(run, dataset))


def _first_pass(advance: Advance, total: int) -> Callable[[int], None]:
    """Return a function that counts each row once: passes after the alignment are short."""
    done = 0

    def count(rows: int) -> None:
        nonlocal done
        new = min(rows, total - done)
        done += new
        if new:
            advance(new)

    return count


def _detect(
    dataset: W2SDataset,
    strong: FeatureMatrix,
    proba: FloatArray,
    detector: OverlapDetector,
    compute: Compute,
) -> pd.DataFrame:
    """Fit on the pool, score all items, and return `scores.parquet`."""
    with progress("score", total=len(dataset), enabled=compute.progress) as advance:
        name = "differences of the strong features" if dataset.is_paired else "strong features"
        once = _first_pass(advance, len(dataset))
        checked = FeatureView(strong, name=name, check=True, advance=once)
        detector.fit(
            *(checked, proba),
            pool=dataset.rows("pool"),
            gold=gold_of_types(dataset, strong, proba, detector),
            engine=compute.engine,
        )
    scores = detector.scores_
    kept = [name for name in ("id", "split", "source", "group") if name in dataset.table]
    weak, labels = votes(proba), dataset.labels
    right = pd.array(weak == labels, dtype="boolean")
    right[(labels < 0) | (weak < 0)] = pd.NA  # without a gold label or a vote nothing is known
    return dataset.table[kept].assign(
        region=np.array([region.label for region in Region], dtype=object)[scores.regions],
        confidence=scores.confidence,
        alignment=scores.alignment,
        weak_label=np.array([*dataset.class_names, None], dtype=object)[weak],
        weak_correct=right,
    )
