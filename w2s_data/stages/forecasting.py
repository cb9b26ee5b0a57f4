"""Forecasting: what the features and the labelled split say about the gain, before training."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from w2s_data.compute.context import Compute
from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.load import W2SDataset
from w2s_data.discrepancy.analyzer import DiscrepancyAnalyzer
from w2s_data.discrepancy.summary import summarize_discrepancy, unknown_discrepancy
from w2s_data.errors import DegenerateDataWarning, InputError, SplitError
from w2s_data.features.matrix import FeatureMatrix, FeatureView, sampled
from w2s_data.forecast import GainForecaster
from w2s_data.forecast.inputs import check_class_sizes
from w2s_data.forecast.result import GainForecast
from w2s_data.probes.linear import LinearProbe
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import Role, load_features, require_role
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import DISCREPANCY, FORECAST, FORECAST_SUMMARY, SCORE
from w2s_data.stages.room import check_room
from w2s_data.stages.settings import ForecastSettings
from w2s_data.stages.shifting import find_shift, learned_roles, shift_of
from w2s_data.stages.teacher_store import teacher_names
from w2s_data.stages.teaching import refresh_teachers
from w2s_data.stages.warnings import data_warnings, unseen_share
from w2s_data.stages.weak_labels import (
    teach,
    trains_teacher,
    weak_labels_of,
    weak_proba_by_model,
)
from w2s_data.teachers.probe import probe_for
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_generator
from w2s_data.utils.warnings import collect_warnings

SAMPLE_COPIES = 12  # of its rows in float64: samples, kernels of three kinds, simulated worlds


@writes
def forecast_stage(
    run: Run, settings: ForecastSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Forecast the options and measure the discrepancy of the features; write both summaries.

    Weak labels that came with the data take the place of a teacher that is trained; without weak
    features the discrepancy is then unknown. A penalty of
    "cv" is chosen once, on the labelled split; that of the student of gold labels always is, since
    few rows take a stronger one than a pool. On pairs the probes have no intercept.

    Returns
    -------
    StageResult
        The content of `forecast.json`, and under "discrepancy" that of `discrepancy.json`.

    Raises
    ------
    NotApplicableError
        If features of a role are missing.
    SplitError
        If the pool is empty, or the labelled split cannot train a teacher.
    """
    settings, compute = settings or ForecastSettings(), compute or Compute(seed=run.seed)
    dataset = run.dataset()
    features = load_features(run, compute)
    refresh_teachers(run, compute)
    forecaster = GainForecaster(
        student=LinearProbe(l2=settings.student_l2, random_state=compute.seed),
        teacher=LinearProbe(l2=settings.teacher_l2, random_state=compute.seed),
        gold_student=LinearProbe(l2="cv", random_state=compute.seed),
        level=settings.level,
        random_state=compute.seed,
    )
    analyzer = DiscrepancyAnalyzer(
        settings.strong_components, settings.weak_components, random_state=compute.seed
    )
    recorded = {
        "forecaster": {
            name: value
            for name, value in forecaster.get_params().items()
            if not hasattr(value, "get_params")  # a probe, whose own parameters follow
        },
        "analyzer": analyzer.get_params(),
    }
    if (earlier := run.earlier(FORECAST, recorded)) is not None:
        return earlier
    check_room(FORECAST, dataset, compute.memory, teachers=len(teacher_names(run)))
    teachers = not trains_teacher(run, dataset)
    check_forecast(settings, Known(dataset, frozenset(features), teachers))
    gold = gold_rows(dataset)
    labelled = gold.consistent
    pool = dataset.rows("pool")
    with run.stage(FORECAST, recorded) as stage:
        # First, since it is cheap: a forecast that fails must not hide it.
        stage.write_summary(DISCREPANCY, measure_discrepancy(analyzer, features, labelled, pool))
        fitting = _fitting(forecaster, features, compute.memory)
        trains = trains_teacher(run, dataset)
        proba = None if trains else weak_proba_by_model(run, dataset)
        sides: dict[str, Role] = {"student": "strong", "gold_student": "strong"}
        weak = features.get("weak")
        if weak is not None:
            sides["teacher"] = "weak"
        for name, side in sides.items():
            probe = _with_fixed_penalty(fitting, name, dataset, features[side], labelled)
            fitting.set_params(**{name: probe})
        with collect_warnings(DegenerateDataWarning):  # they are among the forecast's own warnings
            weights = _shift_weights(run, dataset, features, fitting.teacher, compute)
            fitting.fit(
                FeatureView(features["strong"], labelled),
                None if weak is None else FeatureView(weak, labelled),
                dataset.labels[labelled],
                strong_pool=FeatureView(features["strong"], pool),
                weak_pool=None if weak is None else FeatureView(weak, pool),
                weak_proba=None if proba is None else (proba[labelled], proba[pool]),
                gold_weight=None if weights is None else weights[labelled],
                progress=compute.progress,
            )
        found = data_warnings(dataset, proba)
        summary = _hedged(fitting.forecast_, dataset, found).to_dict() | {"data_warnings": found}
        summary["warnings"] = (*summary["warnings"], *gold.notes(dataset, "the forecast"))
        if dataset.weak_proba is not None:
            summary["warnings"] = (
                *summary["warnings"],
                "the weak labels that came with the data are compared with the labelled items: "
                "teacher and student come out too high if the weak model was trained on these",
            )
        stage.write_summary(FORECAST_SUMMARY, summary)
    return StageResult(run.read(FORECAST))


def _shift_weights(
    run: Run,
    dataset: W2SDataset,
    features: dict[Role, FeatureMatrix],
    teacher: LinearProbe,
    compute: Compute,
) -> FloatArray | None:
    """Return weights (N,) of labelled rows if the pool comes from elsewhere.

    They are those of the scores where the run has them; a run without scores is compared here, so
    that no forecast is for the wrong rows in silence.
    """
    if run.follows(SCORE):
        return shift_of(run).weights
    if trains_teacher(run, dataset):
        weak = teach(dataset, features["weak"], teacher, compute.memory)
    else:
        weak = weak_labels_of(run, dataset, compute)
    return find_shift(dataset, features, weak, compute, learned_roles(run)).weights


def _hedged(
    forecast: GainForecast, dataset: W2SDataset, warnings: list[dict[str, Any]]
) -> GainForecast:
    """Count test rows of classes that nobody learns as wrong, and withhold advice that is none."""
    unseen = unseen_share(dataset)
    if unseen.by_teacher:
        forecast = forecast.scaled(1 - unseen.by_teacher, 1 - unseen.by_ceiling)
    # The first half of the sentence: the whole stands among the warnings.
    reasons = [w["text"].partition(": ")[0] for w in warnings if FORECAST.name in w["withholds"]]
    if forecast.doubt:
        reasons.append(forecast.doubt)
    return forecast.withheld(reasons[0]) if reasons else forecast


def check_forecast(settings: ForecastSettings, known: Known) -> None:  # noqa: ARG001
    """Refuse data that lack features of a role, enough gold labels, or a pool."""
    dataset = known.dataset
    if dataset is None:
        return
    require_role(known.roles, "strong")
    if dataset.weak_proba is None and not known.teachers:
        require_role(known.roles, "weak")
    dataset.check_teacher_data()
    labels = dataset.labels[dataset.rows("labelled")]
    check_class_sizes(np.array(dataset.class_names, dtype=object)[labels])
    if not len(dataset.rows("pool")):
        raise SplitError("the pool is empty: there is nothing to pseudo-label")


def measure_discrepancy(
    analyzer: DiscrepancyAnalyzer,
    features: dict[Role, FeatureMatrix],
    labelled: IntArray,
    pool: IntArray,
) -> dict[str, Any]:
    """Return the content of `discrepancy.json`, or why it is unknown."""
    both = np.union1d(labelled, pool)
    n, n_pool = len(labelled), len(pool)
    if "weak" not in features:  # ready-made weak labels do without
        reason = (
            "weak features are missing, and with them what the teacher sees: pass weak_features"
        )
        return unknown_discrepancy(reason, n, n_pool)
    try:
        with collect_warnings(DegenerateDataWarning) as notes:
            strong, weak = (FeatureView(features[role], both) for role in ("strong", "weak"))
            analyzer = clone(analyzer).fit(strong, weak)
    except InputError as error:  # too few rows for so many dimensions: the forecast may still do
        return unknown_discrepancy(str(error), n, n_pool)
    return summarize_discrepancy(analyzer, n, n_pool, notes)


def _fitting(
    forecaster: GainForecaster, features: dict[Role, FeatureMatrix], memory: MemoryLimit
) -> GainForecaster:
    """Return a clone whose samples of rows fit into memory; warnings name their sizes."""
    n_columns = sum(matrix.shape[1] for matrix in features.values())
    most = memory.rows(n_columns, SAMPLE_COPIES)
    fitting: GainForecaster = clone(forecaster).set_params(
        max_pool=min(most, forecaster.max_pool or most),
        max_labelled=min(most, forecaster.max_labelled or most),
    )
    return fitting


def _with_fixed_penalty(
    forecaster: GainForecaster,
    role: str,
    dataset: W2SDataset,
    features: FeatureMatrix,
    labelled: IntArray,
) -> Any:
    """Return a probe whose penalty is chosen once, on as many labelled rows as the forecast uses.

    A choice in every fold would cost much and change little.
    """
    probe = getattr(forecaster, role)
    if not isinstance(probe, LinearProbe):
        return probe
    probe = probe_for(dataset, probe)
    if probe.l2 != "cv":
        return probe
    most = forecaster.max_labelled or len(labelled)
    rows = sampled(labelled, most, check_generator(probe.random_state))
    chosen = clone(probe).fit(features.take(rows), dataset.labels[rows]).l2_
    return clone(probe).set_params(l2=chosen)
