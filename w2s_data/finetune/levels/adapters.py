"""Students of tuning "lora" and "full": a pretrained model, trained seed by seed."""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.compute.device import resolve_device
from w2s_data.encoders.pixels import Images
from w2s_data.encoders.tokens import Tokens
from w2s_data.errors import InputError, UndertrainedWarning
from w2s_data.finetune.levels.accelerated import WholeTrainer
from w2s_data.finetune.levels.convergence import loss_trend
from w2s_data.finetune.levels.estimate import tokens_that_fit
from w2s_data.finetune.levels.initial import new_weights
from w2s_data.finetune.levels.lengths import similar_rows
from w2s_data.finetune.levels.meter import Meter
from w2s_data.finetune.levels.precision import process_device
from w2s_data.finetune.levels.range_test import find_rate, rising_schedule
from w2s_data.finetune.levels.reward import make_network
from w2s_data.finetune.levels.schedule import StepSchedule, usual_rate
from w2s_data.finetune.levels.store import TrainingStore, digest_array, digest_items, to_disk
from w2s_data.finetune.levels.whole import State, WholeNetwork, kind_read, seeded
from w2s_data.finetune.loop import EpochEnd
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LINKS, Model, Objective, Weights
from w2s_data.finetune.pool import Pool
from w2s_data.finetune.settings import Adaptation, ResolvedSettings
from w2s_data.finetune.task import TRAINING, Task
from w2s_data.utils.io import sha256_json
from w2s_data.utils.progress import Advance, no_advance, progress
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_same_length

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WholeModel(Model):
    """Trained weights of one seed; the network is shared by all models of a task."""

    network: WholeNetwork  # the weights are loaded into it when the model predicts
    state: State  # trained weights, on the CPU
    depth: int  # layers of the backbone that are used
    link: str = "softmax"
    training: Mapping[str, Any] = field(default_factory=dict)  # see `WholeTask`

    def proba(self, inputs: Any) -> FloatArray:
        """Return class probabilities (1, n, C), or values (1, n, 1), of texts or images."""
        return self.read_proba(self.network.read(inputs))

    def read_proba(self, items: Tokens | Images) -> FloatArray:
        """Return `proba` of items that the network has read."""
        self.network.load(self.state)
        self.network.depth = self.depth
        proba = LINKS[self.link](self.network.inference(items)).float()
        return np.asarray(proba.cpu().numpy())[None]

    def weights(self, place: int) -> Weights:  # noqa: ARG002 - there is one seed
        """Return the trained weights: adapters or all, and the head."""
        record = {
            "adaptation": dataclasses.asdict(self.network.adaptation),
            "n_classes": self.network.n_classes,
            "depth": self.depth,
            "link": self.link,
        }
        return Weights({name: tensor.numpy() for name, tensor in self.state.items()}, record)

    @classmethod
    def from_weights(cls, weights: Weights, device: str = "auto") -> WholeModel:
        """Rebuild a model from its `weights`; the pretrained model is loaded by its name."""
        import torch

        record = weights.record
        adaptation = Adaptation(**record["adaptation"])
        network = make_network(adaptation, record["n_classes"], resolve_device(device))
        state = {name: torch.from_numpy(array) for name, array in weights.tensors.items()}
        return cls(network, state, record["depth"], record["link"])


@dataclass(frozen=True)
class JoinedModel(Model):
    """The models of several seeds as one."""

    models: tuple[Model, ...]

    def proba(self, inputs: Any) -> FloatArray:
        """Return class probabilities (S, n, C)."""
        return np.concatenate([model.proba(inputs) for model in self.models])

    def weights(self, place: int) -> Weights:
        """Return the weights of the seed at one place among the S."""
        return self.models[place].weights(0)


@dataclass
class WholeTask(Task):
    """Trains a pretrained model of one seed on the pool's texts or images.

    The objectives are those of heads. A student of less capacity reads the hidden state of a lower
    layer. Diagnostics of the training of each seed: `undertrained`, whether the loss still fell;
    `loss_slope`, its change in as long a training again as a share of the first loss, by the trend
    of the last two thirds of the steps; the highest `learning_rate`; `steps`; and
    `real_token_share`, the share of the computed tokens that are no padding.
    """

    items: Sequence[Any] = ()  # N texts or images
    validation_items: Sequence[Any] = ()  # V, whose labels are in `validation_labels`
    _trainings: int = 0
    _most_tokens: int | None = None  # at a time, by the memory
    _rate: float | None = None  # by a range test

    def __post_init__(self) -> None:
        self.adaptation = self.settings.adaptation
        if self.n_seeds != 1:
            raise InputError(f"a whole model is trained seed by seed; got {self.n_seeds} seeds")
        check_same_length(items=self.items, weak_proba=self.pool.weak_proba)
        if self.adaptation.kind is None:  # of a model that reads texts and images, the items tell
            kind = kind_read(self.adaptation, self.items)
            self.adaptation = dataclasses.replace(self.adaptation, kind=kind)

    @cached_property
    def device(self) -> torch.device:
        """Device that trains in this process."""
        return process_device(self.settings.device)

    @cached_property
    def network(self) -> WholeNetwork:
        """The pretrained model with a new head, and the items as it reads them."""
        with seeded(self._seed, self.device):
            network = make_network(self.adaptation, self.pool.n_classes, self.device)
        network.items = network.read(self.items, self.settings.resident_bytes)
        network.validation = network.read(self.validation_items, self.settings.resident_bytes)
        return network

    @cached_property
    def _pretrained(self) -> State:
        return self._to_disk()

    @cached_property
    def _initial(self) -> State:
        """Weights that every training of the seed starts from: pretrained ones, and new ones."""
        with seeded(self._seed, self.device):
            return {**self._pretrained, **new_weights(self._pretrained, self.network.head)}

    def share(self, other: WholeTask) -> None:
        """Take the network of another seed: the pretrained weights are in memory once."""
        self.network, self._pretrained = other.network, other._pretrained
        self.adaptation, self._most_tokens = other.adaptation, other._most_tokens

    @property
    def _seed(self) -> int:
        return int(self.rngs(TRAINING)[0].integers(2**31))

    def pool_proba(self, model: Model) -> FloatArray:
        """Return probabilities (1, N, C) of the pool's rows."""
        assert isinstance(model, WholeModel)
        return model.read_proba(self.network.items)

    def _train(
        self, objective: Objective, stage: str, weight: FloatArray, penalty: float, capacity: float
    ) -> Model:
        network = self.network
        network.depth = max(1, round(capacity * network.n_layers))
        network.l2 = float(self.settings.l2) * penalty
        name = f"{self.name}, {stage}"
        with seeded(self._seed, self.device) as reseed:
            if self._most_tokens is None:
                self._most_tokens = tokens_that_fit(name, network, self._batch_rows, self.n_steps)
            network.load(self._initial)
            initial = self._initial | self._fitted(objective, weight[0])
            schedule = self._schedule(objective, stage, reseed, weight, initial)
            network.load(initial)
            store = self._store(objective, stage, weight, (penalty, capacity))
            with progress(name, self.n_steps, "steps", self.progress) as advance:
                trainer = self._trainer(objective, stage, reseed, schedule, advance, store)
                done = trainer.run(self._batches(weight, self.rngs(TRAINING), self.n_steps))
        self._trainings += 1
        self.history += done.history
        # A batch that fitted into memory in one training will fit in the next.
        self._most_tokens = trainer.most_tokens
        training = self._describe(name, trainer)
        return WholeModel(network, self._to_disk(), network.depth, objective.link, training)

    def _fitted(self, objective: Objective, weight: FloatArray) -> State:
        """Return new weights that are fitted to the labels of a training, by its rows alone."""
        labels = getattr(objective, "labels", None)
        own = self.labels() if labels is None else labels[0].cpu().numpy().astype(np.float64)
        # Several teachers weigh the same before anything is learned.
        own = own.mean(axis=1) if own.ndim == 3 else own
        return self.network.fitted(own, weight, self._seed)

    def _to_disk(self) -> State:
        """Return the present weights from a file, beside the checkpoint where there is one."""
        folder = self.settings.checkpoint
        return to_disk(self.network.state(), None if folder is None else Path(folder))

    def _describe(self, name: str, trainer: WholeTrainer) -> dict[str, Any]:
        """Return how a training went, and warn if it ended too early."""
        done = trainer.progress
        rates = [trainer.schedule.rate(step) for step in range(done.step)]
        trend = loss_trend(done.losses, rates)
        undertrained = trend.is_undertrained and not done.stopped
        if undertrained:
            warnings.warn(
                f"{name}: undertrained, the loss still falls after {done.step} steps, by "
                f"{-trend.slope:.0%} of its first value in as many again; try more epochs or a "
                "larger learning_rate",
                UndertrainedWarning,
                stacklevel=2,
            )
        return {
            "undertrained": undertrained,
            "loss_slope": trend.slope,
            "learning_rate": trainer.schedule.learning_rate,
            "steps": done.step,
            "real_token_share": done.real_token_share,
        }

    def _trainer(
        self,
        objective: Objective,
        stage: str,
        reseed: Callable[[int], None],
        schedule: StepSchedule,
        advance: Advance = no_advance,
        store: TrainingStore | None = None,
    ) -> WholeTrainer:
        labels, name = self.validation_labels, f"{self.name}, {stage}"
        assert self._most_tokens is not None
        return WholeTrainer(
            self.network,
            self.adaptation,
            objective,
            schedule,
            name=name,
            device=self.device,
            evaluate_every=self.adaptation.evaluate_every or self._steps_per_epoch,
            reseed=reseed,
            note=functools.partial(self._row, stage),
            meter=Meter(name, schedule.n_steps, advance),
            most_tokens=self._most_tokens,
            validation=None if labels is None else self.seed_tensor(labels),
            patience=self.settings.patience,
            callbacks=self.settings.callbacks,
            store=store,
        )

    def _schedule(
        self,
        objective: Objective,
        stage: str,
        reseed: Callable[[int], None],
        weight: FloatArray,
        initial: State,
    ) -> StepSchedule:
        """Return the rates of a training; the highest is given, usual, or found once by a test."""
        model, rate = self.adaptation, self.settings.learning_rate
        if rate is None:
            is_fitted = model.reward == "head"
            rate = usual_rate(model.tuning, self.network.n_parameters, is_fitted=is_fitted)
        elif rate == "auto":
            if self._rate is None:
                self.network.load(initial)
                tried = rising_schedule(model.tuning)
                # A copy: what an objective learns itself must not begin with the test.
                trainer = self._trainer(copy.deepcopy(objective), stage, reseed, tried)
                n_steps = max(self.n_steps, tried.n_steps)
                batches = self._batches(weight, self.rngs(TRAINING), n_steps)
                self._rate = find_rate(trainer, batches)
            rate = self._rate
        return StepSchedule(self.n_steps, float(rate), model.decay, model.warmup)

    # Rows of similar length share a batch.
    def _stream(self, rows: IntArray, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
        return similar_rows(rows, self.network.lengths, size, rng)

    def _row(self, stage: str, end: EpochEnd, step: int) -> dict[str, Any]:
        (row,) = self._rows(stage, end)
        return {**row, "step": step}

    def _store(
        self, objective: Objective, stage: str, weight: FloatArray, size: tuple[float, float]
    ) -> TrainingStore | None:
        settings = self.settings
        if settings.checkpoint is None:
            return None
        labels = getattr(objective, "labels", None)
        folder = Path(settings.checkpoint) / f"seed{self.seeds[0]}"
        key = sha256_json(
            {
                "task": self._fingerprint,
                "seed": [self.entropy, self.seeds],
                "training": [settings.epochs, settings.batch_size, settings.learning_rate],
                "early": [settings.patience, self.validation_labels is not None],
                "objective": [type(objective).__name__, _parameters(objective)],
                "stage": [self._trainings, stage, *size, settings.l2],
                "labels": None if labels is None else digest_array(labels.cpu().numpy()),
                "weight": digest_array(weight),
            }
        )
        name = re.sub(r"\W+", "-", stage)
        path = folder / f"{self._trainings:02d}-{name}.safetensors"
        return TrainingStore(path, key, self.adaptation.save_every, self.adaptation.save_minutes)

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        """All that every training of the task depends on, apart from how memory is saved."""
        return {
            **self.adaptation.identity(),
            "model": self.adaptation.source.identity(),
            "items": digest_items([*self.items, *self.validation_items]),
            "weak_proba": digest_array(self.pool.weak_proba),
        }


def train_whole(
    method: Method,
    pool: Pool,
    settings: ResolvedSettings,
    items: Sequence[Any],
    validation_items: Sequence[Any] = (),
    validation_labels: FloatArray | None = None,
    *,
    entropy: int = 0,
    seeds: Sequence[int] = (0,),
    progress: bool | None = False,
    name: str | None = None,
) -> tuple[Outcome, list[dict[str, Any]]]:
    """Train a whole model of every seed by a method, one after another; also return the history."""
    outcomes, history = [], []
    first: WholeTask | None = None
    for seed in seeds:
        task = WholeTask(
            *(pool, settings, name or method.name, entropy, (seed,), progress, validation_labels),
            items=items,
            validation_items=validation_items,
        )
        if first is None:
            first = task
        else:
            task.share(first)
        outcome = method.fit(task)
        assert isinstance(outcome.model, WholeModel)
        training = {name: np.array([value]) for name, value in outcome.model.training.items()}
        outcomes.append(replace(outcome, diagnostics={**outcome.diagnostics, **training}))
        history += task.history
    return _join(outcomes), history


def _join(outcomes: list[Outcome]) -> Outcome:
    return Outcome(
        JoinedModel(tuple(outcome.model for outcome in outcomes)),
        _join_diagnostics([outcome.diagnostics for outcome in outcomes]),
        {
            name: JoinedModel(tuple(outcome.controls[name] for outcome in outcomes))
            for name in outcomes[0].controls
        },
    )


def _join_diagnostics(seeds: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack arrays with a row for the one seed; keep values that all seeds share."""
    joined: dict[str, Any] = {}
    for name, first in seeds[0].items():
        values = [each[name] for each in seeds]
        if isinstance(first, Mapping):
            joined[name] = _join_diagnostics(values)
        elif isinstance(first, np.ndarray) and first.ndim and len(first) == 1:
            joined[name] = np.concatenate(values)
        else:
            joined[name] = first
    return joined


def _parameters(objective: Objective) -> dict[str, Any]:
    """Numbers and function that distinguish an objective from others of its class."""
    numbers = {n: v for n, v in vars(objective).items() if isinstance(v, bool | int | float | str)}
    function = getattr(objective, "function", None)
    if isinstance(function, functools.partial):
        numbers |= {**function.keywords, "function": function.func.__name__}
    elif function is not None:
        numbers["function"] = function.__name__
    return numbers
