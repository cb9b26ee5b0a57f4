"""Selection over a run: its sources are asked as if their items still had to be bought."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.regions import Region
from w2s_data.errors import InputError, NotApplicableError
from w2s_data.features.matrix import FeatureMatrix, FeatureView, sampled
from w2s_data.probes.linear import LinearProbe
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import load_features, required
from w2s_data.stages.graph import (
    BASELINES,
    OVERLAP,
    POSTERIOR_SUMMARY,
    SCORES,
    SELECT,
    SELECTION,
    TRACE,
    check_scored,
)
from w2s_data.stages.room import check_room
from w2s_data.stages.settings import SelectSettings
from w2s_data.stages.teacher_store import teacher_names
from w2s_data.stages.weak_labels import weak_proba_of
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.io import jsonable
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.votes import votes
from w2s_selectors.objectives.base import Judgement
from w2s_selectors.objectives.screen import MINIMUM_TARGET
from w2s_selectors.objectives.trust import Trust
from w2s_selectors.policies.registry import make_policy
from w2s_selectors.result import SelectionResult
from w2s_selectors.selection import select_sources
from w2s_selectors.session.assemble import LARGEST
from w2s_selectors.session.plan import make_plan
from w2s_selectors.settings import SelectionSettings
from w2s_selectors.simulation.regret import final_progress, measure_progress
from w2s_selectors.sources.table import TableSource

# Settings of the stage that `select_sources` takes under the same name.
SHARED = ("batch_size", "objective", "keep", "stop", "max_seconds", "separation")
ROOM = 4 / 3  # of the buffers of acquired items, which double, over what they hold
FEWEST_TESTED = 50  # gold labels for which an accuracy is worth comparing
MOST_TESTED = 20_000  # a random part of more: an accuracy is then right to .004
Posterior = dict[str, Estimate]  # source -> reward


@writes
def select_stage(
    run: Run,
    settings: SelectSettings | None = None,
    compute: Compute | None = None,
    *,
    on_round: Callable[[dict[str, Any], Posterior], None] | None = None,
) -> StageResult:
    """Select among the sources of the run's pool, and write `selection.parquet` and `.json`.

    The results of random and round-robin choice, by round, are in `baselines.parquet`. The
    checkpoint is in the run, so that a killed selection resumes; a larger budget resumes from the
    end of a smaller one. `on_round` gets a row of the trace with the names of the sources that are
    `stopped` after it, and the estimates of the sources.
    """
    settings, compute = settings or SelectSettings(), compute or Compute(seed=run.seed)
    check_scored(run)
    dataset = run.dataset()
    _sources(dataset, settings)  # raises where there is no choice, whatever the budget
    chosen = _selection(settings, _budget(dataset, settings))
    recorded = {
        **asdict(chosen),
        "policy": repr(chosen.policy),
        "costs": settings.costs,
        "target": settings.target,
        "seed": compute.seed,
    }
    # A larger budget resumes; other labels, features or trust are another selection.
    folder = run.path / "selection" / run.key(SELECT, {**recorded, "budget": None})[:12]
    if settings.restart and folder.is_dir():
        shutil.rmtree(folder)
    elif (earlier := run.earlier(SELECT, recorded)) is not None:
        return earlier
    check_room(SELECT, dataset, compute.memory, teachers=len(teacher_names(run)))
    strong = required(load_features(run, compute), "strong")
    sources = _sources(
        dataset,
        settings,
        strong_features=strong,
        weak_proba=weak_proba_of(run, dataset),
        trust=_trust(run, dataset) if settings.objective == Trust.name else None,
        random_state=compute.seed,
    )
    names = [source.name for source in sources]

    def after(row: dict[str, Any], judgement: Judgement | None) -> None:
        if on_round is not None and judgement is not None:
            stopped = [name for k, name in enumerate(names) if k in judgement.stopped]
            row |= {"stopped": [name for name in stopped if name not in chosen.keep]}
            on_round(row, {name: judgement.estimate(k) for k, name in enumerate(names)})

    target = _target_rows(dataset, settings.target)
    with run.stage(SELECT, recorded) as stage:
        result = select_sources(
            sources,
            chosen,
            target=FeatureView(strong, target) if len(target) else None,
            checkpoint=folder,
            wait=run.wait,
            evaluate=_student_accuracy(dataset, strong),
            on_round=after,
            max_replayed=_most_replayed(compute.memory, strong.shape[1], chosen.replays),
            # No bar where each round is reported on a line of its own.
            progress=False if on_round else compute.progress,
            random_state=compute.seed,
        )
        stage.write_table(TRACE, result.to_frame(ids=True))
        summary = result.to_dict()
        progress = _progress(run, dataset, result)
        if progress is not None:
            stage.write_table(BASELINES, progress)
            final = jsonable(final_progress(progress, result.level))
            rows = summary["baselines"]
            # Overlap and regret of all that was bought differ from the choice by what is set aside.
            summary["baselines"] = [row | final.get(row["strategy"], {}) for row in rows]
        stage.write_summary(SELECTION, summary)
    return StageResult(run.read(SELECT))


def _trust(run: Run, dataset: W2SDataset) -> FloatArray:
    """Return the trust of each item, as the label posterior of the scores has it."""
    trust = run.read_table(SCORES, per_item=True)["trust"].to_numpy(np.float64)
    if np.isnan(trust[dataset.rows("pool")]).all():
        reason = run.read_summary(POSTERIOR_SUMMARY)["unknown"]
        raise NotApplicableError(f"objective 'trust' requires the trust of each item, and {reason}")
    return trust


def check_select(settings: SelectSettings, known: Known) -> None:
    """Raise for settings that do not fit each other or, once these are known, the sources."""
    if known.dataset is None:
        if settings.budget is None and settings.unit != "items":
            raise InputError(f"unit {settings.unit!r} requires budget")
        _selection(settings, 1.0 if settings.budget is None else settings.budget)
        return
    sources = _sources(known.dataset, settings)
    # Only the size of the target counts here; its features are not there yet.
    n_target = len(_target_rows(known.dataset, settings.target))
    # The names first: all items are budget enough, and the usual one may be too small.
    whole = float(len(known.dataset)) if settings.budget is None else settings.budget
    make_plan(sources, _selection(settings, whole), np.empty((n_target, 0)) if n_target else None)
    _budget(known.dataset, settings)


def _sources(dataset: W2SDataset, settings: SelectSettings, **features: Any) -> list[TableSource]:
    sources = TableSource.from_dataset(dataset, costs=settings.costs, **features)
    if len(sources) == 1:
        raise NotApplicableError(
            "a selection is between sources, and all items of the pool are from "
            f"{sources[0].name!r}"
        )
    return sources


def _budget(dataset: W2SDataset, settings: SelectSettings) -> float:
    return _quarter(dataset, settings) if settings.budget is None else settings.budget


def _selection(settings: SelectSettings, budget: float) -> SelectionSettings:
    """Return the settings of `select_sources`; a policy by its name becomes the policy itself."""
    policy = settings.policy
    return SelectionSettings(
        budget=budget,
        budget_unit=settings.unit,
        policy=policy if policy == "auto" else make_policy(policy),
        **{name: getattr(settings, name) for name in SHARED},
    )


def _quarter(dataset: W2SDataset, settings: SelectSettings) -> float:
    """Return a quarter of the pool, where that is enough to ask every source once."""
    if settings.unit != "items":
        raise InputError(f"unit {settings.unit!r} requires budget")
    pool = dataset.rows("pool")
    quarter = len(pool) // 4
    n_sources = 0 if dataset.sources is None else len(set(dataset.sources[pool].tolist()))
    if quarter < settings.batch_size * n_sources:
        raise NotApplicableError(
            f"a quarter of the pool is {quarter:,} items, too few to ask {n_sources} sources for "
            f"{settings.batch_size} each: give a budget or a smaller batch_size"
        )
    return float(quarter)


def _most_replayed(memory: MemoryLimit, n_columns: int, replays: int) -> int:
    """Return the items of which a choice and its replays fit into half of the free memory."""
    sets = ROOM * (2 + 2 * replays)  # what was bought, what is left of it, and the replays
    return min(LARGEST, int(memory.free / 2 / (sets * 4 * n_columns)))


def _progress(run: Run, dataset: W2SDataset, result: SelectionResult) -> pd.DataFrame | None:
    """Measure overlap and regret of every run by round, as the pool was scored.

    None if nothing was replayed, or the density of the pool is undefined.
    """
    defined = run.read_summary(OVERLAP)["density"]["value"] is not None
    if result.replayed is None or dataset.sources is None or not defined:
        return None
    rows = dataset.rows("pool")
    region = run.read_table(SCORES, per_item=True)["region"].to_numpy()[rows]
    is_overlap = region == Region.OVERLAP.label
    names = [str(name) for name in dataset.sources[rows]]
    density = pd.Series(is_overlap).groupby(names).mean()
    sources = result.sources.assign(density=density.loc[result.sources["source"]].to_numpy())
    overlap = dict(zip(dataset.ids[rows].astype(str), is_overlap.tolist(), strict=True))
    return measure_progress(result.replayed, sources, result.sizes, overlap)


def _target_rows(dataset: W2SDataset, target: str) -> IntArray:
    """Return the rows that stand for those the student will meet; none without a target."""
    nothing = np.empty(0, dtype=np.int64)
    if target == "none":
        return nothing
    rows = dataset.rows("validation" if target == "auto" else target)
    if len(rows) >= MINIMUM_TARGET:
        return rows
    if target == "auto":
        return nothing
    raise InputError(
        f"a target needs {MINIMUM_TARGET} items or more; the {target} split has {len(rows)}"
    )


def _student_accuracy(
    dataset: W2SDataset, strong: FeatureMatrix
) -> Callable[[FloatArray, FloatArray], float] | None:
    """Make a function that tests a probe trained on weak labels; None with few gold labels.

    Test items are a random 20,000 where there are more. It compares what was chosen with the
    baselines, and chooses nothing.
    """
    rows = dataset.rows("test")
    rows = rows[dataset.labels[rows] >= 0]
    if len(rows) < FEWEST_TESTED:
        return None
    rows = sampled(rows, MOST_TESTED, np.random.default_rng(0))
    features, labels = strong.take(rows), dataset.labels[rows]

    def accuracy(chosen: FloatArray, weak_proba: FloatArray) -> float:
        weak = votes(weak_proba)
        chosen, weak = chosen[weak >= 0], weak[weak >= 0]
        if len(weak) == 0:
            return float("nan")
        if (weak == weak[0]).all():
            return float((labels == weak[0]).mean())
        student = LinearProbe().fit(chosen, weak)
        return float((student.predict(features) == labels).mean())

    return accuracy
