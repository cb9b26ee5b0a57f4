"""The students that `measure_gain` compares: trained seed by seed or all seeds at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.compute.memory import release_freed
from w2s_data.errors import EngineError, InputError, RunError, UndertrainedWarning
from w2s_data.finetune.gain.checkpoint import Checkpoint, Predictions
from w2s_data.finetune.gain.data import GainData, lacking_gold
from w2s_data.finetune.gain.diagnostics import (
    average_diagnostics,
    diagnose_seeds,
    diagnose_training,
)
from w2s_data.finetune.gain.kept import KeptStudent
from w2s_data.finetune.gain.predictions import predict_items
from w2s_data.finetune.levels.together import share
from w2s_data.finetune.methods.base import ORACLE, Method
from w2s_data.finetune.methods.cosupervised import CoSupervised
from w2s_data.finetune.methods.labelled_only import LabelledOnly
from w2s_data.finetune.methods.naive import Naive
from w2s_data.finetune.methods.registry import make_method
from w2s_data.finetune.objectives import Model, TrainingError, Weights
from w2s_data.finetune.settings import TrainingSettings
from w2s_data.finetune.student import Student, choose_l2, fit_student
from w2s_data.utils.progress import no_advance
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

CEILING, LABELLED_ONLY, VOTE = "ceiling", "labelled_only", "vote"
GOLD_SPLITS = {CEILING: "pool", LABELLED_ONLY: "labelled"}
SEED_COPIES = 6  # of the pool's probabilities of a seed, in float32, that its training holds
PREDICTED = 4096  # items that a whole model reads between two marks of progress
MOST_KEPT = 20_000_000  # probabilities outside the test split per seed: 80 MB as float32


@dataclass(frozen=True)
class Job:
    """A student to train: a method on some rows and their labels."""

    name: str  # in the table, or of the reference
    method: Method
    rows: IntArray  # (n,)
    weak_proba: FloatArray  # (n, M, C)
    groups: AnyArray | None = None
    sources: AnyArray | None = None
    gold: IntArray | None = None  # (n,), for methods that use gold labels, -1 in the pool
    posterior: FloatArray | None = None  # (n, C), for the same
    # Trained to be compared with: only its test scores are needed.
    is_reference: bool = False

    @property
    def labels(self) -> str:
        """Name of the labels that its penalty is chosen for: the weak ones, or some of its own."""
        return self.name if self.is_reference or self.method.own_targets else "weak labels"


@dataclass(frozen=True)
class Trained:
    """Test probabilities of a student and its controls, or why there are none."""

    proba: Mapping[str, FloatArray]  # (S, n, C): of the student under "", of its controls by name
    failure: str = ""
    predicted: pd.DataFrame | None = None  # by item, see `predict_items`
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    l2: float = np.nan  # the penalty
    kept: KeptStudent | None = None  # with its weights, of students that may be used afterwards
    knows_rest: bool = False  # whether `predicted` holds more than the test rows

    @property
    def undertrained(self) -> float:
        """Share of the seeds whose loss was still falling at the end; 0 for heads."""
        return float(self.diagnostics.get("undertrained", 0))


@dataclass(frozen=True)
class Laboratory:
    """Trains students, always with the same settings and seeds."""

    data: GainData
    seeds: tuple[int, ...]
    settings: TrainingSettings
    entropy: int  # root of all random numbers
    early_stopping: bool  # by the gold labels of the validation rows
    checkpoint: Checkpoint
    advance: Callable[[int], None]  # called with the number of students that are finished
    # Penalties that were chosen, by `Job.labels`: that of the weak labels holds for every method
    # that trains on nothing else.
    penalties: dict[str, float] = field(default_factory=dict)
    progress: bool | None = False  # of each training of a whole model, which takes minutes

    def method_job(self, name: str, method: Method) -> Job:
        """Return the job of a student of weak labels, or of weak and gold labels."""
        data, gold, posterior = self.data, None, None
        rows = data.training_rows(method.uses_gold)
        if method.uses_gold:
            gold = np.where(data.splits[rows] == "labelled", data.labels[rows], -1)
            posterior = None if data.posterior is None else data.posterior[rows]
        groups, sources = (
            None if own is None else own[rows] for own in (data.groups, data.sources)
        )
        labels = data.weak_proba[rows]
        return Job(name, method, rows, labels, groups, sources, gold, posterior)

    def reference_job(self, name: str) -> Job | None:
        """Return the job of a student of gold labels alone, or None where labels are missing."""
        data, split = self.data, GOLD_SPLITS[name]
        if lacking_gold(data, split):
            return None
        if name == LABELLED_ONLY:
            return replace(self.method_job(name, LabelledOnly()), is_reference=True)
        rows = data.rows(split)
        gold, weak = data.labels[rows], data.weak_proba[rows]
        return Job(name, LabelledOnly(), rows, weak, gold=gold, is_reference=True)

    def train_reference(self, name: str) -> Trained:
        """Train a student of gold labels, the ceiling or that of the labelled rows alone."""
        job = self.reference_job(name)
        if job is None:
            self.advance(len(self.seeds))
            return Trained({}, f"not trained: {lacking_gold(self.data, GOLD_SPLITS[name])}")
        return self.train(job)

    def train(self, job: Job) -> Trained:
        """Train the seeds that the checkpoint lacks; a method that fails returns its reason."""
        stored = {seed: self.stored(job, seed) for seed in self.seeds}
        finished = {seed: own for seed, own in stored.items() if own is not None}
        self.advance(len(finished))
        missing = [seed for seed in self.seeds if seed not in finished]
        # If the simplest student is refused, e.g. for a setting, so is every other: only its
        # training may fail.
        refused = TrainingError if job.is_reference else InputError
        for seeds in self._side_by_side(missing, len(job.rows)):
            try:
                trained = self._fit_together(job, seeds)
            except (RunError, EngineError):  # a damaged file is no property of the method
                raise
            except refused as error:
                self.advance(len([seed for seed in self.seeds if seed not in finished]))
                return Trained({}, str(error))
            for seed, predictions in trained.items():
                self.checkpoint.write(job.name, job.method, seed, predictions)
                if self.checkpoint.folder is not None:  # which has them from now on
                    trained[seed] = replace(predictions, weights=None)
            finished |= trained
            release_freed()  # the pool's features and labels, before those of the next method
            self.advance(len(trained))
        joined = self._join([finished[seed] for seed in self.seeds], job.is_reference)
        return replace(joined, kept=self._kept(job, finished, joined.l2))

    def _fit_together(self, job: Job, seeds: Sequence[int]) -> dict[int, Predictions]:
        """Train some seeds, whole models in all processes that this one leads."""
        if self.settings.tuning == "head":
            return self.fit(job, seeds)
        others = replace(self, advance=no_advance, progress=False)
        return share(self.fit, others.fit, job, seeds)

    def stored(self, job: Job, seed: int) -> Predictions | None:
        """Return what the checkpoint has of a student, None unless that is all it needs."""
        weighted = self._is_kept(job, seed)
        return self.checkpoint.read(job.name, job.method, seed, weighted=weighted)

    def _is_kept(self, job: Job, seed: int) -> bool:
        """Whether the weights of a seed are kept: of whole models, which are large, the first."""
        return job.name != CEILING and (self.settings.tuning == "head" or seed == self.seeds[0])

    def _kept(self, job: Job, finished: Mapping[int, Predictions], l2: float) -> KeptStudent | None:
        seeds = tuple(seed for seed in self.seeds if self._is_kept(job, seed))
        if not seeds:
            return None
        in_memory = {seed: own.weights for seed, own in finished.items() if own.weights is not None}
        # No closure: the result of a measurement goes to other processes.
        weights = partial(_weights, in_memory, self.checkpoint, job.name)
        names = np.asarray(self.data.class_names)
        return KeptStudent(
            job.method, self.settings.tuning, names, seeds, l2, weights, self.settings.device
        )

    def _side_by_side(self, seeds: list[int], n_rows: int) -> list[list[int]]:
        """Divide seeds into those that are trained at the same time, on a pool of so many rows."""
        # Heads share one weight tensor; a whole model fills the memory by itself.
        size = 1
        if self.settings.tuning == "head":
            per_seed = SEED_COPIES * 4 * n_rows * len(self.data.class_names)
            size = max(1, self.settings.resident_bytes // per_seed)
        return [seeds[start : start + size] for start in range(0, len(seeds), size)]

    def _join(self, seeds: Sequence[Predictions], is_reference: bool) -> Trained:
        proba = {name: np.stack([each.test[name] for each in seeds]) for name in seeds[0].test}
        rest = [each.rest for each in seeds if each.rest is not None]
        predicted = None if is_reference else predict_items(self.data, list(proba[""]), rest)
        return Trained(
            proba,
            l2=seeds[0].l2,
            predicted=predicted,
            diagnostics=average_diagnostics([each.diagnostics for each in seeds]),
            knows_rest=bool(rest),
        )

    def predict_rest(self, name: str, trained: Trained, progress: bool | None) -> Trained:
        """Let a kept student predict all but the test rows, unless it has; store the result."""
        kept, others = trained.kept, self.data.other_rows
        if kept is None or trained.predicted is None or trained.knows_rest or self._is_too_many:
            return trained
        model, parts = kept.load().model, []
        with progress_bar(f"predict, {name}", len(others), "items", progress) as advance:
            for start in range(0, len(others), PREDICTED):
                part = others[start : start + PREDICTED]
                parts.append(model.proba(self.data.read(part)))
                advance(len(part))
        rest = np.concatenate(parts, axis=1)  # (S, N - n, C)
        for seed, own in zip(kept.seeds, rest, strict=True):
            self.checkpoint.add_rest(name, seed, own)
        predicted = predict_items(self.data, list(trained.proba[""]), list(rest))
        return replace(trained, predicted=predicted, knows_rest=True)

    def choose_penalty(self, job: Job) -> float:
        """Choose the penalty for the labels of a student."""
        return choose_l2(
            job.method,
            self.data.read(job.rows),
            job.weak_proba,
            settings=self.settings,
            gold=job.gold,
            posterior=job.posterior,
            random_state=self.entropy,
        )

    def _train(self, job: Job, seeds: Sequence[int]) -> Student:
        """Train some seeds of a student."""
        data, whole = self.data, self.settings.tuning != "head"
        inputs = data.read(job.rows)
        settings = self.settings.replace(
            checkpoint=self.checkpoint.trainings(job.name) if whole else None,
            l2=self.penalties.get(job.labels, self.settings.l2),
        )
        with warnings.catch_warnings():
            # Told from the diagnostics, for all seeds at once and for stored students too.
            warnings.simplefilter("ignore", UndertrainedWarning)
            return fit_student(
                job.method,
                None if whole else inputs,
                job.weak_proba,
                settings=settings,
                items=inputs if whole else None,
                class_names=data.class_names,
                groups=job.groups,
                sources=job.sources,
                gold=job.gold,
                posterior=job.posterior,
                validation=data.validation if self.early_stopping else None,
                seeds=seeds,
                random_state=self.entropy,
                progress=self.progress if whole else False,
                name=job.name,
            )

    def fit(self, job: Job, seeds: Sequence[int]) -> dict[int, Predictions]:
        """Train some seeds of a student and let them predict."""
        data, whole = self.data, self.settings.tuning != "head"
        student = self._train(job, seeds)
        self.penalties[job.labels] = student.l2
        test = data.read(data.rows("test"))
        models = {"": student.model, **student.controls, **self._oracle(job, seeds)}
        proba = {name: model.proba(test) for name, model in models.items()}
        rest = None
        # A whole model reads the pool for minutes: only those that are kept do, at the end.
        if not (job.is_reference or whole or self._is_too_many):
            rest = student.model.proba(data.read(data.other_rows))
        if job.is_reference:
            diagnostics = diagnose_training(student)
        else:
            diagnostics = diagnose_seeds(student, data)
        return {
            seed: Predictions(
                {name: each[i] for name, each in proba.items()},
                None if rest is None else rest[i],
                diagnostics[i],
                student.l2,
                student.model.weights(i) if self._is_kept(job, seed) else None,
            )
            for i, seed in enumerate(seeds)
        }

    def _oracle(self, job: Job, seeds: Sequence[int]) -> dict[str, Model]:
        """Train a student on the assignment of teachers that gold labels of the pool would make."""
        method, gold = job.method, self.data.labels[job.rows]
        if not (isinstance(method, CoSupervised) and self.settings.controls):
            return {}
        if job.weak_proba.shape[1] == 1 or not (gold >= 0).any():
            return {}
        labels = method.oracle_labels(job.weak_proba, gold)
        told = replace(job, name=f"{job.name}-{ORACLE}", method=Naive(), weak_proba=labels)
        return {ORACLE: self._train(told, seeds).model}

    @property
    def _is_too_many(self) -> bool:
        """Whether the rows outside the test split are too many to be predicted."""
        return len(self.data.other_rows) * len(self.data.class_names) > MOST_KEPT


def _weights(
    in_memory: Mapping[int, Weights], checkpoint: Checkpoint, name: str, seed: int
) -> Weights:
    """Return the weights of a seed, from the checkpoint unless they are in memory."""
    return in_memory[seed] if seed in in_memory else checkpoint.weights(name, seed)


def name_methods(methods: Sequence[str | Method] | Mapping[str, str | Method]) -> dict[str, Method]:
    """Return methods by their name in the table, which must be unique."""
    if isinstance(methods, Mapping):
        named = [(name, make_method(method)) for name, method in methods.items()]
    else:
        listed = [methods] if isinstance(methods, str | Method) else methods
        named = [(method.name, method) for method in map(make_method, listed)]
    names = [name for name, _ in named]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"method {repeated[0]!r} is given twice: name the variants, as in "
            f"methods={{'{repeated[0]} A': ..., '{repeated[0]} B': ...}}"
        )
    # The table has rows of these names already.
    taken = {CEILING, VOTE, "teacher"} & set(names)
    if taken or not names:
        raise InputError(f"methods must have names other than {taken}" if taken else "no methods")
    return dict(named)
