"""Scoring: the weak teacher's labels, and the region of every item."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.load import W2SDataset
from w2s_data.data.regions import Region
from w2s_data.data.weak import proba_table
from w2s_data.errors import DegenerateDataWarning, SplitError
from w2s_data.features.matrix import FeatureMatrix, FeatureView, sampled
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.overlap.summary import summarize_overlap
from w2s_data.posterior import LabelPosterior
from w2s_data.probes.linear import LinearProbe
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
from w2s_data.stages.posterior import MOST_GOLD, fit_posterior
from w2s_data.stages.reliability import summarize_reliability
from w2s_data.stages.room import check_room
from w2s_data.stages.settings import ScoreSettings
from w2s_data.stages.shifting import WEIGHT, find_shift, learned_roles, shift_detector
from w2s_data.stages.teacher_store import teacher_names
from w2s_data.stages.teaching import refresh_teachers
from w2s_data.stages.warnings import data_warnings
from w2s_data.stages.weak_labels import teach, trains_teacher, weak_labels_of
from w2s_data.teachers.probe import probe_for
from w2s_data.utils.progress import Advance, progress
from w2s_data.utils.stage import WEAK_PROBA, StageResult
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_generator
from w2s_data.utils.votes import votes
from w2s_data.utils.warnings import collect_warnings

MOST_TYPED = 1000  # gold rows beside the 2,000 points of the pool that a mixture is fitted to


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
    refresh_teachers(run, compute)
    # Their parameters are recorded in full: a new default makes the stage run again.
    make = OverlapDetector.reference if settings.reference else OverlapDetector
    detector = make(precision=settings.precision, device=compute.device, random_state=compute.seed)
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
        "teacher": teacher.get_params() if trains_teacher(run, dataset) else None,
        "shift": shift_detector(compute).get_params(),
    }
    if (earlier := run.earlier(SCORE, recorded)) is not None:
        return earlier
    check_room(SCORE, dataset, compute.memory, teachers=len(teacher_names(run)))
    teachers = not trains_teacher(run, dataset)
    check_score(settings, Known(dataset, frozenset(features), teachers))
    strong = required(features, "strong")
    with run.stage(SCORE, recorded) as stage:
        with collect_warnings(DegenerateDataWarning) as notes:
            if trains_teacher(run, dataset):
                weak = teach(dataset, required(features, "weak"), teacher, compute.memory)
                stage.write_table(WEAK_PROBA, proba_table(dataset, weak.proba, ("teacher",)))
            else:
                weak = weak_labels_of(run, dataset, compute)
            # Regions are about the weak labels that a student would get: those of the ensemble.
            averaged = weak.mean
            scores = _detect(dataset, strong, averaged, detector, compute)
        shift = find_shift(dataset, features, weak, compute, learned_roles(run))
        joined = fit_posterior(
            *(posterior, dataset, strong, weak, compute),
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
        if (reliable := summarize_reliability(dataset, weak, joined, compute.seed)) is not None:
            stage.write_summary(RELIABILITY, reliable)
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
    if not dataset.has_weak_labels and not known.teachers:
        require_role(known.roles, "weak")
        dataset.check_teacher_data()


def first_pass(advance: Advance, total: int) -> Callable[[int], None]:
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
        once = first_pass(advance, len(dataset))
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
