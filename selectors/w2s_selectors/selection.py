"""Spend a budget on several sources of data: choose, query, judge, and choose again."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from w2s_data.data.load import W2SDataset
from w2s_data.errors import InputError, unknown
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import FloatArray, RandomState
from w2s_data.utils.validation import check_feature_block, check_generator
from w2s_selectors.objectives.base import Judgement
from w2s_selectors.objectives.screen import MINIMUM_TARGET, TARGET_ROWS
from w2s_selectors.result import SelectionResult
from w2s_selectors.session.assemble import LARGEST, Evaluate, assemble, trace_row
from w2s_selectors.session.checkpoint import Checkpoint, Record, checkpoint_in
from w2s_selectors.session.plan import identity, make_plan
from w2s_selectors.session.prepare import Preparer
from w2s_selectors.session.session import Session
from w2s_selectors.settings import SelectionSettings
from w2s_selectors.sources.base import DataSource

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
    wait: bool = True,
    evaluate: Evaluate | None = None,
    on_round: OnRound | None = None,
    max_replayed: int = LARGEST,
    progress: bool | None = None,
    random_state: RandomState = None,
    **keywords: Any,
) -> SelectionResult:
    """Decide round by round which source to query next, within a budget.

    Every round queries one source for a batch, computes the missing strong features and weak
    probabilities, and judges all sources on everything acquired so far. The bandit over sources is
    that of Shin, Cooper, Sala (ICLR 2025, section 4). After an error, items acquired until then
    stay in the checkpoint.

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
        that were paid for are lost if the program ends early. One process at a time uses it. A
        query whose answer had not come when a process was killed is repeated under the same
        `request`; a source that cannot recognise it may charge for it again.
    resume : bool
        Resume if the folder holds this selection; else refuse the folder.
    wait : bool
        Wait while another process uses the folder; else raise BusyError.
    evaluate : function of (strong features (n, D), weak probabilities (n, C)), optional
        A further number to compare choices by, such as the accuracy of a student; higher is
        better.
    on_round : function of (a row of the trace as a dict, Judgement or None), optional
    max_replayed : int
        Acquired items beyond which nothing is replayed, since every replay holds as many.
    progress : bool, optional
        Show a progress bar; by default on a terminal.
    random_state : int, Generator or None
    **keywords
        Fields of `SelectionSettings`; with `settings` as well, they replace its fields.

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
    valid = [field.name for field in fields(SelectionSettings)]
    for name in keywords:
        if name not in valid:
            raise InputError(unknown("setting", name, valid))
    settings = replace(settings, **keywords) if settings else SelectionSettings(**keywords)
    plan = make_plan(sources, settings, _target_rows(target, strong_encoder))
    seed = int(check_generator(random_state).integers(2**62))
    same = identity(plan, strong_encoder, random_state)
    kept: AbstractContextManager[Checkpoint | None] = nullcontext()
    if checkpoint is not None:
        kept = checkpoint_in(Path(checkpoint), same, seed, resume=resume, wait=wait)
    with kept as store:
        folder = None if store is None else store.folder / "features"
        # The seed of the first start, or the trace would not be the same.
        seed = seed if store is None else store.seed
        session = Session(plan, Preparer(strong_encoder, weak_model, folder), store, seed)
        ended = _run(session, progress, on_round)
    return assemble(plan, session, ended, evaluate, max_replayed)


def _run(session: Session, progress: bool | None, on_round: OnRound | None) -> str:
    """Resume and run a session under a bar; return why it ended."""
    budget = math.floor(session.plan.settings.budget)
    session.restore()
    with progress_bar("select", total=budget, enabled=progress) as advance:
        advance(math.floor(session.spent))

        def after(record: Record, judgement: Judgement | None) -> None:
            # Whole units on the bar; rounded sums, so that costs below 1 add up.
            advance(math.floor(record.spent) - math.floor(record.spent - record.cost))
            if on_round is not None:
                on_round(trace_row(session.plan, record), judgement)

        return session.run(after)


def _target_rows(target: Any, strong_encoder: Any) -> FloatArray | None:
    """Return strong features of the target; of a large one, of rows spread evenly over it."""
    if target is None:
        return None
    if isinstance(target, W2SDataset):
        # Selecting for the teacher's own rows cost 11 points in the worst run measured.
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
    # Evenly, not at random: without a seed the same rows, and no block of a sorted file.
    picked = np.unique(np.linspace(0, n - 1, min(n, TARGET_ROWS)).astype(np.int64))
    rows = matrix.take(picked)
    check_feature_block(rows, picked, "target", nonzero=False)
    return rows
