"""Spend a budget on several sources of data: choose, query, judge, and choose again."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

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
from w2s_selectors.policies import Policy, policy_from_name
from w2s_selectors.result import SelectionResult
from w2s_selectors.session.assemble import assemble, trace_row
from w2s_selectors.session.checkpoint import Checkpoint, Record
from w2s_selectors.session.features import Preparer
from w2s_selectors.session.replay import Evaluate
from w2s_selectors.session.session import Plan, Session
from w2s_selectors.sources.base import DataSource, ReplayableSource
from w2s_selectors.sources.batch import check_cost

OnRound = Callable[[dict[str, Any], Judgement | None], None]


def select_sources(
    sources: Sequence[DataSource],
    *,
    budget: float,
    budget_unit: Literal["items", "money"] = "items",
    batch_size: int = 50,
    objective: str | Objective | Callable[..., Any] = "auto",
    policy: str | Policy = "auto",
    target: Any = None,
    strong_encoder: Any = None,
    weak_model: Any = None,
    keep: Collection[str] = (),
    stop: Collection[str] = (),
    max_rounds: int | None = None,
    max_seconds: float | None = None,
    separation: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
    replays: int = 5,
    evaluate: Evaluate | None = None,
    on_round: OnRound | None = None,
    progress: bool | None = None,
    random_state: RandomState = None,
) -> SelectionResult:
    """Decide round by round which source to query next, within a budget.

    Every round asks one source for a batch, computes what is missing of its strong features and
    weak probabilities, and judges all sources anew on everything acquired.

    Parameters
    ----------
    sources : sequence of K `DataSource`
    budget : float
        In items, or in the unit of the sources' costs. Delivered items count, kept or not.
    batch_size : int
        Items asked for in a round.
    objective : "auto", "screen_match", "screen", "overlap", `Objective` or function
        "auto" is `ScreenMatch` with a target of 200 items or more, else `Screen`.
    policy : "auto", name or `Policy`
        Weighs exploration where points are counted, and decides among equals. "auto" takes the
        objective's: Thompson sampling for `Overlap`, turns for the others.
    target : float array (n, D), `FeatureMatrix`, `W2SDataset` or sequence of items, optional
        Unlabelled items like those that the student will meet: strong features, or items that
        `strong_encoder` encodes. Not the rows that the teacher was trained on.
    strong_encoder : Encoder or function of items, optional
        Where sources bring no strong features; an encoder goes through the feature store.
    weak_model : function of items, or object with `predict_proba`, optional
        Where sources bring no weak probabilities.
    keep, stop : collections of str
        Names of sources that the objective may not stop; that are not asked at all.
    max_rounds, max_seconds : optional
        Further limits.
    separation : float, optional
        Stop when a source has the highest reward with at least this probability.
    checkpoint : path, optional
        Folder that a killed selection goes on from, with the same trace. Without one, what was
        paid for is lost if the program ends early.
    resume : bool
        Go on if the folder holds this selection.
    replays : int
        Runs of random and of round-robin choice to compare with, where sources can be replayed.
    evaluate : function of (strong features (n, D), weak probabilities (n, C)), optional
        A number to compare them by as well, such as the accuracy of a student; higher is better.
    on_round : function of (a row of the trace as a dict, Judgement or None), optional
    random_state : int, Generator or None

    Returns
    -------
    SelectionResult

    Raises
    ------
    InputError
        For anything that cannot be used; what was acquired until then stays in the checkpoint.

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
    rows = _target_rows(target, strong_encoder)
    chosen = objective_from_name(objective, 0 if rows is None else len(rows))
    plan = Plan(
        sources=_check_sources(sources),
        objective=chosen,
        policy=policy_from_name(chosen.policy if policy == "auto" else policy),
        budget=_positive("budget", budget),
        in_money=_one_of("budget_unit", budget_unit, ("items", "money")) == "money",
        batch_size=_whole("batch_size", batch_size),
        max_rounds=np.inf if max_rounds is None else _whole("max_rounds", max_rounds),
        max_seconds=np.inf if max_seconds is None else _positive("max_seconds", max_seconds),
        separation=1.0 if separation is None else _positive("separation", separation),
        keep=_numbers("keep", keep, sources),
        stop=_numbers("stop", stop, sources),
        target=rows,
    )
    _check_budget(plan)
    seed = int(check_generator(random_state).integers(2**62))
    store = None
    if checkpoint is not None:
        identity = _identity(plan, strong_encoder, random_state)
        store = Checkpoint(Path(checkpoint), identity, seed, resume)
        seed = store.seed
    folder = None if store is None else store.folder / "features"
    session = Session(plan, Preparer(strong_encoder, weak_model, folder), store, seed)
    session.restore()
    with progress_bar("select", total=math.floor(plan.budget), enabled=progress) as advance:
        advance(math.floor(session.spent))

        def after(record: Record, judgement: Judgement | None) -> None:
            advance(math.floor(record.spent) - math.floor(record.spent - record.cost))
            if on_round is not None:
                on_round(trace_row(plan, record), judgement)

        ended = session.run(after)
    return assemble(plan, session, ended, replays, evaluate)


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
        raise InputError("stop= names every source: there is nothing to select from")
    both = plan.keep & plan.stop
    if both:
        raise InputError(f"keep= and stop= both name {listing(_names(plan.sources, both))}")
    needed = sum(
        plan.units[k] * min(plan.batch_size, plan.sources[k].size or plan.batch_size) for k in asked
    )
    if needed > plan.budget + 1e-9:
        unit = "in money" if plan.in_money else "items"
        fitting = int(plan.budget // plan.units[asked].sum())
        smaller = f"lower the batch (--batch, batch_size) to {fitting}"
        advice = smaller if fitting else "leave sources out (--stop, stop=)"
        raise InputError(
            f"a budget of {plan.budget:g} {unit} cannot ask each of {len(asked)} sources for one "
            f"batch of {plan.batch_size} ({needed:g} {unit}): raise the budget, or {advice}"
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
        "batch_size": plan.batch_size,
        "budget_unit": "money" if plan.in_money else "items",
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
    for name in [names] if isinstance(names, str) else names:
        if name not in known:
            raise InputError(f"{what}=: {unknown('source', str(name), known)}")
    return frozenset(known.index(name) for name in ([names] if isinstance(names, str) else names))


def _names(sources: Sequence[DataSource], numbers: Collection[int]) -> list[str]:
    return [sources[k].name for k in sorted(numbers)]


def _positive(name: str, value: Any) -> float:
    if not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
        raise InputError(f"{name} must be a number above 0; got {value!r}")
    return float(value)


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be a whole number, at least 1; got {value!r}")
    return int(value)


def _one_of(name: str, value: str, valid: tuple[str, ...]) -> str:
    if value not in valid:
        raise InputError(f"{name} must be one of {listing(valid)}; got {value!r}")
    return value
