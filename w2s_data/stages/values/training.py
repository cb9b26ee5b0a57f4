"""Training on values: students by several methods, and what they gained over the weak teacher."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.errors import DegenerateDataWarning, InputError, SplitError
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import load_features, required
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.graph import (
    GAIN,
    GAIN_SUMMARY,
    GAIN_TABLE,
    PREDICTIONS,
    SCORE,
    check_scored,
)
from w2s_data.stages.keeping import remove_old_students
from w2s_data.stages.room import check_room
from w2s_data.stages.training import check_test_by, methods_from, named_splits
from w2s_data.stages.tuning import (
    check_model,
    given_settings,
    loss_curves,
    training_settings,
)
from w2s_data.stages.values.keeping import keep_value_students
from w2s_data.stages.values.posterior import value_posterior_of
from w2s_data.stages.values.weak import weak_values_of
from w2s_data.stages.warnings import data_warnings
from w2s_data.utils.io import sha256_json
from w2s_data.utils.stage import StageResult
from w2s_data.utils.validation import check_seeds
from w2s_data.utils.warnings import collect_warnings

if TYPE_CHECKING:
    from w2s_data.data.dataset import W2SDataset
    from w2s_data.regression.methods import ValueMethod

# The methods of classes that have a meaning for values, in the same order.
METHODS = ("stacked", "naive", "crossfit", "bootstrap")
OF_STEPS = ("epochs", "learning_rate", "batch_size", "early_stopping")
VALUE = "{} / value"  # columns of the predictions


@writes
def gain_values(
    run: Run, settings: GainSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Train students by every method, measure the gain, write tables and summary.

    Returns
    -------
    StageResult
        The content of `gain.json`.

    Raises
    ------
    RunError
        If the run was not scored.
    InputError
        If the test split has no gold labels, or a method or setting has no meaning for values.
    NotApplicableError
        If strong features are missing.
    """
    settings, compute = settings or GainSettings(), compute or Compute(seed=run.seed)
    check_scored(run)
    dataset = run.dataset()
    methods = value_methods(settings)
    chosen = training_settings(settings, compute.device, dataset)
    chosen = chosen.replace(callbacks=loss_curves(compute))
    head = settings.head or "ridge"
    recorded: dict[str, Any] = {
        **given_settings(settings),
        "head": head,
        "device": compute.device,
        "seed": compute.seed,
        "seeds": settings.seeds,
        "methods": {name: repr(method) for name, method in methods.items()},
        "test_by": settings.test_by,
        **({"early_stopping": True} if settings.early_stopping else {}),
    }
    if chosen.tuning != "head":  # its folder may hold other weights than the last time
        recorded["weights"] = chosen.adaptation.source.identity()
    if not settings.restart and (earlier := run.earlier(GAIN, recorded)) is not None:
        return earlier
    check_value_gain(settings, Known(dataset))
    check_room(GAIN, dataset, compute.memory)
    from w2s_data.regression import measure_gain  # imports torch, which a fresh stage does without

    features = load_features(run, compute)
    strong = required(features, "strong") if chosen.tuning == "head" else features.get("strong")
    weak, by = weak_values_of(run, dataset), settings.test_by
    if chosen.tuning != "head":
        scored = run.manifest["stages"][SCORE.name]["key"]
        folder = run.path / "gain" / sha256_json({**recorded, "scored": scored})[:12]
        if settings.restart:
            shutil.rmtree(folder, ignore_errors=True)
        chosen = chosen.replace(checkpoint=folder)
    with run.stage(GAIN, recorded) as stage:
        with collect_warnings(DegenerateDataWarning):  # they are among the result's own warnings
            result = measure_gain(
                strong,
                weak.values,
                dataset.targets,
                named_splits(dataset),
                methods=methods,
                seeds=settings.seeds,
                settings=chosen,
                head=head,
                items=None if chosen.tuning == "head" else dataset.items,
                groups=dataset.groups,
                units=dataset.units,
                weak_errors=weak.errors,
                posterior=value_posterior_of(run),
                test_by=None if by is None else dataset.table[by].to_numpy(),
                early_stopping=settings.early_stopping,
                random_state=compute.seed,
                progress=compute.progress,
            )
        stage.write_table(GAIN_TABLE, result.to_frame())
        stage.write_table(PREDICTIONS, _by_item(dataset, result.predictions()))
        kept = keep_value_students(run, stage, result, dataset)
        warned = {"data_warnings": data_warnings(dataset, weak.mean)}
        stage.write_summary(GAIN_SUMMARY, result.to_dict() | warned | kept)
    remove_old_students(run)
    return StageResult(run.read(GAIN))


def check_value_gain(settings: GainSettings, known: Known) -> None:
    """Raise for methods, settings and models without a meaning here, and items without labels."""
    value_methods(settings)
    check_seeds(settings.seeds)
    dataset = known.dataset
    chosen = training_settings(settings, Compute().device, dataset)
    _check_head(settings)
    if chosen.tuning != "head":
        check_model(chosen.adaptation, dataset)
    if dataset is None:
        return
    check_test_by(settings, dataset)
    test = dataset.rows("test")
    without = test[~dataset.is_labelled[test]]
    if not len(test) or len(without):
        missing = "has no rows" if not len(test) else f"has {len(without):,} rows without a label"
        raise SplitError(
            f"a gain is measured on gold values of the test split, which {missing}: put rows with "
            "a label into it, and the others into the pool"
        )


def value_methods(settings: GainSettings) -> dict[str, ValueMethod]:
    """Return the methods by name; those with a meaning for values where none are chosen."""
    from w2s_data.regression import make_method

    # A whole model has no directions that `bootstrap` could limit.
    usual = METHODS if settings.tuning == "head" else METHODS[:-1]
    chosen = settings.methods if "methods" in settings.model_fields_set else usual
    return methods_from(chosen, make_method)


def _check_head(settings: GainSettings) -> None:
    from w2s_data.regression.heads import CLOSED_FORM

    if settings.tuning != "head" and settings.head in CLOSED_FORM:
        raise InputError(
            f"head {settings.head!r} is in closed form, and tuning {settings.tuning!r} trains by "
            "steps: choose squared or huber"
        )
    # Left out, a setting is None or False.
    given = [name for name in OF_STEPS if getattr(settings, name)]
    if settings.tuning == "head" and given and (settings.head or "ridge") in CLOSED_FORM:
        raise InputError(
            f"{given[0]} is a setting of heads that are trained by steps: choose head='squared' or "
            "'huber', or leave it out"
        )


def _by_item(dataset: W2SDataset, predicted: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions of test rows as a table of all items, which tables of a run are."""
    rows = predicted["row"].to_numpy()
    table = {"id": dataset.ids, "split": named_splits(dataset), "target": dataset.targets}
    for name in predicted.columns.drop(["row", "split", "target"]):
        column = np.full(len(dataset), np.nan)
        column[rows] = predicted[name]
        table[VALUE.format(name)] = column
    return pd.DataFrame(table)
