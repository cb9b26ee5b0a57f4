"""Scoring of values: the weak teacher's values, how sure they are, and the region of every item."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.regions import Region
from w2s_data.data.weak import values_table
from w2s_data.errors import DegenerateDataWarning, NotApplicableError, SplitError
from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import load_features, required
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import (
    OVERLAP,
    POSTERIOR,
    POSTERIOR_SUMMARY,
    SCORE,
    SCORES,
    SHIFT_SUMMARY,
)
from w2s_data.stages.label_shift import no_label_shift
from w2s_data.stages.room import check_room
from w2s_data.stages.scoring import check_score, first_pass
from w2s_data.stages.settings import ScoreSettings
from w2s_data.stages.shifting import WEIGHT, find_shift, learned_roles, shift_detector
from w2s_data.stages.values.posterior import fit_value_posterior, value_posterior
from w2s_data.stages.values.scales import find_scales, scale_warnings
from w2s_data.stages.values.summary import summarize_value_overlap
from w2s_data.stages.values.teaching import refresh_value_teachers, value_labels_of
from w2s_data.stages.values.weak import (
    ValueLabels,
    penalty_of,
    recalibrated,
    target_variance,
    train_value_teacher,
    trains_value_teacher,
    warn_without_errors,
)
from w2s_data.stages.warnings import data_warnings
from w2s_data.utils.progress import progress
from w2s_data.utils.stage import WEAK_VALUES, StageResult
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.warnings import collect_warnings

NO_SHARES = "the labels are values, which have no shares of classes"


@writes
def score_values(
    run: Run, settings: ScoreSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Train the teacher unless weak values were given, detect overlap, write the scores.

    The stages' files are those of classes; `weak_values.parquet` takes the place of weak
    probabilities, and the posterior holds a value and its standard error.

    Returns
    -------
    StageResult
        The content of `overlap.json`, and under "posterior" that of `posterior.json`.

    Raises
    ------
    SplitError
        If the pool is empty, or the labelled split cannot train a teacher.
    NotApplicableError
        If features of a needed role are missing, or too few gold rows to recalibrate.
    """
    from w2s_data.probes.ridge import RidgeProbe

    settings, compute = settings or ScoreSettings(), compute or Compute(seed=run.seed)
    dataset = run.dataset()
    features = load_features(run, compute)
    refresh_value_teachers(run, compute)
    trains = trains_value_teacher(run, dataset)
    detector = OverlapDetector(
        quantify="count",
        precision=settings.precision,
        device=compute.device,
        random_state=compute.seed,
    )
    penalty = penalty_of(settings.teacher_l2, len(gold_rows(dataset).rows))
    teacher, posterior = RidgeProbe(penalty=penalty), value_posterior(compute)
    recorded = {
        "detector": detector.get_params(),
        "posterior": posterior.get_params(),
        "teacher": teacher.get_params() if trains else None,
        "shift": shift_detector(compute).get_params(),
        "recalibrate": settings.recalibrate,
    }
    if (earlier := run.earlier(SCORE, recorded)) is not None:
        return earlier
    check_room(SCORE, dataset, compute.memory)
    check_value_score(settings, Known(dataset, frozenset(features), not trains))
    strong = required(features, "strong")
    with run.stage(SCORE, recorded) as stage:
        with collect_warnings(DegenerateDataWarning) as notes:
            if trains:
                weak = train_value_teacher(dataset, required(features, "weak"), teacher)
            else:
                weak = value_labels_of(run, dataset, compute)
            scales = find_scales(dataset, weak, apply=settings.recalibrate)
            weak = recalibrated(weak, scales)
            for warning in scale_warnings(scales):
                warnings.warn(warning, DegenerateDataWarning, stacklevel=2)
            warn_without_errors(weak)
            scores = _detect(dataset, strong, weak, detector, compute)
        if trains:
            table = values_table(dataset.ids, weak.values, weak.errors, weak.names)
            stage.write_table(WEAK_VALUES, table)
        shift = find_shift(dataset, features, None, compute, learned_roles(run))
        shift = shift.with_labels(no_label_shift(NO_SHARES), dataset)
        joined = fit_value_posterior(posterior, dataset, strong, weak)
        summary = summarize_value_overlap(detector, dataset, scores, notes)
        summary["scales"] = scales
        summary["data_warnings"] = data_warnings(dataset, weak.mean)
        stage.write_table(SCORES, scores.assign(**{WEIGHT: shift.column(dataset)}))
        if joined.values is not None:
            stage.write_table(POSTERIOR, joined.table(dataset))
        stage.write_summary(POSTERIOR_SUMMARY, joined.summary)
        stage.write_summary(SHIFT_SUMMARY, shift.summary)
        stage.write_summary(OVERLAP, summary)
    return StageResult(run.read(SCORE))


def check_value_score(settings: ScoreSettings, known: Known) -> None:
    """Raise for the published algorithm, and what `check_score` raises for."""
    if settings.reference:
        raise NotApplicableError(
            "the published algorithm takes probabilities of classes, and the labels are values: "
            "leave out reference"
        )
    check_score(settings, known)
    if known.dataset is not None:
        check_varied(known.dataset)


def check_varied(dataset: W2SDataset) -> None:
    """Raise SplitError where all gold values of the labelled split are the same."""
    targets = dataset.targets[gold_rows(dataset).consistent]
    if len(targets) > 1 and np.ptp(targets) == 0:
        raise SplitError(
            f"all {len(targets):,} gold values of the labelled split are {targets[0]:g}: there is "
            "nothing to learn; check the column that label names"
        )


def _detect(
    dataset: W2SDataset,
    strong: FeatureMatrix,
    weak: ValueLabels,
    detector: OverlapDetector,
    compute: Compute,
) -> pd.DataFrame:
    """Fit on the pool, score all items, and return `scores.parquet`."""
    confidence: FloatArray | None = weak.confidence(target_variance(dataset, weak))
    told = confidence is None  # `warn_without_errors` has said so, and why
    if confidence is None:  # no hard-only points, as of a teacher that is sure of everything
        confidence = np.ones(len(dataset))
    elif (of_pool := confidence[dataset.rows("pool")]).min() == of_pool.max() > 0:
        told = True  # in words of values, and not of classes
        warnings.warn(
            "the weak confidence is constant in the pool, so that nothing says of which items the "
            "weak values are sure: the overlap density is undefined; give standard errors that "
            "differ from row to row (weak_errors), or several weak models",
            DegenerateDataWarning,
            stacklevel=2,
        )
    shown = progress("score", total=len(dataset), enabled=compute.progress)
    with warnings.catch_warnings(), shown as advance:
        once = first_pass(advance, len(dataset))
        if told:
            warnings.filterwarnings("ignore", "the weak confidence is constant")
        checked = FeatureView(strong, name="strong features", check=True, advance=once)
        detector.fit(
            checked,
            confidence=confidence,
            pool=dataset.rows("pool"),
            engine=compute.engine,
        )
    scores = detector.scores_
    kept = [name for name in ("id", "split", "source", "group") if name in dataset.table]
    return dataset.table[kept].assign(
        region=np.array([region.label for region in Region], dtype=object)[scores.regions],
        confidence=scores.confidence,
        alignment=scores.alignment,
        weak_value=weak.mean,
        weak_error=weak.error,
    )
