"""How students are trained, whatever the method and the data: `TrainingSettings`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from w2s_data.encoders.recipe import JOINED, POOLER, POOLINGS
from w2s_data.encoders.source import Source
from w2s_data.errors import InputError, unknown
from w2s_data.utils.constants import LARGEST_COUNT, MOST_EPOCHS
from w2s_data.utils.validation import (
    Constraint,
    between,
    check_parameters,
    nonnegative,
    one_of,
    penalty,
    positive,
    whole,
)

if TYPE_CHECKING:
    from w2s_data.encoders.base import Kind
    from w2s_data.finetune.loop import Callback

Tuning = Literal["head", "lora", "full"]
Solver = Literal["adam", "lbfgs", "auto"]
Decay = Literal["linear", "cosine"]

RESIDENT_BYTES = 2 * 2**30  # larger features stay where they are and are gathered batch by batch
USUAL_EPOCHS = 20  # the upper end of the 12 to 20 that linear heads need on large pools
# With 400 steps, methods that come to trust the student do so before it has learned anything.
LEAST_STEPS = 800
# Whole models: three passes over 400 rows in batches of 8 are 150 steps. Small sets take smaller
# batches first, which cost next to nothing, and more passes only then.
LEAST_WHOLE_STEPS, USUAL_WHOLE_EPOCHS = 150, 3
ENOUGH_STEPS, SMALLEST_BATCH, LARGEST_BATCH = 250, 8, 32
# A head has converged long before 20,000 steps: more passes over a huge pool only cost time.
MOST_STEPS, FEWEST_EPOCHS = 20_000, 2
DEFAULTS: dict[Tuning, dict[str, Any]] = {
    "head": {"batch_size": 128, "learning_rate": 1e-3, "l2": "cv"},
    "lora": {"l2": 1e-2},
    "full": {"l2": 1e-2},
}
_CONSTRAINTS = {
    "tuning": one_of("head", "lora", "full"),
    "epochs": one_of(None) | whole(1, MOST_EPOCHS),
    "learning_rate": one_of(None, "auto") | between(0, 1, closed="right"),
    "batch_size": one_of(None) | whole(1, LARGEST_COUNT),
    "l2": one_of(None, "cv") | penalty,
    "solver": one_of(None, "adam", "lbfgs", "auto"),
    "patience": whole(1),
}
_ADAPTATION_CONSTRAINTS = {
    **dict.fromkeys(("max_length", "micro_batch", "micro_tokens", "rank"), whole(1)),
    **dict.fromkeys(("evaluate_every", "save_every"), one_of(None) | whole(1)),
    **dict.fromkeys(("dropout", "warmup"), between(0, 1, closed="left")),
    "alpha": positive,
    "decay": one_of("linear", "cosine"),
    "clip": one_of(None) | positive,
    "precision": one_of("auto", "float32", "bfloat16"),
    "gradient_checkpointing": one_of(True, False),
    "save_minutes": nonnegative,
}
# Constraints of an `Adaptation` on what a model reads and which of its layers change.
_READING = {
    "pooling": one_of(None, *POOLINGS, POOLER) | JOINED,
    "target_modules": one_of(None)
    | Constraint(
        "a sequence of names",
        lambda names: (
            isinstance(names, tuple)
            and bool(names)
            and all(isinstance(name, str) for name in names)
        ),
    ),
    "quantize": one_of(None) | Constraint("4 or 8", lambda bits: bits in (4, 8)),
    "kind": one_of(None, "text", "image"),
    "reward": one_of(None, "head", "dpo"),
    "beta": positive,
}
# These change where and how a training runs, but not the student that comes out of it.
_HOW = ("micro_batch", "micro_tokens", "gradient_checkpointing", "save_every", "save_minutes")
_OF_STEPS = ("epochs", "learning_rate", "batch_size")
_NOT_IDENTITY = ("device", "resident_bytes", "callbacks", "checkpoint")


@dataclass(frozen=True)
class Adaptation:
    """How a pretrained model is tuned.

    Parameters
    ----------
    model : str
        Folder, or name on the hub, of a transformers model that reads texts or images.
    tuning : {"lora", "full"}
        "lora" trains low-rank adapters of all linear layers, "full" all weights (extra `train`).
    revision : str, optional
    max_length : int
        Tokens after which a text is cut.
    micro_batch, micro_tokens : int
        Most rows, and most tokens with padding, whose gradient is computed at a time; a batch
        accumulates them. Halved, with a line in the log, when memory does not suffice.
    rank, alpha, dropout : int, float, float
        Adapters: their rank, their scale (alpha / rank), and the dropout before them.
    decay, warmup : {"linear", "cosine"}, float
        The rate rises over the first share `warmup` of the steps, then falls to zero.
    clip : float, optional
        Largest norm of the gradient; None does not limit it.
    precision : {"auto", "float32", "bfloat16"}
        For the computation; weights that are trained stay in float32. "auto" takes bfloat16 where a
        GPU is built for it.
    gradient_checkpointing : bool
        Compute activations again on the way back: a third slower, in a fraction of the memory.
    evaluate_every : int, optional
        Steps between two evaluations, by default an epoch.
    save_every, save_minutes : int, float
        Write a checkpoint every so many steps, and when so many minutes have passed.
    pooling : str, optional
        From the hidden states of an item to one vector, see `TextEncoder` and `ImageEncoder`; by
        default as the model's own files say.
    target_modules : sequence of str, optional
        Names, or their last parts, of the layers that get an adapter; by default all linear layers
        and 1 x 1 convolutions, and all convolutions of a model without linear layers.
    quantize : {4, 8}, optional
        Bits to which frozen weights under adapters are rounded (bitsandbytes, CUDA only).
    kind : {"text", "image"}, optional
        Kind of the items; by default what the model reads, and for models of both, e.g. CLIP, what
        the items look like.
    reward : {"head", "dpo"}, optional
        For preference pairs: linear in the pooled hidden state (the default), or for decoders the
        implicit reward of DPO, which trains the language model itself.
    beta : float
        Factor of the log-ratios in the reward of DPO; larger ones keep nearer to the start.
    """

    model: str
    tuning: Literal["lora", "full"] = "lora"
    revision: str | None = None
    max_length: int = 256
    micro_batch: int = 32
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    micro_tokens: int = 16_384
    decay: Decay = "linear"
    warmup: float = 0.06
    clip: float | None = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    evaluate_every: int | None = None
    save_every: int | None = None
    save_minutes: float = 5.0
    pooling: str | None = None
    target_modules: tuple[str, ...] | None = None
    quantize: Literal[4, 8] | None = None
    kind: Kind | None = None
    reward: Literal["head", "dpo"] | None = None
    beta: float = 0.1

    def __post_init__(self) -> None:
        given: Any = self.target_modules
        if isinstance(given, list):  # as JSON has it
            object.__setattr__(self, "target_modules", tuple(given))
        check_parameters(self, _ADAPTATION_CONSTRAINTS | _READING)
        if self.quantize is not None and self.tuning == "full":
            raise InputError(
                f"quantize={self.quantize} rounds weights that are not trained: use tuning 'lora'"
            )

    def identity(self) -> dict[str, Any]:
        """Return all that a trained model depends on, by name, up to rounding."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in _HOW}

    @property
    def source(self) -> Source:
        """Where the model is loaded from."""
        return Source(str(self.model), self.revision)


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training that hold for every method.

    Parameters
    ----------
    tuning : {"head", "lora", "full"}
        Trained part: a linear head on frozen features; or a pretrained text model with a new head,
        through low-rank adapters or all its weights, one seed after another.
    model : str or Adaptation, optional
        Pretrained model for "lora" and "full": a folder or a hub name; an `Adaptation` sets more,
        e.g. the rank of the adapters.
    epochs : int, optional
        Passes over the pool. For heads 20 by default; more on small pools, until the student takes
        800 steps, and fewer on pools of more than 128,000 points, so that it takes 20,000, but 2
        at least. For whole models 3, and more until the student takes 150 steps. Every training of
        a method takes ``ceil(N / batch_size) * epochs`` steps, however few rows it keeps.
    learning_rate : float or "auto", optional
        The highest rate. By default 1e-3 for heads; for whole models 1e-4 (full), or ten times that
        (lora; three times for rewards of pairs), up to 50 million parameters, and less for larger
        ones; see `levels.schedule.usual_rate`. It falls to zero over the steps. "auto" takes a
        tenth of the rate at which the loss is least in a training of 60 steps with a rising rate,
        once per seed (whole models).
    batch_size : int, optional
        By default 128 for heads; for whole models 32, or 16 or 8 on small pools, until the student
        takes 250 steps.
    l2 : float or "cv", optional
        Penalty l2/2 |W|² on standardised features, as in `LinearProbe`. "cv", the default of heads,
        chooses it for the labels that a method trains on, on rows held out; see `choose_penalty`.
        Whole models take 1e-2, by which AdamW lets the weights of their head decay.
    solver : {"adam", "lbfgs", "auto"}, optional
        For heads: "lbfgs" computes the optimum of the penalised cross-entropy, for methods that
        minimise nothing else (`naive`, `stacked`, `bootstrap`, `overlap`, `crossfit`,
        `cosupervised`); epochs, validation and callbacks then have no effect on a training, and
        seeds only on the rows that it is given. "auto" does so where it can and no validation rows
        stop it early. By default "auto" for methods that train on 20,000 points or more, or whose
        labels gold labels have made right (`labelled_only`, `stacked`), unless epochs,
        learning_rate, batch_size or callbacks are given; and else "adam": few steps suit weak
        labels that are biased against rare classes.
    patience : int
        Epochs without a lower validation loss after which a seed stops.
    paired : bool
        Features are those of preference pairs, or items are pairs (first, second[, prompt]) of
        texts or chat messages: train a reward, see `w2s_data.finetune.preference` and, for whole
        models, `w2s_data.finetune.levels.reward`.
    controls : bool
        Train the method's controls as well.
    device : str
    resident_bytes : int
        Largest features of a head that are held in memory; larger ones are read batch by batch.
        The students are the same either way.
    callbacks : sequence of callable
        Called with an `EpochEnd` after every epoch; True ends that training.
    checkpoint : folder, optional
        Stores finished work, from which a killed call resumes: in `measure_gain` each finished
        student, and for whole models the state of a training every few minutes.

    Raises
    ------
    InputError
        If a name is unknown, a number is out of range, or a whole model is not named.

    Examples
    --------
    >>> settings = TrainingSettings(epochs=30).replace(l2=1e-2)
    >>> settings.epochs, settings.l2
    (30, 0.01)
    """

    tuning: Tuning = "head"
    model: str | Adaptation | None = None
    epochs: int | None = None
    learning_rate: float | Literal["auto"] | None = None
    batch_size: int | None = None
    l2: float | Literal["cv"] | None = None
    solver: Solver | None = None
    patience: int = 5
    paired: bool = False
    controls: bool = True
    device: str = "auto"
    resident_bytes: int = RESIDENT_BYTES
    callbacks: tuple[Callback, ...] = ()
    checkpoint: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "callbacks", tuple(self.callbacks))
        check_parameters(self, _CONSTRAINTS)
        if self.tuning != "head" and self.model is None:
            raise InputError(
                f"tuning {self.tuning!r} trains a pretrained model: pass model (folder or hub name)"
            )
        reward = self.model.reward if isinstance(self.model, Adaptation) else None
        if reward is not None and not self.paired:
            raise InputError(
                f"reward {reward!r} is for preference pairs: pass paired=True, or leave reward out"
            )

    @property
    def adaptation(self) -> Adaptation:
        """The model to tune, as a full description."""
        assert self.tuning != "head"
        given = self.model if isinstance(self.model, Adaptation) else Adaptation(str(self.model))
        given = dataclasses.replace(given, tuning=self.tuning)
        if not self.paired:
            return given
        return dataclasses.replace(given, kind="text", reward=given.reward or "head")

    def replace(self, **changes: Any) -> TrainingSettings:
        """Return a copy with other values; an unknown setting is an `InputError`."""
        for name in changes:
            if name not in SETTING_NAMES:
                raise InputError(unknown("training setting", name, SETTING_NAMES))
        return dataclasses.replace(self, **changes)

    def resolve(self, n_rows: int) -> ResolvedSettings:
        """Fill in the defaults for a pool of `n_rows`."""
        values = {name: getattr(self, name) for name in SETTING_NAMES} | self._defaults()
        if self.takes_steps:
            values["solver"] = self.solver or "adam"
        if values["batch_size"] is None:
            values["batch_size"] = _whole_batch(n_rows * (self.epochs or USUAL_WHOLE_EPOCHS))
        if values["epochs"] is None:
            values["epochs"] = self._epochs(max(1, -(-n_rows // values["batch_size"])))
        if values["learning_rate"] == "auto" and self.tuning == "head":
            raise InputError("learning_rate 'auto' is for whole models; heads need a number")
        if values["l2"] == "cv" and self.tuning != "head":
            raise InputError(f"l2 'cv' is chosen for heads; tuning {self.tuning!r} needs a number")
        return ResolvedSettings(**values)

    def identity(self) -> dict[str, Any]:
        """Return all that the student depends on, by name."""
        values = {n: getattr(self, n) for n in SETTING_NAMES if n not in _NOT_IDENTITY}
        if self.tuning != "head":
            values["model"] = self.adaptation.identity()
        return values | self._defaults()

    @property
    def takes_steps(self) -> bool:
        """Whether steps were asked for: a number of them, their size, or callbacks after them."""
        return bool(self.callbacks) or any(getattr(self, name) is not None for name in _OF_STEPS)

    def _epochs(self, steps: int) -> int:
        """Return the usual number of epochs of so many steps."""
        if self.tuning != "head":
            return max(USUAL_WHOLE_EPOCHS, -(-LEAST_WHOLE_STEPS // steps))
        usual = min(USUAL_EPOCHS, max(FEWEST_EPOCHS, MOST_STEPS // steps))
        return max(usual, -(-LEAST_STEPS // steps))

    def _defaults(self) -> dict[str, Any]:
        usual = DEFAULTS[self.tuning]
        return {name: usual[name] for name in usual if getattr(self, name) is None}


def _whole_batch(n_visits: int) -> int:
    """Return the largest usual batch size of a whole model with which it takes enough steps."""
    size = LARGEST_BATCH
    while size > SMALLEST_BATCH and n_visits < size * ENOUGH_STEPS:
        size //= 2
    return size


SETTING_NAMES = tuple(field.name for field in dataclasses.fields(TrainingSettings))


@dataclass(frozen=True)
class ResolvedSettings(TrainingSettings):
    """Settings in which epochs and batch size are numbers, and so is the rate of heads."""

    epochs: int = USUAL_EPOCHS
    learning_rate: float | Literal["auto"] | None = 1e-3  # None is the usual one of the model
    batch_size: int = 128
    l2: float | Literal["cv"] = 1e-3
    solver: Solver | None = "adam"  # None is to be chosen by the rows that a method trains on
