"""Spend a budget on several sources of data: choose, query, judge, and choose again."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from w2s_data.data.load import W2SDataset
from w2s_data.encoders import Encoder
from w2s_data.errors import InputError, listing, unknown
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import FloatArray, RandomState
from w2s_data.utils.validation import check_feature_block, check_generator
from w2s_selectors.objectives.base import MINIMUM_TARGET, Custom, Objective, objective_from_name
from w2s_selectors.objectives.judgement import Judgement
from w2s_selectors.objectives.judges import TARGET_ROWS
from w2s_selectors.policies import policy_from_name
from w2s_selectors.result import SelectionResult
from w2s_selectors.session.assemble import assemble, trace_row
from w2s_selectors.session.checkpoint import Checkpoint, Record
from w2s_selectors.session.features import Preparer
from w2s_selectors.session.replay import Evaluate
from w2s_selectors.session.session import SLACK, Plan, Session
from w2s_selectors.settings import SelectionSettings
from w2s_selectors.sources.base import DataSource, ReplayableSource
from w2s_selectors.sources.batch import check_cost

OnRound = Callable[[dict[str, Any], Judgement | None], None]


def select_sources(
    sources: Sequence[DataSource],
    settings: SelectionSettings | None = None,
    *,
    target: Any = None,
    strong_encoder: Any = None,
    weak_model: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
    evaluate: Evaluate | None = None,
    on_round: OnRound | None = None,
    progress: bool | None = None,
    random_state: RandomState = None,
    **keywords: Any,
) -> SelectionResult:
    """Decide round by round which source to query next, within a budget.

    Every round queries one source for a batch, computes the missing strong features and weak
    probabilities, and judges all sources on everything acquired so far.

    Parameters
    ----------
    sources : sequence of K `DataSource`
    settings : SelectionSettings, optional
    target : float array (n, D), `FeatureMatrix`, `W2SDataset` or sequence of items, optional
        Unlabelled items like those that the student will meet: strong features, or items that
        `strong_encoder` encodes. Not the rows that the teacher was trained on.
    strong_encoder : Encoder or function of items, optional
        Where sources bring no strong features; an encoder goes through the feature store.
    weak_model : function of items, or object with `predict_proba`, optional
        Where sources bring no weak probabilities.
    checkpoint : path, optional
        Folder from which a killed selection resumes, with the same trace. Without one, items
        that were paid for are lost if the program ends early.
    resume : bool
        Resume if the folder holds this selection; else refuse the folder.
    evaluate : function of (strong features (n, D), weak probabilities (n, C)), optional
        A further number to compare choices by, such as the accuracy of a student; higher is
        better.
    on_round : function of (a row of the trace as a dict, Judgement or None), optional
    progress : bool, optional
        Show a progress bar; by default on a terminal.
    random_state : int, Generator or None
    **keywords
        Fields of `SelectionSettings`; with `settings` as well, they replace its fields.

    Returns
    -------
    SelectionResult

    Raises
    ------
    InputError
        For anything that cannot be used; items acquired until then stay in the checkpoint.

    References
    ----------
    Shin, Cooper, Sala, *Weak-to-Strong Generalization Through the Data-Centric Lens*, ICLR 2025,
    section 4, for the bandit over sources.

    Examples
    --------
    >>> from w2s_data.data.examples import gaussian_overlap
    >>> from w2s_selectors import TableSource
    >>> example = gaussian_overlap(600, sources={"web": 0.1, "crowd": 0.6})
    >>> sources = TableSource.from_dataset(
    ...     example.dataset, strong_features=example.strong_features
    ... )
    >>> result = select_sources(sources, budget=240, batch_size=20, objective="overlap",
    ...                         random_state=0)
    >>> result.sources[["source", "items"]].to_dict("list")
    {'source': ['crowd', 'web'], 'items': [150, 90]}
    """
    settings = replace(settings, **keywords) if settings else SelectionSettings(**keywords)
    plan = _plan(sources, settings, _target_rows(target, strong_encoder))
    seed = int(check_generator(random_state).integers(2**62))
    store = None
    if checkpoint is not None:
        identity = _identity(plan, strong_encoder, random_state)
        store = Checkpoint(Path(checkpoint), identity, seed, resume)
        seed = store.seed
    folder = None if store is None else store.folder / "features"
    session = Session(plan, Preparer(strong_encoder, weak_model, folder), store, seed)
    session.restore()
    with progress_bar("select", total=math.floor(settings.budget), enabled=progress) as advance:
        advance(math.floor(session.spent))

        def after(record: Record, judgement: Judgement | None) -> None:
            advance(math.floor(record.spent) - math.floor(record.spent - record.cost))
            if on_round is not None:
                on_round(trace_row(plan, record), judgement)

        ended = session.run(after)
    return assemble(plan, session, ended, evaluate)


def _plan(
    sources: Sequence[DataSource], settings: SelectionSettings, target: FloatArray | None
) -> Plan:
    """Check the sources and the settings against each other."""
    objective = objective_from_name(settings.objective, 0 if target is None else len(target))
    plan = Plan(
        sources=_check_sources(sources),
        settings=settings,
        objective=objective,
        policy=policy_from_name(objective.policy if settings.policy == "auto" else settings.policy),
        keep=_numbers("keep", settings.keep, sources),
        stop=_numbers("stop", settings.stop, sources),
        target=target,
    )
    _check_budget(plan)
    return plan


def _check_sources(sources: Sequence[DataSource]) -> tuple[DataSource, ...]:
    """Refuse what is no source, two of the same name, bad costs, and sources without an item."""
    listed = tuple(sources)
    if not listed:
        raise InputError("there is no source to select from")
    for source in listed:
        if not isinstance(source, DataSource):
            raise InputError(
                f"a source must have name, cost, size, open and query; got {source!r:.80}"
            )
        check_cost(source.name, source.cost)
        if source.size is not None and source.size < 1:
            raise InputError(f"source {source.name!r} is empty; leave it out")
    names = [source.name for source in listed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"source names must differ; there are several named {listing(twice)}")
    return listed


def _check_budget(plan: Plan) -> None:
    """Refuse a budget that cannot ask every source once, and a choice of no source."""
    asked = [k for k in range(len(plan.sources)) if k not in plan.stop]
    if not asked:
        raise InputError("stop names every source: there is nothing to select from")
    both = plan.keep & plan.stop
    if both:
        names = [plan.sources[k].name for k in sorted(both)]
        raise InputError(f"keep and stop both name {listing(names)}")
    budget, size = plan.settings.budget, plan.settings.batch_size
    needed = sum(plan.units[k] * min(size, plan.sources[k].size or size) for k in asked)
    if needed > budget + SLACK:
        unit = "in money" if plan.in_money else "items"
        fitting = int(budget // plan.units[asked].sum())
        advice = f"lower batch_size to {fitting}" if fitting else "name some sources in stop"
        raise InputError(
            f"a budget of {budget:g} {unit} does not pay one batch of {size} from each of "
            f"{len(asked)} sources ({needed:g} {unit}); raise the budget, or {advice}"
        )


def _target_rows(target: Any, strong_encoder: Any) -> FloatArray | None:
    """Strong features of the target; of a large one a sample spread over its rows."""
    if target is None:
        return None
    if isinstance(target, W2SDataset):
        labelled = int((target.splits == "labelled").sum())
        if labelled:
            raise InputError(
                f"{labelled} rows of the target are in the labelled split: the teacher was trained "
                "on them, so they do not stand for new data; give the rows of another split"
            )
        target = target.items
    is_rows = isinstance(target, FeatureMatrix | np.ndarray) or hasattr(target, "__array__")
    if not is_rows and strong_encoder is not None:
        target = Preparer(strong_encoder, None, None).strong_features("target", tuple(target))
    matrix = as_feature_matrix(target, "target")
    n = matrix.shape[0]
    if n < 2:
        raise InputError(f"a target needs {MINIMUM_TARGET} items or more; got {n}")
    picked = np.unique(np.linspace(0, n - 1, min(n, TARGET_ROWS)).astype(np.int64))
    rows = matrix.take(picked)
    check_feature_block(rows, picked, "target", nonzero=False)
    return rows


def _identity(plan: Plan, strong_encoder: Any, random_state: RandomState) -> dict[str, Any]:
    """What makes a selection the same one; limits and what the user overrules may change."""
    target = plan.target
    return {
        "sources": [
            {
                "name": source.name,
                "cost": source.cost,
                "size": source.size,
                "content": source.fingerprint if isinstance(source, ReplayableSource) else None,
            }
            for source in plan.sources
        ],
        "objective": _said(plan.objective),
        "policy": repr(plan.policy),
        "batch_size": plan.settings.batch_size,
        "budget_unit": plan.settings.budget_unit,
        "target": None if target is None else hashlib.sha256(target.tobytes()).hexdigest(),
        "strong_encoder": strong_encoder.spec() if isinstance(strong_encoder, Encoder) else None,
        "random_state": random_state if isinstance(random_state, int) else None,
    }


def _said(objective: Objective) -> str:
    """An objective in words that are the same in the next process."""
    if isinstance(objective, Custom):
        return f"custom {getattr(objective.function, '__qualname__', 'function')}"
    return repr(objective)


def _numbers(what: str, names: Collection[str], sources: Sequence[DataSource]) -> frozenset[int]:
    known = [source.name for source in sources]
    for name in names:
        if name not in known:
            raise InputError(f"{what}: {unknown('source', str(name), known)}")
    return frozenset(known.index(name) for name in names)
