"""Training: students by several methods, and what they gained over the weak teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.compute.context import Compute
from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.finetune.gain.data import check_measurable
from w2s_data.finetune.levels.together import led
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import load_features, required
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import (
    FORECAST,
    FORECAST_SUMMARY,
    GAIN,
    GAIN_SUMMARY,
    GAIN_TABLE,
    PREDICTIONS,
    SCORE,
    check_scored,
)
from w2s_data.stages.keeping import keep_students, remove_old_students
from w2s_data.stages.posterior import posterior_of
from w2s_data.stages.room import check_room
from w2s_data.stages.teacher_store import teacher_names, teacher_stages
from w2s_data.stages.tuning import (
    check_model,
    given_settings,
    loss_curves,
    training_settings,
)
from w2s_data.stages.warnings import data_warnings
from w2s_data.stages.weak_labels import weak_proba_by_model
from w2s_data.utils.io import sha256_json
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import AnyArray
from w2s_data.utils.validation import check_seeds
from w2s_data.utils.warnings import collect_warnings

if TYPE_CHECKING:
    from w2s_data.data.dataset import W2SDataset
    from w2s_data.finetune.methods.base import Method


@led
@writes
def gain_stage(
    run: Run, settings: GainSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Train students by every method and seed, measure the gain, write tables and summary.

    Students that were trained with the same settings before are read from the run. The forecast is
    compared with the gain where the run has one. Pairs are trained as such.

    Returns
    -------
    StageResult
        The content of `gain.json`.

    Raises
    ------
    RunError
        If the run was not scored.
    InputError
        If the test split has no gold labels.
    NotApplicableError
        If strong features are missing.
    """
    settings, compute = settings or GainSettings(), compute or Compute(seed=run.seed)
    check_scored(run)
    dataset = run.dataset()
    methods = with_stages(methods_from(settings.methods), teacher_stages(run))
    chosen = training_settings(settings, compute.device, dataset)
    chosen = chosen.replace(callbacks=loss_curves(compute))
    # More seeds or methods reuse students; other labels, features or scores do not.
    trained = {
        **given_settings(settings),
        "device": compute.device,
        **({"paired": True} if dataset.is_paired else {}),
        **({"early_stopping": True} if settings.early_stopping else {}),
        "seed": compute.seed,
    }
    if chosen.tuning != "head":  # its folder may hold other weights than the last time
        trained["weights"] = chosen.adaptation.source.identity()
    scored = run.manifest["stages"][SCORE.name]["key"]
    recorded = {
        **trained,
        "seeds": settings.seeds,
        "methods": {name: repr(method) for name, method in methods.items()},
        **({} if settings.test_by is None else {"test_by": settings.test_by}),
    }
    if not settings.restart and (earlier := run.earlier(GAIN, recorded)) is not None:
        return earlier
    check_gain(settings, Known(dataset))
    taught = teacher_names(run)
    room = check_room(GAIN, dataset, compute.memory, teachers=len(taught))
    # They import torch, which a fresh stage does without.
    from w2s_data.finetune import measure_gain
    from w2s_data.finetune.gain.checkpoint import SCHEMA

    # Students of an earlier version, which trained them otherwise, are left alone.
    place = sha256_json({**trained, "scored": scored, "students": SCHEMA})[:12]
    is_head = chosen.tuning == "head"
    strong = required(load_features(run, compute), "strong") if is_head else None
    # Features of a head, and pixels, are held in memory only where they fit into what is left.
    resident = min(chosen.resident_bytes, compute.memory.resident_bytes)
    chosen = chosen.replace(resident_bytes=min(resident, room) if is_head else resident)
    weak_proba = weak_proba_by_model(run, dataset)
    gold = gold_rows(dataset)
    by = settings.test_by
    test_by = None if by is None else dataset.table[by].to_numpy()
    with run.stage(GAIN, recorded) as stage:
        with collect_warnings(DegenerateDataWarning):  # they are among the result's own warnings
            result = measure_gain(
                strong,
                weak_proba,
                gold.labels(dataset),
                named_splits(dataset),
                methods=methods,
                seeds=settings.seeds,
                settings=chosen,
                items=None if is_head else dataset.items,
                groups=dataset.groups,
                sources=dataset.sources,
                class_names=dataset.class_names,
                posterior=posterior_of(run, dataset),
                test_by=test_by,
                forecast=_forecast(run),
                early_stopping=settings.early_stopping,
                checkpoint=run.path / "gain" / place,
                resume=not settings.restart,
                random_state=compute.seed,
                progress=compute.progress,
                engine=compute.engine,
            )
        # Ids instead of row numbers: tables of a run are joined by id.
        predictions = result.predictions().drop(columns="row")
        predictions.insert(0, "id", dataset.ids)
        stage.write_table(GAIN_TABLE, result.to_frame())
        stage.write_table(PREDICTIONS, predictions)
        kept = keep_students(run, stage, result, dataset, settings.model)
        extra = {"data_warnings": data_warnings(dataset, weak_proba)}
        summary = result.to_dict() | extra | kept
        summary |= {"teacher_names": taught} if taught else {}
        summary["warnings"] = [*summary["warnings"], *gold.notes(dataset, "training")]
        stage.write_summary(GAIN_SUMMARY, summary)
    remove_old_students(run)
    return StageResult(run.read(GAIN))


def check_gain(settings: GainSettings, known: Known) -> None:
    """Raise for methods, models and columns that do not exist, and for items without labels."""
    from w2s_data.finetune.gain.training import name_methods

    dataset = known.dataset
    name_methods(methods_from(settings.methods))
    check_seeds(settings.seeds)
    chosen = training_settings(settings, Compute().device, dataset)
    if chosen.tuning != "head":
        check_model(chosen.adaptation, dataset)
    if dataset is not None:
        check_measurable(dataset.labels, named_splits(dataset))
        check_test_by(settings, dataset)
        if settings.head is not None:
            raise InputError("head is of values, and the labels are classes: leave it out")


def check_test_by(settings: GainSettings, dataset: W2SDataset) -> None:
    """Raise for test splits by a column that the data do not have."""
    if settings.test_by is not None and settings.test_by not in dataset.table:
        raise InputError(
            f"test_by={settings.test_by!r} makes a test split of each {settings.test_by}, and the "
            f"data have none: name the column that holds them with {settings.test_by}="
        )


def named_splits(dataset: W2SDataset) -> AnyArray:
    """Return the split of each row, test rows with the name of their test split."""
    return np.where(dataset.splits == "test", dataset.test_splits, dataset.splits)


def _forecast(run: Run) -> Any:
    """Return the run's forecast, if it is of the items and features as they are, and known."""
    forecast = run.read_summary(FORECAST_SUMMARY) if run.follows(FORECAST) else None
    return None if forecast is None or not forecast["advised"] else forecast


def with_stages(methods: Mapping[str, Method], stages: tuple[int, ...] | None) -> dict[str, Method]:
    """Give methods that climb a hierarchy of teachers the stages of the run's, unless they say."""
    if stages is None:
        return dict(methods)
    own: dict[str, Any] = {"stages": stages}
    return {
        name: replace(method, **own) if getattr(method, "stages", stages) is None else method
        for name, method in methods.items()
    }


def methods_from(names: Sequence[str], make: Callable[..., Any] | None = None) -> dict[str, Any]:
    """Read methods as "name" or "name:parameter=value:...", made by `make`, for classes by default.

    Examples
    --------
    >>> methods_from(["naive", "enhanced:share=0.3:hard=true"])["enhanced:share=0.3:hard=true"]
    Enhanced(share=0.3, q=0.7, hard=True)
    """
    if make is None:
        from w2s_data.finetune import make_method

        make = make_method
    found: dict[str, Any] = {}
    for text in names:
        name, *given = text.split(":")
        parameters = {}
        for part in given:
            key, equals, value = part.partition("=")
            if not equals:
                raise InputError(f"a method is NAME or NAME:PARAMETER=VALUE:...; got {text!r}")
            if key.strip() in parameters:
                raise InputError(f"method {text!r} sets {key.strip()!r} twice")
            parameters[key.strip()] = _value(value.strip())
        method = make(name.strip(), **parameters)
        if method in found.values():
            same = next(other for other in found if found[other] == method)
            raise InputError(f"methods {same!r} and {text!r} are the same: {method!r}")
        found[text] = method
    return found


def _value(text: str) -> Any:
    """A number, true, false, none, a tuple of numbers joined by "-", or a word."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    if text.count("-") and all(part.isdigit() for part in text.split("-")):
        return tuple(int(part) for part in text.split("-"))
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if text.lstrip("+-").isdigit() else number
