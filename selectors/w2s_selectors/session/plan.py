"""The plan of a selection: its sources and settings, checked against each other."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.encoders import Encoder
from w2s_data.errors import InputError, listing, unknown
from w2s_data.utils.typing import FloatArray, RandomState
from w2s_selectors.objectives.base import Objective, Task
from w2s_selectors.objectives.registry import make_objective
from w2s_selectors.policies.policy import Policy
from w2s_selectors.policies.registry import make_policy
from w2s_selectors.settings import SelectionSettings
from w2s_selectors.sources.base import DataSource, ReplayableSource, check_cost

SLACK = 1e-9  # of the budget: sums of costs are rounded


@dataclass(frozen=True, eq=False)
class Plan:
    """Sources, settings and target of a selection, checked against each other."""

    sources: tuple[DataSource, ...]
    settings: SelectionSettings
    objective: Objective
    policy: Policy
    keep: frozenset[int]
    stop: frozenset[int]
    target: FloatArray | None

    @property
    def costs(self) -> FloatArray:
        """Cost of an item of each source, (K,)."""
        return np.array([source.cost for source in self.sources], dtype=np.float64)

    @property
    def units(self) -> FloatArray:
        """Share of the budget that an item of each source takes, (K,)."""
        return self.costs if self.settings.budget_unit == "money" else np.ones(len(self.sources))

    def task(self, seed: int) -> Task:
        """Return the plan as an objective sees it."""
        names = tuple(source.name for source in self.sources)
        size = self.settings.batch_size
        return Task(self.costs, size, self.target, seed, self.keep, self.stop, names)


def make_plan(
    sources: Sequence[DataSource], settings: SelectionSettings, target: FloatArray | None
) -> Plan:
    """Check sources, settings and target against each other, and number the named sources."""
    objective = make_objective(settings.objective, 0 if target is None else len(target))
    plan = Plan(
        sources=_check_sources(sources),
        settings=settings,
        objective=objective,
        policy=make_policy(objective.policy if settings.policy == "auto" else settings.policy),
        keep=_numbers("keep", settings.keep, sources),
        stop=_numbers("stop", settings.stop, sources),
        target=target,
    )
    _check_budget(plan)
    return plan


def identity(plan: Plan, strong_encoder: Any, random_state: RandomState) -> dict[str, Any]:
    """Return what must be equal for a resumed selection to be the same one.

    Limits, and what the user overrules by `keep` and `stop`, may change in between.
    """
    target = plan.target
    return {
        "sources": [
            {
                "name": source.name,
                "cost": source.cost,
                "size": source.size,
                # A function has no content to compare; its name and cost have to do.
                "content": source.fingerprint if isinstance(source, ReplayableSource) else None,
            }
            for source in plan.sources
        ],
        "objective": repr(plan.objective),
        "policy": repr(plan.policy),
        "batch_size": plan.settings.batch_size,
        "budget_unit": plan.settings.budget_unit,
        # By their content: row numbers or names would not notice that the target has changed.
        "target": None if target is None else hashlib.sha256(target.tobytes()).hexdigest(),
        "strong_encoder": strong_encoder.spec() if isinstance(strong_encoder, Encoder) else None,
        # A Generator is spent by the first run; the checkpoint's own seed replaces it.
        "random_state": random_state if isinstance(random_state, int) else None,
    }


def _check_sources(sources: Sequence[DataSource]) -> tuple[DataSource, ...]:
    """Refuse objects that are not sources, equal names, bad costs, and empty sources."""
    listed = tuple(sources)
    if not listed:
        raise InputError("there is no source to select from")
    for source in listed:
        if not isinstance(source, DataSource):
            raise InputError(
                f"a source must have name, cost, size, open and query; got {source!r:.80}"
            )
        check_cost(source.name, source.cost)
        # An empty source would end the warm-up without a point to judge it by.
        if source.size is not None and source.size < 1:
            raise InputError(f"source {source.name!r} is empty; leave it out")
    names = [source.name for source in listed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"source names must differ; there are several named {listing(twice)}")
    return listed


def _check_budget(plan: Plan) -> None:
    """Refuse a budget that does not pay one batch from every source, and a choice of no source."""
    asked = [k for k in range(len(plan.sources)) if k not in plan.stop]
    if not asked:
        raise InputError("stop names every source: there is nothing to select from")
    both = plan.keep & plan.stop
    if both:
        names = [plan.sources[k].name for k in sorted(both)]
        raise InputError(f"keep and stop both name {listing(names)}")
    budget, size = plan.settings.budget, plan.settings.batch_size
    # A source that was never queried cannot be judged: every one must get a batch.
    needed = sum(plan.units[k] * min(size, plan.sources[k].size or size) for k in asked)
    if needed > budget + SLACK:
        unit = "in money" if plan.settings.budget_unit == "money" else "items"
        fitting = int(budget // plan.units[asked].sum())
        advice = f"lower batch_size to {fitting}" if fitting else "name some sources in stop"
        raise InputError(
            f"a budget of {budget:g} {unit} does not pay one batch of {size} from each of "
            f"{len(asked)} sources ({needed:g} {unit}); raise the budget, or {advice}"
        )


def _numbers(what: str, names: Collection[str], sources: Sequence[DataSource]) -> frozenset[int]:
    """Return the numbers of the named sources."""
    known = [source.name for source in sources]
    for name in names:
        if name not in known:
            raise InputError(f"{what}: {unknown('source', str(name), known)}")
    return frozenset(known.index(name) for name in names)
