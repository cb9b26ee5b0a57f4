"""The student "head": a linear classifier on frozen features, all seeds in one weight tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from w2s_data.compute.device import free_bytes
from w2s_data.errors import FeatureError, InputError
from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.finetune.levels.linear import HeadModel, Scaling
from w2s_data.finetune.levels.store import digest_array
from w2s_data.finetune.losses import cross_entropy
from w2s_data.finetune.objectives import LabelObjective, Model, Objective
from w2s_data.finetune.penalty import choose_penalty
from w2s_data.finetune.task import PENALTY, TRAINING, Task
from w2s_data.probes.linear import LinearProbe
from w2s_data.utils.typing import BoolArray, FloatArray
from w2s_data.utils.validation import check_feature_block, check_same_length

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Times 1 / sqrt(D): small, so that few steps suffice; at zero the ReLU of `bayes` has no gradient.
INITIAL_SCALE = 0.1
SERIAL_WORK = 4_000_000  # S x B x D x C below which starting threads costs more than it saves


@dataclass(eq=False)
class HeadInputs:
    """Standardised features on a device, or gathered batch by batch when they are large."""

    features: FeatureMatrix
    scaling: Scaling
    device: torch.device
    resident_bytes: int  # that a CPU may hold
    resident: Tensor | None = None

    def __post_init__(self) -> None:
        import torch

        shape = self.features.shape
        # Half of a GPU's free memory: the other half is for logits, gradients and Adam's moments.
        free = free_bytes(self.device)
        budget = self.resident_bytes if free is None else free // 2
        if 4 * shape[0] * shape[1] <= budget:
            self.resident = torch.empty(shape, dtype=torch.float32, device=self.device)
            for rows, block in self.features.blocks():
                self.resident[rows] = torch.from_numpy(self.scaling.apply(block))

    def take(self, rows: Tensor) -> Tensor:
        """Gather rows (S, B) as (S, B, D)."""
        import torch

        flat = rows.reshape(-1)
        if self.resident is not None:
            gathered = self.resident.index_select(0, flat)
        else:
            block = self.features.take(flat.cpu().numpy())
            gathered = torch.from_numpy(self.scaling.apply(block)).to(self.device)
        return gathered.view(*rows.shape, -1)

    def all(self) -> FloatArray:
        """Return all rows (n, D)."""
        if self.resident is not None:
            return np.asarray(self.resident.cpu().numpy())
        return self.scaling.apply(self.features.take(np.arange(self.features.shape[0])))


class HeadNetwork:
    """S heads under training; see `Network`.

    They start from `initial` (S, D + 1, C), weights and, last, intercepts. A `basis` (D, K) limits
    a weaker student to some directions; `initial` then has K + 1 rows. `validation` (V, D) are
    standardised features.
    """

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
        self.validation = validation
        self.l2 = l2
        self.basis = basis
        start = torch.as_tensor(initial, dtype=torch.float32, device=inputs.device)
        self.coef = start[:, :-1].clone().requires_grad_()
        self.intercept = start[:, -1:].clone().requires_grad_()
        self._kept = [parameter.detach().clone() for parameter in (self.coef, self.intercept)]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return weights under the penalty, intercepts without."""
        return [
            {"params": [self.coef], "weight_decay": self.l2},
            {"params": [self.intercept], "weight_decay": 0.0},
        ]

    def logits(self, rows: Tensor) -> Tensor:
        """Compute logits (S, B, C) of pool rows (S, B)."""
        return self._logits(self.inputs.take(rows))

    def validation_logits(self) -> Tensor:
        """Compute logits (S, V, C) of the validation rows."""
        assert self.validation is not None
        return self._logits(self.validation.expand(len(self.coef), *self.validation.shape))

    def keep(self, seeds: BoolArray) -> None:
        """Remember the present weights of some seeds."""
        import torch

        chosen = torch.as_tensor(seeds, device=self.inputs.device)[:, None, None]
        for kept, now in zip(self._kept, (self.coef, self.intercept), strict=True):
            kept.copy_(torch.where(chosen, now.detach(), kept))

    def restore(self) -> None:
        """Return every seed to the weights that were last remembered."""
        self.coef.data.copy_(self._kept[0])
        self.intercept.data.copy_(self._kept[1])

    def model(self, scaling: Scaling, link: str) -> HeadModel:
        """Copy the heads in their present state."""
        coef = self.coef.detach()
        if self.basis is not None:
            coef = self.basis @ coef
        return HeadModel(
            coef.cpu().numpy(), self.intercept.detach()[:, 0].cpu().numpy(), scaling, link
        )

    def _logits(self, features: Tensor) -> Tensor:
        if self.basis is not None:
            features = features @ self.basis
        return self.intercept.baddbmm(features, self.coef)


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
        return HeadInputs(self._features, self.scaling, self.device, self.settings.resident_bytes)

    @cached_property
    def _validation_inputs(self) -> Tensor | None:
        if self.validation_features is None:
            return None
        import torch

        rows = self.validation_features.take(np.arange(self.validation_features.shape[0]))
        return torch.from_numpy(self.scaling.apply(rows)).to(self.device)

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
        if self.settings.solver == "lbfgs":
            return self._solve(objective, weight, l2, basis)
        n_features = self._features.shape[1] if basis is None else basis.shape[1]
        rngs = self.rngs(TRAINING)
        initial = self.initial_weights(n_features, INITIAL_SCALE / np.sqrt(n_features), rngs)
        network = self.network_class(self.inputs, self._validation_inputs, initial, l2, basis)
        work = self.n_seeds * self.settings.batch_size * n_features * self.pool.n_classes
        with torch_threads(serial=work < SERIAL_WORK):
            self._run(network, objective, stage, weight, rngs)
        return network.model(self.scaling, objective.link)

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

    def _solve(
        self, objective: Objective, weight: FloatArray, l2: float, basis: Tensor | None
    ) -> HeadModel:
        """Compute each seed's optimum; seeds with the same rows and labels share it."""
        if not isinstance(objective, LabelObjective) or objective.function is not cross_entropy:
            raise InputError(
                f"{self.name} minimises more than a cross-entropy with fixed labels: "
                "use solver='adam'"
            )
        features = self.inputs.all() if basis is None else self.inputs.all() @ basis.cpu().numpy()
        labels = objective.labels.cpu().numpy()
        heads: dict[str, tuple[FloatArray, FloatArray]] = {}
        keys = [digest_array(weight[i]) + digest_array(labels[i]) for i in range(self.n_seeds)]
        for seed, key in enumerate(keys):
            rows = weight[seed] > 0
            if key not in heads:
                own = (features[rows], labels[seed, rows], weight[seed, rows])
                heads[key] = softmax_head(*own, l2, str(self.device))
        fitted = [heads[key] for key in keys]
        coef = np.stack([head[0] for head in fitted])
        if basis is not None:
            coef = basis.cpu().numpy() @ coef
        intercept = np.stack([head[1] for head in fitted])
        return HeadModel(coef.astype(np.float32), intercept.astype(np.float32), self.scaling)

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


def softmax_head(
    features: FloatArray, labels: FloatArray, weights: FloatArray, l2: float, device: str = "cpu"
) -> tuple[FloatArray, FloatArray]:
    """Return weights (D, C) and intercepts (C,) that minimise the penalised cross-entropy."""
    probe = LinearProbe(l2=l2, standardize=False, device=device)
    probe.fit(features, labels, weights)
    coef, intercept = probe.coef_.T, probe.intercept_
    if coef.shape[1] == 1:  # a sigmoid is a softmax whose first logit is 0
        coef = np.hstack([np.zeros_like(coef), coef])
        intercept = np.concatenate([[0.0], intercept])
    return coef, intercept


def feature_scaling(features: FeatureMatrix) -> Scaling:
    """Compute mean and standard deviation of every feature; refuse NaN and infinite values."""
    n_rows, n_features = features.shape
    numbers = np.arange(n_rows)
    total = np.zeros(n_features)
    # Deviations from the first row: a large common offset would cancel the digits of the squares.
    shift = np.asarray(features.take(np.array([0]))[0], dtype=np.float64)
    squares = np.zeros(n_features)
    for rows, block in features.blocks():
        check_feature_block(block, numbers[rows], "features", nonzero=False)
        deviation = block - shift
        total += deviation.sum(axis=0)
        squares += np.einsum("ij,ij->j", deviation, deviation)
    mean = total / n_rows
    variance = squares / n_rows - mean**2
    # What float32 cannot resolve is noise, and scaling it to variance 1 would make it a feature.
    rounding = np.finfo(np.float32).eps * np.maximum(np.abs(shift), np.abs(mean))
    constant = variance <= rounding**2
    return Scaling(shift + mean, np.where(constant, np.inf, np.sqrt(np.maximum(variance, 0))))


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
