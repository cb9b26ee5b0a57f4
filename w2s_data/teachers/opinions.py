"""The labels of one teacher, and the record of how it came to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.votes import abstains


@dataclass(frozen=True)
class Opinions:
    """Class probabilities of one teacher for every item.

    Attributes
    ----------
    proba : float array (N, C)
        Rows sum to 1; equal probabilities of all classes mean that the teacher abstains.
    summary : mapping
        Facts for `teachers.json`, in JSON: kind, counts, examples, prices.
    notes : tuple of str
        Remarks for a person, a sentence each.

    Examples
    --------
    >>> Opinions.of_codes(np.array([1, -1]), n_classes=2).proba.tolist()
    [[0.0, 1.0], [0.5, 0.5]]
    """

    proba: FloatArray
    summary: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of_codes(
        cls,
        codes: IntArray,
        n_classes: int,
        summary: Mapping[str, Any] | None = None,
        notes: tuple[str, ...] = (),
    ) -> Opinions:
        """Return the opinions of a teacher that names a class, or none (a code of -1)."""
        proba = np.full((len(codes), n_classes), 1 / n_classes)
        named = codes >= 0
        proba[named] = np.eye(n_classes)[codes[named]]
        return cls(proba, summary or {}, notes)

    @property
    def coverage(self) -> float:
        """Share of the items, in [0, 1], on which the teacher does not abstain."""
        return float(np.mean(~abstains(self.proba))) if len(self.proba) else float("nan")
