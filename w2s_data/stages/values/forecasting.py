"""Forecasting of values: expected squared errors of the options, and the features' discrepancy."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.discrepancy.analyzer import DiscrepancyAnalyzer
from w2s_data.discrepancy.target import target_parts
from w2s_data.errors import DegenerateDataWarning, InputError, NotApplicableError
from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.regression.discrepancy import measured_beside_predicted
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import Role, load_features, require_role
from w2s_data.stages.forecasting import SAMPLE_COPIES, measure_discrepancy
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import DISCREPANCY, FORECAST, FORECAST_SUMMARY, OVERLAP, SCORE
from w2s_data.stages.room import check_room
from w2s_data.stages.settings import ForecastSettings
from w2s_data.stages.shifting import find_shift, learned_roles, shift_of
from w2s_data.stages.values.weak import (
    base_values,
    penalty_of,
    trains_value_teacher,
    weak_values_of,
)
from w2s_data.stages.warnings import data_warnings
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.warnings import collect_warnings

GIVEN = (
    "the weak values that came with the data are compared with the labelled items: teacher and "
    "student come out too good if the weak model was trained on these"
)


@writes
def forecast_values(
    run: Run, settings: ForecastSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Forecast the options by squared error, and measure the discrepancy; write both summaries.

    As `forecast_stage`, with the same files. Where gold rows outnumber the features' dimensions,
    `discrepancy.json` has the risks that theory expects, in squared units of the target.

    Returns
    -------
    StageResult
        The content of `forecast.json`, and under "discrepancy" that of `discrepancy.json`.

    Raises
    ------
    NotApplicableError
        If features of a role are missing, or a penalty of students is set.
    SplitError
        If the pool is empty, or the labelled split cannot train a teacher.
    """
    from w2s_data.regression.forecast import ValueForecaster

    settings, compute = settings or ForecastSettings(), compute or Compute(seed=run.seed)
    dataset = run.dataset()
    features = load_features(run, compute)
    labelled, pool = gold_rows(dataset).rows, dataset.rows("pool")
    most = compute.memory.rows(sum(matrix.shape[1] for matrix in features.values()), SAMPLE_COPIES)
    penalty = penalty_of(settings.teacher_l2, len(labelled))
    forecaster = ValueForecaster(penalty, settings.level, random_state=compute.seed)
    analyzer = DiscrepancyAnalyzer(level=settings.level, random_state=compute.seed)
    weak, scales = _weak_values(run, dataset)
    recorded = {
        "forecaster": forecaster.get_params(),
        "analyzer": analyzer.get_params(),
        "recalibrated": scales,
    }
    if (earlier := run.earlier(FORECAST, recorded)) is not None:
        return earlier
    check_room(FORECAST, dataset, compute.memory)
    check_value_forecast(settings, Known(dataset, frozenset(features), weak is not None))
    with run.stage(FORECAST, recorded) as stage:
        # First, since it is cheap: a forecast that fails must not hide it.
        found = measure_discrepancy(analyzer, features, labelled, pool)
        found |= _risks(features, dataset, labelled, len(pool))
        found["measured"] = _measured(features, dataset, labelled, pool, settings.level)
        stage.write_summary(DISCREPANCY, {"task": dataset.task, **found})
        strong, of_teacher = features["strong"], None if weak is not None else features["weak"]
        with collect_warnings(DegenerateDataWarning) as notes:
            fitted = clone(forecaster).set_params(max_pool=min(most, forecaster.max_pool or most))
            fitted.fit(
                FeatureView(strong, labelled),
                None if of_teacher is None else FeatureView(of_teacher, labelled),
                dataset.targets[labelled],
                strong_pool=FeatureView(strong, pool),
                weak_pool=None if of_teacher is None else FeatureView(of_teacher, pool),
                weak_values=None if weak is None else (weak[labelled], weak[pool]),
                gold_weight=_shift_weights(run, dataset, features, compute, labelled),
            )
        warnings = data_warnings(dataset, weak)
        forecast = fitted.forecast_
        for warning in warnings:
            if FORECAST.name in warning["withholds"]:
                forecast = forecast.withheld(warning["text"].partition(": ")[0])
        summary = forecast.to_dict() | {"data_warnings": warnings}
        given = () if weak is None else (GIVEN,)
        summary["warnings"] = (*summary["warnings"], *notes, *given)
        stage.write_summary(FORECAST_SUMMARY, summary)
    return StageResult(run.read(FORECAST))


def check_value_forecast(settings: ForecastSettings, known: Known) -> None:
    """Refuse a penalty of students, and data that lack features, gold values or a pool."""
    if "student_l2" in settings.model_fields_set:
        raise NotApplicableError(
            "student_l2 is of classes: students of values choose their penalty by generalised "
            "cross-validation"
        )
    dataset = known.dataset
    if dataset is None:
        return
    from w2s_data.regression.forecast import check_enough

    require_role(known.roles, "strong")
    if not dataset.has_weak_labels and not known.teachers:
        require_role(known.roles, "weak")
    dataset.check_teacher_data()
    check_enough(dataset.targets[gold_rows(dataset).rows], len(dataset.rows("pool")))


def _weak_values(run: Run, dataset: W2SDataset) -> tuple[FloatArray | None, bool]:
    """Return the mean of weak values (N,) that a run has, and whether they were recalibrated."""
    if trains_value_teacher(run, dataset):
        return None, False
    if not run.follows(SCORE):
        return base_values(run, dataset).mean, False
    scales = run.read_summary(OVERLAP, SCORE.schema)["scales"]
    return weak_values_of(run, dataset).mean, any(scale["applied"] for scale in scales)


def _shift_weights(
    run: Run,
    dataset: W2SDataset,
    features: dict[Role, FeatureMatrix],
    compute: Compute,
    labelled: IntArray,
) -> FloatArray | None:
    """Return weights of labelled rows if the pool comes from elsewhere."""
    if run.follows(SCORE):
        found = shift_of(run)
    else:  # so that no forecast is for the wrong rows in silence
        found = find_shift(dataset, features, None, compute, learned_roles(run))
    return None if found.weights is None else found.weights[labelled]


def _risks(
    features: dict[Role, FeatureMatrix], dataset: W2SDataset, labelled: IntArray, n_pool: int
) -> dict[str, Any]:
    """Return the errors that theory expects of least squares, and the parts of the target."""
    if "weak" not in features:
        return {"risks": None}
    strong, weak = (FeatureView(features[role], labelled) for role in ("strong", "weak"))
    try:
        parts = target_parts(strong, weak, dataset.targets[labelled])
        risks = parts.risks(len(labelled), n_pool)
    except InputError:  # too few gold rows for so many dimensions, as usual
        return {"risks": None}
    roles = ("teacher", "student", "sft", "ceiling")
    expected = {role: getattr(risks, role) + parts.noise for role in roles}
    return {"risks": expected | {"noise": parts.noise}}


def _measured(
    features: dict[Role, FeatureMatrix],
    dataset: W2SDataset,
    labelled: IntArray,
    pool: IntArray,
    level: float,
) -> dict[str, Any] | None:
    """Return measured errors beside their variance by theory; no part of the forecast."""
    test = dataset.rows("test")
    if "weak" not in features or not dataset.is_labelled[test].any():
        return None
    return measured_beside_predicted(
        *(features["strong"], features["weak"], dataset.targets),
        labelled=labelled,
        pool=pool,
        test=test,
        level=level,
    )
