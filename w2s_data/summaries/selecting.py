"""Summaries of `w2s select`, of `w2s sweep`, and of the map in `w2s report`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from w2s_data.summaries.parts import Estimate, Summary


class SelectedSource(TypedDict):
    """A source as the selection judged it in the end."""

    source: str
    """Name of the source."""
    cost: float
    """Price of one item."""
    items: int
    """Items that were acquired from it."""
    spent: float
    """Money, or items, spent on it."""
    set_aside: int
    """Items of it that are left out, since it was stopped."""
    reward: Estimate
    """Its reward, see the key `reward` of the file. Higher is better."""
    probability_best: float | None
    """Chance that it is the best source; null where it was never judged."""
    recommended: float | None
    """Items of it to buy with another budget of the same size."""
    status: Literal["open", "stopped", "gone"]
    """Whether it can still be asked, was stopped, or has nothing left."""
    reason: str
    """Why it is not open; empty where it is."""


class Baseline(TypedDict):
    """The same budget spent in one way; `_noise` is how far one more run may lie from the mean."""

    strategy: str
    """The selection (`chosen`), at `random` or in turn (`round_robin`); `all_bought` is the
    selection with the items that were set aside."""
    runs: int
    """Runs that were averaged."""
    value: Estimate
    """Value of the items by the objective. Higher is better."""
    value_noise: float | None
    """Its noise; null with one run."""
    overlap: NotRequired[Estimate]
    """Overlap points among the items. Higher is better. Missing where regions are undefined, and of
    `all_bought`."""
    overlap_noise: NotRequired[float | None]
    """Its noise; null with one run."""
    regret: NotRequired[Estimate]
    """Overlap points lost against the best source. Lower is better. Missing likewise."""
    regret_noise: NotRequired[float | None]
    """Its noise; null with one run."""
    evaluated: NotRequired[Estimate]
    """Accuracy on the test rows of a probe trained on the items. Higher is better. Missing with few
    gold test rows."""
    evaluated_noise: NotRequired[float | None]
    """Its noise; null with one run."""


class Regret(TypedDict):
    """Overlap points lost against always choosing the best source."""

    kind: Literal["known", "estimated", "undefined"]
    """Compared with given densities, or with the selection's own last estimates; undefined where a
    reward is not a density."""
    cumulative: float | None
    """Points lost over all rounds. Lower is better. Null where it is undefined."""
    bound: float | None
    """Upper bound of what is expected; null where none is proven."""
    simple: float | None
    """Density of the best source minus that of the recommended one. Lower is better."""
    reason: str
    """Why a number is null, or the source of the bound."""


class SelectionSummary(Summary):
    """Sources that the next items should come from."""

    objective: str
    """Objective of the selection, such as `screen` or `overlap`."""
    reward: str
    """Meaning of a reward, in words."""
    budget: float
    """Budget, in `budget_unit`."""
    budget_unit: Literal["items", "money"]
    """Unit of the budget."""
    spent: float
    """How much of it was spent."""
    ended: str
    """The rule that ended the selection."""
    level: float
    """Coverage of every interval, such as .95."""
    policy: str
    """The policy that chose."""
    rounds: int
    """Rounds of buying."""
    items: int
    """Items that were acquired."""
    set_aside: int
    """Items of stopped sources, which are left out."""
    sources: list[SelectedSource]
    """One record per source."""
    stopped: dict[str, str]
    """Stopped sources, and the evidence."""
    baselines: list[Baseline] | None
    """The same budget spent in other ways; null where sources cannot be asked again."""
    regret: Regret
    """Overlap points lost against always choosing the best source, with the reasons."""
    verdict: str
    """Whether the choice differs from random choice by more than random runs differ; empty without
    baselines."""
    notes: list[str]
    """Failures, dropped items and other things to know."""


class SweepPoint(TypedDict):
    """A value of a line."""

    x: float | None
    """Its position; null for one level of the whole figure."""
    value: Estimate
    """Mean over seeds, with its interval."""


class SweepLine(TypedDict):
    """One line of a figure."""

    name: str
    """Name of the line."""
    kind: Literal["measured", "predicted", "reference"]
    """Whether it was measured on these rows, follows from the theory, or is a line to compare
    with."""
    unit: str
    """Unit of its values."""
    points: list[SweepPoint]
    """Its values."""
    panel: str
    """Panel of the figure that it belongs to; empty where there is one."""


class Sweep(TypedDict):
    """A published figure on this run's rows."""

    over: str
    """Quantity that was varied."""
    axis: str
    """Meaning of the positions."""
    lines: list[SweepLine]
    """Lines of the figure."""
    facts: dict[str, Estimate]
    """Numbers of the whole figure, such as its slope."""
    n_seeds: int
    """Seeds."""
    reading: str
    """The figure in words."""
    notes: list[str]
    """Remarks on the figure."""
    table: list[dict[str, Any]]
    """One record per pair of models, where these were varied."""
    settings: dict[str, Any]
    """Settings that the numbers were computed with."""


class SweepSummary(Summary):
    """Figures over what was varied: pool, labels, noise, shares or models."""

    sweeps: dict[str, Sweep]
    """Every figure, by what was varied."""
    latest: str
    """Quantity that was varied last."""


class ProjectionSummary(Summary):
    """The map of the strong features."""

    n_scored: int
    """Scored rows."""
    n: int
    """Rows drawn."""
    explained: list[float]
    """Shares of variance along the two components of the plain map. The higher, the less of the
    distances is lost."""
    solver: str
    """How the components were computed."""
    umap: bool
    """Whether there is also a map of neighbourhoods (UMAP)."""
    reason: str
    """Why there is none; empty where there is."""
    max_points: int
    """Most rows drawn."""
    seed: int
    """Seed of the map."""
    n_neighbors: int
    """Neighbours of each point in the map of neighbourhoods."""
    n_epochs: int
    """Rounds of its optimisation."""
