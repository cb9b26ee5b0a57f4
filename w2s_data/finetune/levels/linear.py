"""Linear heads as they predict: S at a time, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from w2s_data.errors import FeatureError
from w2s_data.features.matrix import as_feature_matrix, row_blocks
from w2s_data.finetune.objectives import LINKS, Model, Weights
from w2s_data.utils.threads import for_each
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import check_feature_block

SCALED_BYTES = 2**20  # of rows that are standardised at a time
PREDICTED_BYTES = 2**21  # of rows that are predicted at a time: they stay in the caches
# Means of so many scales cost float32 two of its seven digits if they are not subtracted first.
FAR = 100.0
_BY_SEED = ("coef", "intercept")  # tensors with a row per seed


@dataclass(frozen=True)
class Scaling:
    """Mean and scale of every feature; a constant one has scale inf, and so no influence."""

    mean: FloatArray
    scale: FloatArray

    def uncentred(self) -> Scaling:
        """Return the scaling to mean square 1, which keeps the signs of the features."""
        return Scaling(np.zeros_like(self.mean), np.hypot(self.mean, self.scale))

    def apply(self, block: FloatArray) -> FloatArray:
        """Return standardised float32 features."""
        out = np.empty(block.shape, dtype=np.float32)
        # In float64, some rows at a time, so that the intermediate results stay small.
        for rows in row_blocks(block.shape, SCALED_BYTES):
            out[rows] = (block[rows] - self.mean) / self.scale
        return out


@dataclass(frozen=True)
class HeadModel(Model):
    """S linear heads on standardised features."""

    coef: FloatArray  # float32 (S, D, C)
    intercept: FloatArray  # float32 (S, C)
    scaling: Scaling
    link: str = "softmax"

    def proba(self, inputs: Any) -> FloatArray:
        """Return class probabilities (S, n, C) of features (n, D), read block by block."""
        features = as_feature_matrix(inputs)
        self.check_width(features.shape[1])
        n_seeds, _, n_classes = self.coef.shape
        proba = np.empty((n_seeds, features.shape[0], n_classes), dtype=np.float32)
        # Seed by seed: the bytes of one must not depend on which others are predicted with it.
        heads = [self.part(slice(place, place + 1)) for place in range(n_seeds)]
        for rows, block in features.blocks():
            _predict(heads, block, rows.start, proba[:, rows])
        return proba

    def mean_proba(self, block: FloatArray, start: int = 0) -> FloatArray:
        """Return class probabilities (n, C) of a block (n, D), averaged over the heads.

        `start` is the number of its first row, for messages.
        """
        proba = np.empty((len(block), self.coef.shape[2]), dtype=np.float32)

        def predict(part: slice) -> None:
            own = self._predicted(block[part], start + part.start)
            proba[part] = (own.sum(axis=0) / len(own)).T  # `mean` takes twice as long

        for_each(predict, row_blocks(block.shape, PREDICTED_BYTES))
        return proba

    def check_width(self, n_features: int) -> None:
        """Raise FeatureError unless there are as many features as the heads were trained on."""
        if n_features != self.coef.shape[1]:
            raise FeatureError(
                f"the student was trained on {self.coef.shape[1]} features; got {n_features}"
            )

    def tensors(self) -> dict[str, FloatArray]:
        """Return the arrays by name, for a file."""
        scaling = {"mean": self.scaling.mean, "scale": self.scaling.scale}
        return {"coef": self.coef, "intercept": self.intercept, **scaling}

    @classmethod
    def from_tensors(cls, tensors: dict[str, FloatArray], link: str) -> HeadModel:
        """Rebuild a model from its `tensors`."""
        scaling = Scaling(tensors["mean"], tensors["scale"])
        return cls(tensors["coef"], tensors["intercept"], scaling, link)

    def weights(self, place: int) -> Weights:
        """Return the head of the seed at one place among the S."""
        return Weights(self.part(slice(place, place + 1)).tensors(), {"link": self.link})

    @classmethod
    def join(cls, seeds: Sequence[Weights]) -> HeadModel:
        """Join the heads of several seeds, which were trained on the same rows: one scaling."""
        parts = [seed.tensors for seed in seeds]
        both = {name: np.concatenate([part[name] for part in parts]) for name in _BY_SEED}
        return cls.from_tensors({**parts[0], **both}, seeds[0].record["link"])

    def part(self, seeds: slice) -> HeadModel:
        """Return the heads of some seeds."""
        return HeadModel(self.coef[seeds], self.intercept[seeds], self.scaling, self.link)

    def _predicted(self, block: FloatArray, start: int) -> FloatArray:
        """Return probabilities (S, C, n) of some rows, the first of which has number `start`."""
        n_seeds, _, n_classes = self.coef.shape
        logits = self._logits(block).reshape(n_seeds, n_classes, -1)
        highest = logits.max(axis=1, keepdims=True)
        # Whatever the signs of the weights, a feature that is not finite makes one logit of its row
        # NaN or +inf, or all of them -inf, and so their maximum.
        if not np.isfinite(highest).all():
            numbers = np.arange(start, start + len(block))
            check_feature_block(block, numbers, "features", nonzero=False)
        return self._linked(logits, highest)

    def _logits(self, block: FloatArray) -> FloatArray:
        """Compute logits (S C, n); not finite where a feature is not."""
        weights, intercept = self._folded
        features = self.scaling.apply(block) if self._is_far else block
        with np.errstate(invalid="ignore", over="ignore"):
            # Classes before rows, whose sums and maxima are then over long vectors: by a copy,
            # since the transposed product takes a third longer.
            logits = np.ascontiguousarray((features @ weights).T)
            logits += intercept
        return logits

    @cached_property
    def _is_far(self) -> bool:
        """Whether features have to be centred before they are multiplied."""
        return bool((np.abs(self.scaling.mean) > FAR * self.scaling.scale).any())

    @cached_property
    def _folded(self) -> tuple[FloatArray, FloatArray]:
        """Weights (D, S C) and intercepts (S C, 1), of features as they are unless they are far."""
        weights = self.coef.transpose(0, 2, 1).reshape(-1, self.coef.shape[1])
        intercept = self.intercept.reshape(-1, 1)
        if not self._is_far:
            weights = weights / self.scaling.scale
            intercept = intercept - (weights @ self.scaling.mean)[:, None]
        folded = np.ascontiguousarray(weights.T, dtype=np.float32)
        return folded, intercept.astype(np.float32)

    def _linked(self, logits: FloatArray, highest: FloatArray) -> FloatArray:
        """Turn logits (S, C, n), the highest of which are (S, 1, n), into probabilities."""
        if self.link != "softmax":
            import torch

            linked = LINKS[self.link](torch.from_numpy(logits.swapaxes(1, 2).copy()))
            return np.asarray(linked.numpy().swapaxes(1, 2))
        logits -= highest
        np.exp(logits, out=logits)
        logits *= 1 / logits.sum(axis=1, keepdims=True)  # a division for every class takes longer
        return logits


def _predict(heads: list[HeadModel], block: FloatArray, start: int, proba: FloatArray) -> None:
    """Fill `proba` (S, n, C) for a block (n, D)."""

    def predict(part: slice) -> None:
        for head, own in zip(heads, proba, strict=True):
            own[part] = head._predicted(block[part], start + part.start)[0].T

    for_each(predict, row_blocks(block.shape, PREDICTED_BYTES))
