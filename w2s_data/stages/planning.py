"""Planning: what to buy next, from learning curves on the run's gold rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.encoders.names import check_encoder, make_encoder
from w2s_data.errors import InputError, SplitError, listing
from w2s_data.features.matrix import ArrayFeatures, FeatureMatrix, FeatureView, sampled
from w2s_data.features.pairs import embed_pairs, turned_features
from w2s_data.features.store import embed
from w2s_data.plan import LabelPlanner
from w2s_data.plan.advice import Prices
from w2s_data.plan.history import NEEDED
from w2s_data.plan.planner import FEWEST_GOLD
from w2s_data.posterior.views import Relabel
from w2s_data.probes.linear import LinearProbe, cross_fit_proba
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import load_features, require_role, required
from w2s_data.stages.encoding import fitting_items
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import PLAN, PLAN_SUMMARY, check_scored
from w2s_data.stages.settings import PlanSettings
from w2s_data.stages.weak_labels import weak_labels_of
from w2s_data.teachers.probe import probe_for
from w2s_data.utils.io import load_npy
from w2s_data.utils.manifest import FileRecord, owner
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import FloatArray, IntArray

PLAN_COPIES = 6  # of its rows in float64: the sample, and its parts


@writes
def plan_stage(
    run: Run, settings: PlanSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Measure learning curves on the gold rows, and plan how to spend a budget.

    A plan made with fewer labels is kept: its forecasts are compared with what came.

    Returns
    -------
    StageResult
        The content of `plan.json`.

    Raises
    ------
    InputError
        If the budget or a price is missing.
    SplitError
        If there are too few gold rows, or no pool.
    """
    settings, compute = settings or PlanSettings(), compute or Compute(seed=run.seed)
    dataset = run.dataset()
    check_scored(run)
    features = load_features(run, compute)
    check_plan(settings, Known(dataset, frozenset(features)))
    prices = _prices(settings)
    planner = LabelPlanner(level=settings.level, random_state=compute.seed)
    files = {n: FileRecord.of(Path(n)).sha256 for n in _models(settings) if _is_file(n)}
    recorded = settings.model_dump() | {"planner": planner.get_params(), "files": files}
    if (earlier := run.earlier(PLAN, recorded)) is not None:
        return earlier
    strong = required(features, "strong")
    rows = _Rows.of(dataset, planner, compute, strong.shape[1])
    plans = _earlier_plans(run, rows.sizes)
    with run.stage(PLAN, recorded) as stage:
        weak = weak_labels_of(run, dataset, compute)
        found = _Models(run, dataset, rows, compute)
        planner.fit(
            FeatureView(strong, rows.pool),
            weak.proba[rows.pool],
            gold=(FeatureView(strong, rows.gold), weak.proba[rows.gold], dataset.labels[rows.gold]),
            relabel=weak.relabel(gold_rows(dataset).units, rows.gold, rows.pool),
            teachers={_label("teacher", name): found.teacher(name) for name in settings.teacher},
            students={_label("student", name): found.student(name) for name in settings.student},
            sizes=rows.sizes,
            earlier=plans,
            progress=compute.progress,
        )
        plan = planner.plan(prices.budget, prices.gold, prices.weak, _costs(settings))
        summary = planner.to_dict() | plan.to_dict()
        summary |= {"level": settings.level, "plans": plans}
        summary["warnings"] = [*rows.notes, *_chosen_note(run), *summary["warnings"]]
        stage.write_summary(PLAN_SUMMARY, summary)
    return StageResult(run.read(PLAN))


def check_plan(settings: PlanSettings, known: Known) -> None:
    """Raise for prices that are missing, models that do not exist, and too few gold rows."""
    _prices(settings)
    models = _models(settings)
    if strange := sorted(set(settings.costs or {}) - set(models)):
        raise InputError(
            f"costs has a price of {listing(strange)}, which is neither a teacher nor a student"
        )
    dataset = known.dataset
    for name in models:
        if not _is_file(name):
            check_encoder(name, None if dataset is None else dataset.kind)
        elif dataset is not None:
            load_npy(Path(name), len(dataset))
    if dataset is None:
        return
    require_role(known.roles, "strong")
    if not len(dataset.rows("pool")):
        raise SplitError("the pool is empty, so there are no weak labels to plan with")
    gold = gold_rows(dataset).rows
    classes = np.unique(dataset.labels[gold])
    if len(gold) < FEWEST_GOLD or len(classes) < 2:
        raise SplitError(
            f"a plan takes at least {FEWEST_GOLD} gold rows of two classes in the labelled split; "
            f"there are {len(gold)} of {len(classes)}: `w2s next` chooses rows to label"
        )


def _models(settings: PlanSettings) -> tuple[str, ...]:
    return (*settings.teacher, *settings.student)


def _is_file(name: str) -> bool:
    return name.endswith(".npy")


def _label(role: str, name: str) -> str:
    """Return the name of a model for people; of a path its last part."""
    return f"{role} {Path(name).name}"


def _costs(settings: PlanSettings) -> dict[str, float]:
    """Return the prices that are known, by the model's name for people."""
    costs = settings.costs or {}
    roles = (("teacher", settings.teacher), ("student", settings.student))
    return {
        _label(role, name): float(costs[name])
        for role, names in roles
        for name in names
        if name in costs
    }


def _prices(settings: PlanSettings) -> Prices:
    for name, of in (("budget", "money to spend"), ("gold_cost", "price of a gold label")):
        if getattr(settings, name) is None:
            raise InputError(f"{name} is missing: give the {of}")
    if settings.weak_cost is None:
        raise InputError("weak_cost is missing: give the price of a weak label")
    return Prices(float(settings.budget or 0), float(settings.gold_cost or 0), settings.weak_cost)


class _Rows:
    """Gold rows and pool rows to measure on, and how many there are of both."""

    def __init__(
        self, gold: IntArray, pool: IntArray, sizes: tuple[int, int], notes: list[str]
    ) -> None:
        self.gold, self.pool, self.sizes, self.notes = gold, pool, sizes, notes

    @classmethod
    def of(
        cls, dataset: W2SDataset, planner: LabelPlanner, compute: Compute, n_columns: int
    ) -> _Rows:
        rng = np.random.default_rng(compute.seed)
        known, pool = gold_rows(dataset), dataset.rows("pool")
        most = compute.memory.rows(n_columns, PLAN_COPIES)
        gold = np.sort(sampled(known.rows, min(planner.max_gold, most), rng))
        sample = np.sort(sampled(pool, min(planner.max_pool, most), rng))
        notes = known.notes(dataset, "the plan")
        for kind, part, whole in (("gold", gold, known.rows), ("pool", sample, pool)):
            if len(part) < len(whole):
                notes.append(
                    f"curves are measured on a random {len(part):,} of {len(whole):,} {kind} rows"
                )
        return cls(gold, sample, (len(known.rows), len(pool)), notes)


class _Models:
    """Other teachers and students, on the rows that are measured."""

    def __init__(self, run: Run, dataset: W2SDataset, rows: _Rows, compute: Compute) -> None:
        self.run, self.dataset, self.rows, self.compute = run, dataset, rows, compute

    def student(self, name: str) -> tuple[FloatArray, FloatArray]:
        """Return strong features of the pool and of the gold rows."""
        features = self._features(name)
        return features[len(self.rows.gold) :], features[: len(self.rows.gold)]

    def teacher(self, name: str) -> tuple[FloatArray, FloatArray, Relabel]:
        """Teach a probe the gold rows; return its labels of pool and gold rows, and how to again.

        Those of the gold rows are cross-fitted.
        """
        pool, gold = self.student(name)
        codes, n_classes = self.dataset.labels[self.rows.gold], len(self.dataset.class_names)
        known, own = np.unique(codes, return_inverse=True)
        seed, device = self.compute.seed, self.compute.device
        probe = probe_for(self.dataset, LinearProbe(l2="cv", device=device, random_state=seed))
        fitted = probe.fit(gold, own)
        fixed = probe_for(self.dataset, LinearProbe(l2=fitted.l2_, device=device))

        def spread(proba: FloatArray) -> FloatArray:
            wide = np.zeros((len(proba), n_classes))
            wide[:, known] = proba
            return wide

        def relabel(rows: IntArray) -> tuple[FloatArray, FloatArray]:
            # As distributions, so that a class missing from a part keeps its column.
            part = fixed.fit(gold[rows], np.eye(len(known))[own[rows]])
            return spread(part.predict_proba(gold)), spread(part.predict_proba(pool))

        cross_fitted = cross_fit_proba(fixed, gold, own, random_state=seed)
        return spread(fitted.predict_proba(pool)), spread(cross_fitted), relabel

    def _features(self, name: str) -> FloatArray:
        """Return features of gold rows and pool rows: of a file, or embedded and kept."""
        rows = np.concatenate([self.rows.gold, self.rows.pool])
        dataset = self.dataset
        if _is_file(name):
            features: FeatureMatrix = ArrayFeatures(load_npy(Path(name), len(dataset)))
            if dataset.is_paired:
                features = turned_features(features, dataset.labels)
            return np.asarray(features.take(rows), dtype=np.float64)
        encoder = make_encoder(name, dataset.kind)
        if "device" in encoder.get_params():
            encoder.set_params(device=self.compute.device)
        encoder.fit(fitting_items(dataset))
        folder = self.run.path / "features" / f"plan-{re.sub('[^A-Za-z0-9.]+', '-', name)}"
        options: dict[str, Any] = {
            # Features of a learning encoder may differ with each label that is added.
            "overwrite": encoder.learns,
            "progress": self.compute.progress,
            "engine": self.compute.engine,
        }
        if dataset.is_paired:
            first, second = ([column[row] for row in rows] for column in dataset.pairs)
            found: FeatureMatrix = embed_pairs(first, second, encoder, folder, **options)
        else:
            items = dataset.items
            found = embed([items[row] for row in rows], encoder, folder, **options)
        return np.asarray(found.take(np.arange(len(rows))), dtype=np.float64)


def _chosen_note(run: Run) -> list[str]:
    """Say how many gold rows were chosen for their doubt, which is no fair sample to score on."""
    chosen = sum(known["n_chosen"] for known in run.labelling().rounds)
    if not chosen:
        return []
    return [
        f"{chosen:,} gold rows were chosen because the models doubt them: accuracies are too low "
        "for the pool, and so is what came of an earlier plan"
    ]


def _earlier_plans(run: Run, sizes: tuple[int, int]) -> list[Mapping[str, Any]]:
    """Return the plans that the run made with other numbers of labels, oldest first."""
    if owner(run.manifest, PLAN_SUMMARY) is None:
        return []
    last = run.read_summary(PLAN_SUMMARY)
    plans = [*last["plans"], {name: last[name] for name in NEEDED}]
    return [plan for plan in plans if (plan["n"], plan["N"]) != sizes]
