"""The student "head": a linear classifier on frozen features, all seeds in one weight tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from w2s_data.errors import FeatureError, InputError
from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.finetune.levels.inputs import HeadInputs, feature_scaling
from w2s_data.finetune.levels.linear import HeadModel, Scaling
from w2s_data.finetune.levels.optimum import solve_heads
from w2s_data.finetune.levels.penalty import choose_penalty
from w2s_data.finetune.levels.store import digest_array
from w2s_data.finetune.losses import cross_entropy
from w2s_data.finetune.objectives import LabelObjective, Model, Objective
from w2s_data.finetune.settings import ResolvedSettings
from w2s_data.finetune.task import PENALTY, TRAINING, Task
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray
from w2s_data.utils.validation import check_same_length

if TYPE_CHECKING:
    from torch import Tensor

# Times 1 / sqrt(D): small, so that few steps suffice; at zero the ReLU of `bayes` has no gradient.
INITIAL_SCALE = 0.1
# Most that a step gathers for students side by side: more would not stay in the caches.
SIDE_BY_SIDE_BYTES = 2**23
SERIAL_WORK = 4_000_000  # S x B x D x C below which starting threads costs more than it saves
# From so many rows on, the usual steps end at the optimum, which takes a tenth of the time.
SOLVED_ROWS = 20_000


class HeadNetwork:
    """S heads under training; see `Network`.

    They start from `initial` (S, D + 1, C), weights and, last, intercepts. A `basis` (D, K) limits
    a weaker student to some directions; `initial` then has K + 1 rows. `validation` (V, D + 1) are
    features as in `inputs`.
    """

    constant: ClassVar[float] = 1.0  # feature whose weight is the intercept

    def __init__(
        self,
        inputs: HeadInputs,
        validation: Tensor | None,
        initial: FloatArray,
        l2: float,
        basis: Tensor | None = None,
    ) -> None:
        import torch

        self.inputs = inputs
        self.basis = None
        if basis is not None:  # the constant stays as it is
            self.basis = torch.nn.functional.pad(basis, (0, 1, 0, 1))
            self.basis[-1, -1] = 1
        self.validation = None if validation is None else self._seen(validation)
        start = torch.as_tensor(initial, dtype=torch.float32, device=inputs.device)
        # Classes before features: the products of a batch take a sixth of the time.
        self.weights = start.mT.contiguous()  # (S, C, D + 1)
        self._kept = self.weights.clone()
        # One for each weight: an addition to all but the intercepts would take twice as long.
        self._penalties = self.weights.new_full((self.weights.shape[2],), l2)
        self._penalties[-1] = 0

    def gather(self, rows: Tensor) -> Tensor:
        """Return features (S, B, D + 1) of pool rows (S, B)."""
        return self._seen(self.inputs.take(rows))

    def logits(self, features: Tensor) -> Tensor:
        """Compute logits (S, B, C) of features (S, B, D + 1) or (V, D + 1)."""
        return self._by_class(_product(self.weights, features.mT)).mT

    def gradient(self, features: Tensor, slopes: Tensor) -> Tensor:
        """Return the gradient of the weights by slopes (S, B, C) of the logits."""
        return _product(self._by_score(slopes.mT), features)

    def penalise(self, gradient: Tensor) -> None:
        """Add the gradient of the penalty, which intercepts are free of."""
        gradient.addcmul_(self.weights, self._penalties)

    def validation_logits(self) -> Tensor:
        """Compute logits (S, V, C) of the validation rows."""
        assert self.validation is not None
        return self.logits(self.validation)

    def keep(self, seeds: BoolArray) -> None:
        """Remember the present weights of some seeds."""
        import torch

        chosen = torch.as_tensor(seeds, device=self.inputs.device)[:, None, None]
        self._kept = torch.where(chosen, self.weights, self._kept)

    def restore(self) -> None:
        """Return every seed to the weights that were last remembered."""
        self.weights.copy_(self._kept)

    def model(self, scaling: Scaling, link: str) -> HeadModel:
        """Copy the heads in their present state."""
        scores = self.weights if self.basis is None else self.weights @ self.basis.mT
        own = self._by_class(scores).mT  # (S, D + 1, C)
        return HeadModel(
            own[:, :-1].contiguous().cpu().numpy(), own[:, -1].cpu().numpy(), scaling, link
        )

    def _seen(self, features: Tensor) -> Tensor:
        return features if self.basis is None else features @ self.basis

    def _by_class(self, scores: Tensor) -> Tensor:
        """Turn scores (S, K, n) into logits (S, C, n)."""
        return scores

    def _by_score(self, slopes: Tensor) -> Tensor:
        """Turn slopes of logits (S, C, B) into those of scores (S, K, B)."""
        return slopes


def _product(one: Tensor, other: Tensor) -> Tensor:
    """Multiply stacks of matrices."""
    import torch

    if one.device.type != "cpu":
        return one @ other
    # For such small matrices numpy's product takes a third of the time of torch's.
    return torch.from_numpy(np.matmul(one.numpy(), other.numpy()))


@dataclass
class HeadTask(Task):
    """Trains linear heads on the pool's features."""

    validation_features: FeatureMatrix | None = None  # their labels are in `validation_labels`
    network_class: ClassVar[type[HeadNetwork]] = HeadNetwork

    def __post_init__(self) -> None:
        if self.pool.features is None:
            raise InputError("tuning 'head' needs features (N, D)")
        n_rows, n_features = self.pool.features.shape
        check_same_length(features=range(n_rows), weak_proba=self.pool.weak_proba)
        held_out = self.validation_features
        if held_out is not None and held_out.shape[1] != n_features:
            raise FeatureError(
                f"validation features have {held_out.shape[1]} columns; the pool's have "
                f"{n_features}"
            )

    @cached_property
    def scaling(self) -> Scaling:
        """Mean and scale of the pool's features, in one pass over blocks."""
        return feature_scaling(self._features)

    @cached_property
    def inputs(self) -> HeadInputs:
        """The pool, standardised."""
        return HeadInputs(
            *(self._features, self.scaling, self.device, self.settings.resident_bytes),
            constant=self.network_class.constant,
        )

    @cached_property
    def _validation_inputs(self) -> Tensor | None:
        if self.validation_features is None:
            return None
        rows = self.validation_features.take(np.arange(self.validation_features.shape[0]))
        return self.inputs.scaled(rows)

    @property
    def _features(self) -> FeatureMatrix:
        assert self.pool.features is not None
        return self.pool.features

    def pool_proba(self, model: Model) -> FloatArray:
        """Return probabilities (S, N, C) of the pool's rows."""
        return model.proba(self._features)

    def _train(
        self, objective: Objective, stage: str, weight: FloatArray, penalty: float, capacity: float
    ) -> Model:
        basis = self._basis(capacity)
        l2 = float(self.settings.l2) * penalty
        if (labels := self._fixed_labels(objective)) is not None:
            return self._solve(labels, weight, l2, basis)
        n_features = self._features.shape[1] if basis is None else basis.shape[1]
        rngs = self.rngs(TRAINING)
        initial = self.initial_weights(n_features, INITIAL_SCALE / np.sqrt(n_features), rngs)
        network = self.network_class(self.inputs, self._validation_inputs, initial, l2, basis)
        work = self.n_seeds * self.settings.batch_size * n_features * self.pool.n_classes
        with torch_threads(serial=work < SERIAL_WORK):
            self._run(network, objective, stage, weight, rngs)
        return network.model(self.scaling, objective.link)

    def train_each(
        self, objective: Objective, choices: Mapping[str, AnyArray]
    ) -> Iterator[tuple[str, Model]]:
        """Train as `Task.train_each` does, several choices side by side where that is the same."""
        if not self._trains_alike(objective):
            yield from super().train_each(objective, choices)
            return
        step_bytes = 4 * self.n_seeds * self._batch_rows * (self._features.shape[1] + 1)
        size, stages = max(1, SIDE_BY_SIDE_BYTES // step_bytes), list(choices)
        for start in range(0, len(stages), size):
            own = {stage: choices[stage] for stage in stages[start : start + size]}
            try:
                yield from self._train_together(objective, own).items()
            except InputError:  # raised again by the one stage that it is about
                yield from super().train_each(objective, own)

    def _trains_alike(self, objective: Objective) -> bool:
        """Whether students side by side are those that would be trained one after another."""
        # A callback, or an early stop, sees a training of its own.
        alone = self.settings.callbacks or self.validation_labels is not None
        return isinstance(objective, LabelObjective) and not alone

    def _train_together(
        self, objective: Objective, choices: Mapping[str, AnyArray]
    ) -> dict[str, Model]:
        """Train on all choices in one tensor, as if the seeds were as many times as many."""
        seeds, n_choices = self.n_seeds, len(choices)
        wide = replace(self, seeds=self.seeds * n_choices, history=[])
        wide.scaling, wide.inputs = self.scaling, self.inputs
        shape = seeds, self.pool.n_rows
        rows = np.concatenate([np.broadcast_to(own, shape) for own in choices.values()])
        model = wide.train(objective, stage=", ".join(choices), rows=rows)
        assert isinstance(model, HeadModel)
        found: dict[str, Model] = {}
        for number, stage in enumerate(choices):
            found[stage] = model.part(slice(number * seeds, (number + 1) * seeds))
            self.history += [
                {**row, "stage": stage}
                for place, row in enumerate(wide.history)
                if place // seeds % n_choices == number
            ]
        return found

    def settle(
        self, targets: Callable[[], tuple[BoolArray, FloatArray]], trusted: bool
    ) -> ResolvedSettings:
        """Choose penalty and solver where they are not given, for the `targets` of a method.

        Weak labels are biased against rare classes, and few steps end before the intercepts have
        followed them. Labels that are `trusted` are learned to the optimum.
        """
        l2, solver = self.settings.l2, self.settings.solver
        # Targets may cost a model of the labels: they are asked for only where they decide.
        if solver is None and (trusted or self.pool.n_rows < SOLVED_ROWS):
            solver = "auto" if trusted else "adam"
        if l2 == "cv" or solver is None:
            rows, labels = targets()
            l2 = self.choose_penalty(rows, labels) if l2 == "cv" else l2
            if solver is None:
                solver = "auto" if np.count_nonzero(rows) >= SOLVED_ROWS else "adam"
        self.settings = replace(self.settings, l2=l2, solver=solver)
        return self.settings

    def choose_penalty(self, rows: BoolArray, labels: FloatArray) -> float:
        """Choose l2 for the labels (N, C) of some rows (N,), the same for all seeds."""
        chosen = np.flatnonzero(rows)
        sequence = np.random.SeedSequence(self.entropy, spawn_key=(PENALTY,))
        return choose_penalty(
            FeatureView(self._features, chosen),
            labels[chosen],
            paired=self.settings.paired,
            device=self.settings.device,
            random_state=np.random.default_rng(sequence),
        )

    def initial_weights(
        self, n_features: int, spread: float, rngs: Sequence[np.random.Generator]
    ) -> FloatArray:
        """Draw the weights (S, D + 1, C) that training starts from."""
        size = (n_features + 1, self.pool.n_classes)
        return np.stack([rng.uniform(-spread, spread, size) for rng in rngs])

    def _fixed_labels(self, objective: Objective) -> Tensor | None:
        """Return the labels of which the optimum is to be computed; None to take steps instead."""
        # An early stop sees a training of its own.
        stops = self.settings.solver == "auto" and self.validation_labels is not None
        if self.settings.solver in (None, "adam") or stops:
            return None
        if isinstance(objective, LabelObjective) and objective.function is cross_entropy:
            return objective.labels
        if self.settings.solver == "lbfgs":
            raise InputError(
                f"{self.name} minimises more than a cross-entropy with fixed labels: "
                "use solver='auto' or 'adam'"
            )
        return None

    def _solve(
        self, labels: Tensor, weight: FloatArray, l2: float, basis: Tensor | None
    ) -> HeadModel:
        """Compute each seed's optimum; seeds with the same rows and labels share it."""
        if labels.stride(0) == 0:
            labels = labels[:1]
        digests = [digest_array(own.cpu().numpy()) for own in labels] * (
            self.n_seeds // len(labels)
        )
        keys = [digest_array(own) + digest for own, digest in zip(weight, digests, strict=True)]
        first = {key: seed for seed, key in reversed(list(enumerate(keys)))}
        chosen = sorted(first.values())
        # Students on several choices of rows share the labels of their seed, choice by choice.
        own = labels if len(labels) == 1 else labels[[seed % len(labels) for seed in chosen]]
        coef, intercept = self._optima(own, weight[chosen], l2, basis)
        place = [chosen.index(first[key]) for key in keys]
        return HeadModel(coef[place], intercept[place], self.scaling)

    def _optima(
        self, labels: Tensor, weight: FloatArray, l2: float, basis: Tensor | None
    ) -> tuple[FloatArray, FloatArray]:
        """Solve K heads (K, D, C), (K, C) by labels (K or 1, N, C) and weights (K, N) of rows."""
        import torch

        rows = np.flatnonzero((weight > 0).any(axis=0))
        own = weight[:, rows]
        mass = self.seed_tensor(own / own.sum(axis=1, keepdims=True))

        def blocks() -> Iterator[tuple[slice, Tensor]]:
            for part, block in self.inputs.blocks(rows):
                yield part, block if basis is None else block @ basis

        numbers = torch.from_numpy(rows).to(self.device)
        solved = solve_heads(
            blocks, labels[:, numbers].mT.contiguous(), mass, l2, self.network_class.constant == 1
        )
        coef = solved[0].mT
        if basis is not None:
            coef = basis @ coef
        return coef.cpu().numpy(), solved[1].cpu().numpy()

    def _basis(self, capacity: float) -> Tensor | None:
        """The leading principal directions, the only ones that a weaker student sees."""
        if capacity == 1:
            return None
        import torch

        size = max(1, round(capacity * self._features.shape[1]))
        return torch.from_numpy(self._principal_directions[:, :size]).to(self.device)

    @cached_property
    def _principal_directions(self) -> FloatArray:
        """Eigenvectors (D, D) of the correlation matrix, the largest eigenvalue first."""
        n_features = self._features.shape[1]
        gram = np.zeros((n_features, n_features))
        for _, block in self._features.blocks():
            scaled = self.scaling.apply(block)
            gram += scaled.T @ scaled
        return np.asarray(np.linalg.eigh(gram)[1][:, ::-1], dtype=np.float32).copy()


@contextmanager
def torch_threads(serial: bool) -> Iterator[None]:
    """Compute on one thread for a while if `serial`."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if serial else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
