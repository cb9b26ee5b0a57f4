"""A training task: items with pseudo-labels, the settings of the training, and its seeds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.compute.device import is_lost, is_out_of_memory, resolve_device
from w2s_data.errors import InputError, first_line
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.finetune.loop import EpochEnd, Network, Schedule, Trainer, row_stream
from w2s_data.finetune.objectives import Batch, Model, Objective, TrainingError
from w2s_data.finetune.pool import Pool
from w2s_data.finetune.settings import ResolvedSettings, TrainingSettings
from w2s_data.posterior.estimator import LabelPosterior
from w2s_data.posterior.rows import label_rows
from w2s_data.probes.linear import stratified_folds
from w2s_data.utils.progress import progress
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray
from w2s_data.utils.votes import abstains, mean_label

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Streams of random numbers of a seed. Every training takes TRAINING from its start, so that
# two students of a seed begin with the same weights and, on the same rows, see the same batches:
# a difference between a method and its control is due to what they minimise.
TRAINING, FOLDS, SUBSETS, DETECTOR, POSTERIOR, PENALTY = range(6)
CHUNK = 64  # batches whose rows go to the device at once


@dataclass
class Task(ABC):
    """The view that a method has: pseudo-labels, and a way to train students on rows of the pool.

    A tuning implements `_train`, which minimises an objective, and `pool_proba`.
    """

    pool: Pool
    settings: ResolvedSettings
    name: str  # of the method, for messages and progress
    entropy: int = 0  # root of all random numbers, together with a seed's number
    seeds: tuple[int, ...] = (0,)  # trained side by side
    progress: bool | None = False
    validation_labels: FloatArray | None = None  # (V, C)
    # One row per epoch and seed, over all trainings of the task.
    history: list[dict[str, Any]] = field(default_factory=list)

    @cached_property
    def device(self) -> torch.device:
        """Device that trains."""
        return resolve_device(self.settings.device)

    @property
    def n_seeds(self) -> int:
        """Seeds S."""
        return len(self.seeds)

    @property
    def n_steps(self) -> int:
        """Steps of one training, whatever rows it keeps."""
        return self.settings.epochs * self._steps_per_epoch

    def rngs(self, stream: int) -> list[np.random.Generator]:
        """Create one generator per seed, the same at every call."""
        keys = [(seed, stream) for seed in self.seeds]
        sequences = [np.random.SeedSequence(self.entropy, spawn_key=key) for key in keys]
        return [np.random.default_rng(sequence) for sequence in sequences]

    def labels(self, hard: bool = False, per_teacher: bool = False) -> FloatArray:
        """Return pseudo-labels (N, C), one-hot if hard: the mean over the teachers that vote.

        With `per_teacher` those of each teacher, (N, M, C).
        """
        weak_proba = self.pool.weak_proba
        labels = weak_proba if per_teacher else mean_label(weak_proba)
        return one_hot(labels) if hard else labels

    @cached_property
    def predicted(self) -> IntArray:
        """Class codes (N,) that the teachers predict, -1 on rows that are not trained on."""
        return np.where(self.pool.sample_weight > 0, self.labels().argmax(axis=1), -1)

    @cached_property
    def gold(self) -> IntArray:
        """Gold class codes (N,), -1 where there are none; a method that needs one raises."""
        gold = self.pool.gold
        if gold is None or not (gold >= 0).any():
            raise InputError(f"{self.name}: it trains on gold labels too, and no row has one")
        return gold

    def gold_labels(self) -> FloatArray:
        """Return gold labels (N, C) as distributions, zero on rows without one."""
        labels = np.zeros((self.pool.n_rows, self.pool.n_classes))
        known = np.flatnonzero(self.gold >= 0)
        labels[known, self.gold[known]] = 1
        return labels

    @cached_property
    def posterior(self) -> FloatArray:
        """Probabilities (N, C) of gold and weak labels together; see `LabelPosterior`."""
        if self.pool.posterior is not None:
            return self.pool.posterior
        if self.pool.features is None:
            raise InputError(f"{self.name}: pass posterior, or features to compute it from")
        rest = np.flatnonzero(self.gold < 0)
        if not len(rest):
            raise InputError("every row has a gold label: there is no pool to label")
        weak_proba, features = self.pool.weak_proba, self.pool.features
        return fit_posterior(features, weak_proba, self.gold, rest, self.settings, self.entropy)

    def tensor(self, values: AnyArray) -> Tensor:
        """Expand values (N, ...) to a float32 tensor (S, N, ...), without copies."""
        import torch

        shared = torch.tensor(values, dtype=torch.float32, device=self.device)
        return shared.expand(self.n_seeds, *shared.shape)

    def seed_tensor(self, values: AnyArray) -> Tensor:
        """Convert values (S, N, ...), one set per seed, to a float32 tensor."""
        import torch

        return torch.tensor(values, dtype=torch.float32, device=self.device)

    def train(
        self,
        objective: Objective,
        *,
        stage: str = "student",
        rows: AnyArray | None = None,
        penalty: float = 1.0,
        capacity: float = 1.0,
    ) -> Model:
        """Train S students from scratch; `stage` names the training in the history.

        `rows` (N,) or (S, N) are a choice of rows or their weights; the number of steps does not
        depend on them. `penalty` is a factor on the weight decay, `capacity` the share of the
        strong model that the student has, in (0, 1]: for a head, of the directions in feature
        space.

        A seed without a row of positive weight is an `InputError`; a loss that is no longer a
        number, too little memory and a lost device are a `TrainingError`.
        """
        weight = self.pool.sample_weight * (1.0 if rows is None else rows)
        weight = np.broadcast_to(weight, (self.n_seeds, self.pool.n_rows))
        empty = ~(weight > 0).any(axis=1)
        if empty.any():
            raise InputError(
                f"{self.name}, {stage}: no pool row with a positive weight is kept for "
                f"seed {self.seeds[int(np.argmax(empty))]}"
            )
        try:
            return self._train(objective, stage, weight, penalty, capacity)
        except RuntimeError as error:
            if not (is_lost(error) or is_out_of_memory(error)):
                raise
            raise TrainingError(
                f"{self.name}, {stage}: {self.device} failed ({first_line(error)}); "
                "`w2s gain` stores finished students and resumes from there"
            ) from error

    def train_each(
        self, objective: Objective, choices: Mapping[str, AnyArray]
    ) -> Iterator[tuple[str, Model]]:
        """Train S students on each choice of rows, by stage; yield the stage and its students.

        They are those of `train`, one stage after another.
        """
        for stage, rows in choices.items():
            yield stage, self.train(objective, stage=stage, rows=rows)

    @abstractmethod
    def _train(
        self, objective: Objective, stage: str, weight: FloatArray, penalty: float, capacity: float
    ) -> Model:
        """Train on the rows whose weight (S, N) is positive."""

    @abstractmethod
    def pool_proba(self, model: Model) -> FloatArray:
        """Return probabilities (S, N, C) of the pool's rows."""

    def cross_fit(
        self, objective: Objective, folds: int = 5, *, rows: BoolArray | None = None
    ) -> FloatArray:
        """Return out-of-fold probabilities (S, N, C), by students not trained on the row.

        Folds are stratified by the teachers' label; `rows` (S, N) limits the training rows.
        """
        shape = self.n_seeds, self.pool.n_rows, self.pool.n_classes
        proba = np.empty(shape, dtype=np.float32)  # as students predict
        parts = self.held_out(self.labels().argmax(axis=1), folds)
        every = True if rows is None else rows
        choices = {f"fold {fold}": ~held_out & every for fold, held_out in enumerate(parts)}
        trained = self.train_each(objective, choices)
        for held_out, (_, model) in zip(parts, trained, strict=True):
            proba[held_out] = self.pool_proba(model)[held_out]
        return proba

    def held_out(self, codes: IntArray, folds: int) -> BoolArray:
        """Split rows into stratified folds, seed by seed: the rows (folds, S, N) that each omits.

        Rows of code -1 are in no fold.
        """
        known = np.flatnonzero(codes >= 0)
        seeds = [stratified_folds(codes[known], folds, rng) for rng in self.rngs(FOLDS)]
        omitted = np.zeros((len(seeds[0]), self.n_seeds, self.pool.n_rows), dtype=bool)
        for seed, parts in enumerate(seeds):
            for fold, (_, own) in enumerate(parts):
                omitted[fold, seed, known[own]] = True
        return omitted

    def describe_kept(self, kept: BoolArray) -> dict[str, Any]:
        """Return diagnostics of chosen rows (S, N): the rows, and their share of the pool."""
        # Rows with a gold label are not there to be chosen.
        gold, groups = self.pool.gold, self.pool.groups
        weak = slice(None) if gold is None else np.flatnonzero(gold < 0)
        own = kept[:, weak]
        result: dict[str, Any] = {"kept": kept, "kept_share": own.mean(axis=1)}
        if groups is not None:
            members = {str(group): groups[weak] == group for group in np.unique(groups[weak])}
            result["pool_group_share"] = {name: rows.mean() for name, rows in members.items()}
            result["group_share"] = {
                name: own[:, rows].sum(axis=1) / own.sum(axis=1) for name, rows in members.items()
            }
        return result

    @property
    def _steps_per_epoch(self) -> int:
        return -(-self.pool.n_rows // self._batch_rows)

    @property
    def _batch_rows(self) -> int:
        return min(self.settings.batch_size, self.pool.n_rows)

    def _run(
        self,
        network: Network,
        objective: Objective,
        stage: str,
        weight: FloatArray,
        rngs: list[np.random.Generator],
    ) -> None:
        """Run the loop of heads and record its history."""
        settings, name = self.settings, f"{self.name}, {stage}"
        rate = settings.learning_rate
        assert isinstance(rate, int | float)
        schedule = Schedule(settings.epochs, self._steps_per_epoch, rate, settings.patience)
        labels = self.validation_labels
        targets = None if labels is None else self.seed_tensor(labels)
        with progress(name, schedule.epochs, "epochs", self.progress) as advance:

            def note(end: EpochEnd) -> None:
                advance(1)
                self.history.extend(self._rows(stage, end))

            # The history comes first: a callback that raises must not lose the epoch.
            callbacks = (note, *settings.callbacks)
            trainer = Trainer(network, objective, schedule, targets, callbacks, name)
            trainer.run(self._batches(weight, rngs, schedule.n_steps), self.n_seeds)

    def _batches(
        self, weight: FloatArray, rngs: list[np.random.Generator], n_steps: int
    ) -> Iterator[Batch]:
        import torch

        size = self._batch_rows
        kept = weight > 0
        streams = [
            self._stream(np.flatnonzero(own), size, rng)
            for own, rng in zip(kept, rngs, strict=True)
        ]
        # Scaled to mean 1 over the rows that are kept, so that the loss and the penalty keep their
        # ratio whatever the scale of the weights.
        mean = weight.sum(axis=1, keepdims=True) / kept.sum(axis=1, keepdims=True)
        relative = self.seed_tensor(weight / mean)
        seeds = torch.arange(self.n_seeds, device=self.device)[:, None]
        for start in range(0, n_steps, CHUNK):
            count = min(CHUNK, n_steps - start)
            drawn = [np.stack([next(stream) for _ in range(count)]) for stream in streams]
            rows = torch.from_numpy(np.stack(drawn, axis=1)).to(self.device)
            for place, (own, by_row) in enumerate(zip(rows, relative[seeds, rows], strict=True)):
                yield Batch(own, by_row, start + place, n_steps, size)

    def _stream(self, rows: IntArray, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
        """Yield batches of rows without end."""
        return row_stream(rows, size, rng)

    def _rows(self, stage: str, end: EpochEnd) -> Iterator[dict[str, Any]]:
        """Yield the row of each seed for the history."""
        for i, seed in enumerate(self.seeds):
            row = {"stage": stage, "epoch": end.epoch, "seed": seed, "loss": float(end.loss[i])}
            if end.validation_loss is not None:
                row["validation_loss"] = float(end.validation_loss[i])
            row.update({name: float(values[i]) for name, values in end.record.items()})
            yield row


def fit_posterior(
    features: FeatureMatrix,
    weak_proba: FloatArray,
    gold: IntArray,
    pool: IntArray,
    settings: TrainingSettings,
    entropy: int,
) -> FloatArray:
    """Fit a label posterior to pool and gold rows; return its probabilities (N, C) of all rows."""
    # The same for all seeds: a seed is one of the students, and the labels are given to them.
    rng = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(POSTERIOR,)))
    posterior = LabelPosterior(paired=settings.paired, device=settings.device, random_state=rng)
    return label_rows(posterior, features, weak_proba, gold, pool=pool)


def one_hot(proba: FloatArray) -> FloatArray:
    """Convert to one-hot of the most probable class, over the last axis; abstentions stay.

    >>> one_hot(np.array([[0.2, 0.8], [0.5, 0.5]]))
    array([[0. , 1. ],
           [0.5, 0.5]])
    """
    n_classes = proba.shape[-1]
    hard = np.eye(n_classes)[proba.argmax(axis=-1)]
    hard[abstains(proba)] = 1 / n_classes
    return np.asarray(hard)
