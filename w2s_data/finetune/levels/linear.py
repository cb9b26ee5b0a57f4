"""Linear heads as they predict: S at a time, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from w2s_data.errors import FeatureError
from w2s_data.features.matrix import as_feature_matrix, row_blocks
from w2s_data.finetune.objectives import LINKS, Model, Weights
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import check_feature_block

SCALED_BYTES = 2**20  # of rows that are standardised at a time
PREDICTED_BYTES = 4 * 2**20  # of rows that are predicted at a time: they stay in the caches
# Means of so many scales cost float32 two of its seven digits if they are not subtracted first.
FAR = 100.0
_BY_SEED = ("coef", "intercept")  # tensors with a row per seed


@dataclass(frozen=True)
class Scaling:
    """Mean and scale of every feature; a constant one has scale inf, and so no influence."""

    mean: FloatArray
    scale: FloatArray

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
        heads = [self._head(place) for place in range(n_seeds)]
        for rows, block in features.blocks():
            for head, predicted in zip(heads, proba[:, rows], strict=True):
                for part, own in head._parts(block, rows.start):
                    predicted[part] = own[0].T
        return proba

    def mean_proba(self, block: FloatArray, start: int = 0) -> FloatArray:
        """Return class probabilities (n, C) of a block (n, D), averaged over the heads.

        `start` is the number of its first row, for messages.
        """
        proba = np.empty((len(block), self.coef.shape[2]), dtype=np.float32)
        for part, own in self._parts(block, start):
            proba[part] = own.mean(axis=0).T
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
        return Weights(self._head(place).tensors(), {"link": self.link})

    @classmethod
    def join(cls, seeds: Sequence[Weights]) -> HeadModel:
        """Join the heads of several seeds, which were trained on the same rows: one scaling."""
        parts = [seed.tensors for seed in seeds]
        both = {name: np.concatenate([part[name] for part in parts]) for name in _BY_SEED}
        return cls.from_tensors({**parts[0], **both}, seeds[0].record["link"])

    def _head(self, place: int) -> HeadModel:
        one = slice(place, place + 1)
        return HeadModel(self.coef[one], self.intercept[one], self.scaling, self.link)

    def _parts(self, block: FloatArray, start: int) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows, probabilities (S, C, len(rows))) of a block, some rows at a time."""
        n_seeds, _, n_classes = self.coef.shape
        for part in row_blocks(block.shape, PREDICTED_BYTES):
            logits = self._logits(block[part])
            if not np.isfinite(logits).all():
                numbers = np.arange(start + part.start, start + part.stop)
                check_feature_block(block[part], numbers, "features", nonzero=False)
            yield part, self._linked(logits.reshape(n_seeds, n_classes, -1))

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

    def _linked(self, logits: FloatArray) -> FloatArray:
        """Turn logits (S, C, n) into probabilities."""
        if self.link != "softmax":
            import torch

            linked = LINKS[self.link](torch.from_numpy(logits.swapaxes(1, 2).copy()))
            return np.asarray(linked.numpy().swapaxes(1, 2))
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        return logits
