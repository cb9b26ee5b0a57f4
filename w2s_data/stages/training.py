"""Training: students by several methods, and what they gained over the weak teacher."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from w2s_data.compute.base import Engine
from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.load import W2SDataset
from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.run import Run
from w2s_data.stages.embedding import Role
from w2s_data.stages.graph import (
    FORECAST,
    FORECAST_SUMMARY,
    GAIN,
    GAIN_SUMMARY,
    GAIN_TABLE,
    PREDICTIONS,
    check_scored,
)
from w2s_data.stages.scoring import teachers_of
from w2s_data.stages.warnings import noting
from w2s_data.utils.io import sha256_json
from w2s_data.utils.stage import StageResult

if TYPE_CHECKING:
    from w2s_data.finetune.methods.base import Method

logger = logging.getLogger("w2s_data")


def gain_stage(
    run: Run,
    dataset: W2SDataset,
    features: dict[Role, FeatureMatrix],
    methods: Mapping[str, Method],
    *,
    seeds: int = 5,
    training: Mapping[str, Any] | None = None,
    restart: bool = False,
    show_progress: bool | None = None,
    memory: MemoryLimit | None = None,
    engine: Engine | None = None,
) -> StageResult:
    """Train students by every method and seed, measure the gain, write tables and summary.

    Students that were trained with the same settings before are taken from the run. The forecast
    is shown beside the gain where the run has one.

    Parameters
    ----------
    methods : mapping from name in the table to Method
    training : mapping
        Fields of `TrainingSettings`: tuning, epochs, learning_rate, l2, model ... Pairs are
        trained as such.
    restart : bool
        Train everything anew.
    memory : MemoryLimit, optional
        A head's features are held in memory only where they fit into a quarter of it.
    engine : Engine, optional
        Where students are trained; by default in this process.

    Returns
    -------
    StageResult
        The content of `gain.json`.

    Raises
    ------
    RunError
        If the run was not scored.
    InputError
        If strong features are missing, the test split has no gold labels, or a whole model is to
        be trained on pairs.
    """
    check_scored(run)
    from w2s_data.finetune.settings import TrainingSettings

    training = {**(training or {}), **({"paired": True} if dataset.is_paired else {})}
    chosen = TrainingSettings().replace(**training)
    is_head = chosen.tuning == "head"
    settings = {**training, "seed": run.seed}
    recorded = {
        **settings,
        "seeds": seeds,
        "methods": {name: repr(method) for name, method in methods.items()},
    }
    if not restart and (earlier := run.earlier(GAIN, recorded)) is not None:
        return earlier
    if is_head and "strong" not in features:
        raise InputError("strong features are missing: name their file with --strong-features")
    from w2s_data.finetune import measure_gain

    if is_head:
        limit = memory or MemoryLimit.parse(None)
        resident = min(chosen.resident_bytes, limit.resident_bytes)
        chosen = chosen.replace(resident_bytes=resident)
    with run.stage(GAIN, recorded) as stage:
        with noting(DegenerateDataWarning):  # they are among the result's own warnings
            result = measure_gain(
                features["strong"] if is_head else None,
                teachers_of(run, dataset),
                dataset.labels,
                dataset.splits,
                methods=methods,
                seeds=seeds,
                settings=chosen,
                items=None if is_head else dataset.items,
                groups=dataset.groups,
                class_names=dataset.class_names,
                forecast=_forecast(run),
                checkpoint=run.path / "gain" / sha256_json(settings)[:12],
                resume=not restart,
                random_state=run.seed,
                progress=show_progress,
                engine=engine,
            )
        predictions = result.predictions().drop(columns="row")
        predictions.insert(0, "id", dataset.ids)
        stage.write_table(GAIN_TABLE, result.to_frame())
        stage.write_table(PREDICTIONS, predictions)
        stage.write_summary(GAIN_SUMMARY, result.to_dict())
    return StageResult(run.read(GAIN))


def _forecast(run: Run) -> Any:
    """The run's forecast, if it is of the items and features as they are."""
    return run.read_summary(FORECAST_SUMMARY) if run.follows(FORECAST) else None


def methods_from(names: Sequence[str]) -> dict[str, Method]:
    """Read methods as "name" or "name:parameter=value:...".

    Examples
    --------
    >>> methods_from(["naive", "enhanced:share=0.3:hard=true"])["enhanced:share=0.3:hard=true"]
    Enhanced(share=0.3, q=0.7, hard=True)
    """
    from w2s_data.finetune import make_method

    found = {}
    for text in names:
        name, *given = text.split(":")
        parameters = {}
        for part in given:
            key, equals, value = part.partition("=")
            if not equals:
                raise InputError(f"a method is NAME or NAME:PARAMETER=VALUE:...; got {text!r}")
            parameters[key.strip()] = _value(value.strip())
        found[text] = make_method(name.strip(), **parameters)
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
