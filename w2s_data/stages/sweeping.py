"""Sweeps: the published figures, measured on the run's own rows and predicted."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from w2s_data.compute.context import Compute
from w2s_data.compute.kept import KeepingEngine
from w2s_data.data.dataset import W2SDataset
from w2s_data.encoders.names import check_encoder
from w2s_data.errors import (
    DegenerateDataWarning,
    InputError,
    NotApplicableError,
    RunError,
    SplitError,
)
from w2s_data.features.matrix import FeatureMatrix, sampled
from w2s_data.probes.linear import LinearProbe
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import ROLES, Role, configured, load_features, require_role
from w2s_data.stages.encoding import encode, recorded_encoder, stored_features
from w2s_data.stages.graph import (
    SCORE,
    SELECT,
    SWEEP,
    SWEEP_SUMMARY,
    TRACE,
    check_scored,
    sweep_table,
)
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.sweep_settings import SweepSettings
from w2s_data.stages.weak_labels import trains_teacher, weak_proba_of
from w2s_data.sweep import SweepOptions, ValueWorld, World, sweep
from w2s_data.teachers.probe import probe_for
from w2s_data.utils.intervals import LEVEL, Estimate
from w2s_data.utils.io import sha256_json
from w2s_data.utils.progress import progress
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_generator
from w2s_data.utils.warnings import collect_warnings

CELLS = "sweep"  # folder of finished cells, and of the features of other models
MOST_TESTED = 10_000  # test rows: their share of right labels is known to half a point
COPIES = 4  # of the rows in float64 that a cell holds


@writes
def sweep_stage(
    run: Run, settings: SweepSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Measure a published figure on the rows of the run; add it to those that it has.

    A seed is a draw of labelled set and pool, see `World.draw`. Finished seeds are kept, so that a
    killed sweep resumes and more seeds add to those before. Teachers have the penalty of the run's.

    Returns
    -------
    StageResult
        The content of `sweep.json`: under "sweeps" every figure by what was varied.

    Raises
    ------
    RunError
        If the run was not scored.
    NotApplicableError
        If strong features or groups are missing.
    SplitError
        If there are no test rows with a gold label.
    """
    return measure_figure(run, settings, compute, check_sweep, _world)


def measure_figure(
    run: Run,
    settings: SweepSettings | None,
    compute: Compute | None,
    check: Callable[[SweepSettings, Known], None],
    world_of: Callable[..., tuple[World | ValueWorld, SweepOptions]],
) -> StageResult:
    """Check, measure and store a figure of classes or of values."""
    settings, compute = settings or SweepSettings(), compute or Compute(seed=run.seed)
    check_scored(run)
    dataset = run.dataset()
    chosen = settings.model_dump(exclude={"restart", "seeds"})
    if settings.over == "rounds":  # alone: a new selection leaves all other figures as they are
        chosen["selection"] = _selection_key(run)
    recorded = {**chosen, "seeds": settings.seeds, "seed": compute.seed}
    if not settings.restart and (earlier := run.earlier(SWEEP, recorded)) is not None:
        return earlier
    features = load_features(run, compute)
    check(settings, Known(dataset, frozenset(features)))
    earlier_sweeps = run.read_summary(SWEEP_SUMMARY)["sweeps"] if run.follows(SWEEP) else {}
    # Without the number of seeds, so that more of them add to those before.
    folder = run.path / CELLS / f"{settings.over}-{run.key(SWEEP, chosen)[:12]}"
    if settings.restart:
        shutil.rmtree(folder, ignore_errors=True)
    with run.stage(SWEEP, recorded) as stage, collect_warnings(DegenerateDataWarning):
        world, options = world_of(run, dataset, settings, compute)
        name = f"sweep over {settings.over}"
        with progress(name, settings.seeds, "seeds", compute.progress) as advance:
            result = sweep(
                world,
                options,
                seeds=settings.seeds,
                level=LEVEL,
                engine=KeepingEngine(compute.engine, folder),
                advance=advance,
            )
        made = {**result.to_dict(), "settings": chosen}
        sweeps = {**earlier_sweeps, settings.over: made}
        stage.write_summary(SWEEP_SUMMARY, {"sweeps": sweeps, "latest": settings.over})
        for over, content in sweeps.items():
            stage.write_csv(sweep_table(over), csv_of(content))
    _forget_others(folder)
    return StageResult(run.read(SWEEP))


def check_sweep(settings: SweepSettings, known: Known) -> None:
    """Raise for data that lack what the figure needs, and for models that do not exist."""
    dataset = known.dataset
    kind = None if dataset is None else dataset.kind
    for model in (*settings.strong_models, *settings.weak_models):
        check_encoder(model, kind)
    if settings.over == "model" and not (settings.strong_models or settings.weak_models):
        raise InputError("over='model' compares models: name them as strong_models or weak_models")
    if dataset is None:
        return
    require_role(known.roles, "strong")
    if not len(dataset.rows("pool")):
        raise SplitError("the pool is empty, so that no student can be trained")
    if not (dataset.labels[dataset.rows("test")] >= 0).any():
        raise SplitError("no test row has a gold label, by which a student could be measured")
    if settings.over == "eta" and dataset.groups is None:
        raise NotApplicableError(
            "over='eta' varies the share of a group, and the data have none: name the column that "
            "holds the groups with group="
        )
    if settings.over == "model":
        if dataset.is_paired:
            raise NotApplicableError("over='model' embeds single items, and these are pairs")
        dataset.check_teacher_data()
        for role in ROLES:
            if not getattr(settings, f"{role}_models"):
                require_role(known.roles, role)


def _world(
    run: Run, dataset: W2SDataset, settings: SweepSettings, compute: Compute
) -> tuple[World, SweepOptions]:
    """Collect the rows of the run that are used, and the choices of the sweep."""
    features = load_features(run, compute)
    # A selection may have bought any of the pool.
    most = len(dataset) if settings.over == "rounds" else settings.max_pool
    rows = _rows(dataset, features, most, compute)
    taken = {role: matrix.take(rows) for role, matrix in features.items()}
    weak = taken.get("weak") if trains_teacher(run, dataset) else None
    options = SweepOptions(
        settings.over,
        settings.group,
        tuple(float(share) for share in settings.eta_labelled),
        settings.draws,
    )
    models: dict[str, FloatArray] = {}
    if settings.over == "model":
        models, options = _models(run, dataset, settings, options, taken, rows, compute)
        weak = models[options.weak_models[0]]
    labels, splits, groups = dataset.labels[rows], dataset.splits[rows], dataset.groups
    teacher = LinearProbe(**(run.manifest["stages"][SCORE.name]["settings"]["teacher"] or {}))
    student = LinearProbe(l2=settings.student_l2, device=compute.device)
    known = (splits == "labelled") & (labels >= 0)
    sources = dataset.sources
    world = World(
        taken["strong"],
        weak,
        weak_proba_of(run, dataset)[rows],
        labels,
        splits,
        _with_fixed_penalty(probe_for(dataset, teacher), weak, labels, known),
        probe_for(dataset, student),
        settings.labels == "hard",
        None if groups is None else np.asarray(groups)[rows],
        models,
        compute.seed,
        None if sources is None else np.asarray(sources)[rows],
        _rounds(run, dataset, rows) if settings.over == "rounds" else (),
    )
    return world, options


def _selection_key(run: Run) -> str:
    """Return the key of the run's selection, or raise if it has none of its present scores."""
    if not run.follows(SELECT):
        command = SELECT.command.replace("RUN", str(run.path))
        raise RunError(
            f"{str(run.path)!r} has no selection, whose rounds over='rounds' looks at: `{command}` "
            "makes one"
        )
    return str(run.manifest["stages"][SELECT.name]["key"])


def _rounds(run: Run, dataset: W2SDataset, rows: IntArray) -> tuple[IntArray, ...]:
    """Return the places among the rows of what each round of the selection bought."""
    places = pd.Index(dataset.ids[rows].astype(str))
    bought = run.read_table(TRACE)["ids"]
    found = (places.get_indexer(pd.Index(ids).astype(str)) for ids in bought if len(ids))
    return tuple(own[own >= 0] for own in found)


def _models(
    run: Run,
    dataset: W2SDataset,
    settings: SweepSettings,
    options: SweepOptions,
    own: Mapping[Role, FloatArray],
    rows: IntArray,
    compute: Compute,
) -> tuple[dict[str, FloatArray], SweepOptions]:
    """Return the features of the compared models, and the options that name them."""
    models: dict[str, FloatArray] = {}
    names: dict[Role, tuple[str, ...]] = {}
    for role in ROLES:
        given = getattr(settings, f"{role}_models")
        names[role] = given or (f"the run's {role}",)
        if not given:
            models[f"the run's {role}"] = own[role]
        for name in given:
            models[name] = _embedded(run, dataset, name, rows, compute)
    return models, replace(options, strong_models=names["strong"], weak_models=names["weak"])


def _rows(
    dataset: W2SDataset, features: Mapping[Role, FeatureMatrix], most: int, compute: Compute
) -> IntArray:
    """Return labelled rows, as many of the pool as are used, and test rows with a label."""
    n_columns = sum(matrix.shape[1] for matrix in features.values())
    rng = check_generator(compute.seed)
    labelled, test = dataset.rows("labelled"), dataset.rows("test")
    parts = (
        labelled[dataset.labels[labelled] >= 0],
        sampled(dataset.rows("pool"), min(most, compute.memory.rows(n_columns, COPIES)), rng),
        sampled(test[dataset.labels[test] >= 0], MOST_TESTED, rng),
    )
    return np.sort(np.concatenate(parts))


def _with_fixed_penalty(
    probe: LinearProbe, weak: FloatArray | None, labels: IntArray, known: Any
) -> LinearProbe:
    """Return a teacher whose penalty is chosen once, on the labelled rows of the run."""
    if probe.l2 != "cv" or weak is None:
        return probe
    l2 = clone(probe).fit(weak[known], labels[known]).l2_
    fixed: LinearProbe = clone(probe).set_params(l2=l2)
    return fixed


def _embedded(
    run: Run, dataset: W2SDataset, name: str, rows: IntArray, compute: Compute
) -> FloatArray:
    """Return features of an encoder, which are stored in the run."""
    encoder = configured(EmbedSettings(weak=name), "weak", dataset, compute)
    folder = run.path / CELLS / "features" / sha256_json(recorded_encoder(encoder))[:12]
    encode(dataset, encoder, folder, compute, f"{name},")
    return stored_features(dataset, folder).take(rows)


def csv_of(content: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table of a figure: its points, or its pairs of models.

    >>> value = {"value": 0.5, "low": 0.4, "high": 0.6, "level": 0.95}
    >>> line = {"name": "student", "kind": "measured", "unit": "gain"}
    >>> csv_of({"table": [], "lines": [line | {"points": [{"x": 0.1, "value": value}]}]})
          line      kind  unit    x  value  low  high
    0  student  measured  gain  0.1    0.5  0.4   0.6
    """
    if content["table"]:
        return pd.DataFrame(map(_flat, content["table"]))
    return pd.DataFrame(
        ({"panel": line["panel"]} if line.get("panel") else {})
        | {
            "line": line["name"],
            "kind": line["kind"],
            "unit": line["unit"],
            "x": point["x"],
            **{side: point["value"][side] for side in ("value", "low", "high")},
        }
        for line in content["lines"]
        for point in line["points"]
    )


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose estimates are three columns each."""
    flat: dict[str, Any] = {}
    for name, entry in row.items():
        estimate = Estimate(**entry) if isinstance(entry, Mapping) else None
        flat |= {name: entry} if estimate is None else estimate.columns(name)
    return flat


def _forget_others(folder: Path) -> None:
    """Remove cells of the same figure with other settings or of other inputs."""
    over = folder.name.rpartition("-")[0]
    for other in folder.parent.glob(f"{over}-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
