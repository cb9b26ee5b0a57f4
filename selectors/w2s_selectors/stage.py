"""Selection over a run: its sources are asked as if their items still had to be bought."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.load import W2SDataset
from w2s_data.data.regions import Region
from w2s_data.errors import InputError, NotApplicableError, unknown
from w2s_data.features.matrix import FeatureMatrix, FeatureView, sampled
from w2s_data.probes.linear import LinearProbe
from w2s_data.run import Run
from w2s_data.stages import weak_proba_of
from w2s_data.stages.graph import BASELINES, OVERLAP, SCORES, SELECT, SELECTION, TRACE, check_scored
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.io import jsonable, sha256_json
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_selectors.objectives.base import Judgement
from w2s_selectors.objectives.screen import MINIMUM_TARGET
from w2s_selectors.result import SelectionResult
from w2s_selectors.selection import select_sources
from w2s_selectors.settings import SelectionSettings
from w2s_selectors.simulation.progress import final_progress, measure_progress
from w2s_selectors.sources.table import TableSource

logger = logging.getLogger("w2s_selectors")

TARGETS = ("validation", "test")
FEWEST_TESTED = 50  # gold labels for which an accuracy is worth comparing
MOST_TESTED = 20_000  # a random part of more: an accuracy is then right to .004
Posterior = dict[str, Estimate]  # source -> reward


@dataclass(frozen=True, kw_only=True)
class StageSettings(SelectionSettings):
    """Settings of a selection over a run.

    Parameters
    ----------
    costs : mapping, optional
        Cost per item by source; 1 where it is not given.
    target : "auto", "none", "validation" or "test"
        Split whose items, without their labels, stand for those that the student will meet;
        "auto" is validation where it has 200 items.
    """

    costs: Mapping[str, float] | None = None
    target: str = "auto"


def select_stage(
    run: Run,
    dataset: W2SDataset,
    strong: FeatureMatrix,
    settings: StageSettings,
    *,
    restart: bool = False,
    on_round: Callable[[dict[str, Any], Posterior], None] | None = None,
    show_progress: bool | None = None,
) -> StageResult:
    """Select among the sources of the run's pool, and write `selection.parquet` and `.json`.

    What random and round-robin choice would have brought, by round, is in `baselines.parquet`. The
    checkpoint is in the run, so that a killed selection goes on; a larger budget goes on from
    where a smaller one ended.

    Parameters
    ----------
    restart : bool
        Forget an earlier selection with these settings.
    on_round : function of (a row of the trace, what is believed of the sources), optional

    Returns
    -------
    StageResult
        The content of `selection.json`.

    Raises
    ------
    RunError
        If the run was not scored.
    NotApplicableError
        If there are fewer than two sources.
    InputError
        For settings that `select_sources` refuses.
    """
    check_scored(run)
    recorded = {**asdict(settings), "policy": repr(settings.policy), "seed": run.seed}
    folder = run.path / "selection" / sha256_json({**recorded, "budget": None})[:12]
    if restart and folder.is_dir():
        shutil.rmtree(folder)
    elif (earlier := run.earlier(SELECT, recorded)) is not None:
        return earlier
    sources = TableSource.from_dataset(
        dataset,
        costs=settings.costs,
        strong_features=strong,
        weak_proba=weak_proba_of(run, dataset),
        random_state=run.seed,
    )
    names = [source.name for source in sources]
    if len(names) == 1:
        raise NotApplicableError(
            f"a selection is between sources, and all items of the pool are from {names[0]!r}"
        )

    def after(row: dict[str, Any], judgement: Judgement | None) -> None:
        if on_round is not None and judgement is not None:
            on_round(row, {name: judgement.estimate(k) for k, name in enumerate(names)})

    target = target_rows(dataset, settings.target)
    with run.stage(SELECT, recorded) as stage:
        result = select_sources(
            sources,
            settings,
            target=FeatureView(strong, target) if len(target) else None,
            checkpoint=folder,
            evaluate=student_accuracy(dataset, strong),
            on_round=after,
            progress=show_progress,
            random_state=run.seed,
        )
        stage.write_table(TRACE, result.to_frame(ids=True))
        summary = result.to_dict()
        progress = _progress(run, dataset, result)
        if progress is not None:
            stage.write_table(BASELINES, progress)
            final = jsonable(final_progress(progress, result.level))
            summary["baselines"] = [row | final[row["strategy"]] for row in summary["baselines"]]
        stage.write_summary(SELECTION, summary)
    return StageResult(run.read(SELECT))


def _progress(run: Run, dataset: W2SDataset, result: SelectionResult) -> pd.DataFrame | None:
    """Overlap and regret of every run by round, as the pool was scored.

    None if nothing was replayed, or the density of the pool is undefined.
    """
    parted = run.read_summary(OVERLAP)["density"]["value"] is not None
    if result.replayed is None or dataset.sources is None or not parted:
        return None
    rows = dataset.rows("pool")
    region = run.read_table(SCORES)["region"].to_numpy()[rows]
    is_overlap = region == Region.OVERLAP.label
    names = [str(name) for name in dataset.sources[rows]]
    density = pd.Series(is_overlap).groupby(names).mean()
    sources = result.sources.assign(density=density.loc[result.sources["source"]].to_numpy())
    overlap = dict(zip(dataset.ids[rows].astype(str), is_overlap.tolist(), strict=True))
    return measure_progress(result.replayed, sources, result.sizes, overlap)


def target_rows(dataset: W2SDataset, target: str) -> IntArray:
    """Rows that stand for what the student will meet; none where there is no target.

    Raises
    ------
    InputError
        For the labelled split, on which the teacher was trained, and for an empty one.
    """
    if target == "none":
        return np.empty(0, dtype=np.int64)
    if target == "auto":
        rows = dataset.rows("validation")
        return rows if len(rows) >= MINIMUM_TARGET else np.empty(0, dtype=np.int64)
    if target not in TARGETS:
        raise InputError(unknown("target", target, ("auto", "none", *TARGETS)))
    rows = dataset.rows(target)
    if len(rows) < MINIMUM_TARGET:
        raise InputError(
            f"a target needs {MINIMUM_TARGET} items or more; the {target} split has {len(rows)}"
        )
    return rows


def student_accuracy(
    dataset: W2SDataset, strong: FeatureMatrix
) -> Callable[[FloatArray, FloatArray], float] | None:
    """Accuracy on the test split of a probe trained on weak labels; None with few gold labels.

    Of more than 20,000 test items a random 20,000 are looked at. It compares what was chosen with
    the baselines, and chooses nothing.
    """
    rows = dataset.rows("test")
    rows = rows[dataset.labels[rows] >= 0]
    if len(rows) < FEWEST_TESTED:
        return None
    rows = sampled(rows, MOST_TESTED, np.random.default_rng(0))
    features, labels = strong.take(rows), dataset.labels[rows]

    def accuracy(chosen: FloatArray, weak_proba: FloatArray) -> float:
        weak = weak_proba.argmax(axis=1)
        if (weak == weak[0]).all():
            return float((labels == weak[0]).mean())
        student = LinearProbe().fit(chosen, weak)
        return float((student.predict(features) == labels).mean())

    return accuracy
