"""Small sources with known content, for the tests of sources and selection."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.load import W2SDataset
from w2s_data.utils.io import write_json
from w2s_selectors.result import SelectionResult
from w2s_selectors.selection import select_sources
from w2s_selectors.sources import CallableSource, TableSource

DIM = 8


def numbers_of(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Features and weak probabilities that follow from the items; "noisy" labels do not."""
    features, positive = np.empty((len(names), DIM)), np.empty(len(names))
    for row, name in enumerate(names):
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        features[row] = rng.normal(size=DIM)
        score = rng.normal() if name.startswith("noisy") else features[row, :2].sum()
        positive[row] = 1 / (1 + np.exp(-3 * score))
    return features, np.column_stack([1 - positive, positive])


def strong(items: list[str]) -> np.ndarray:
    """A strong encoder of item names."""
    return numbers_of(items)[0]


def weak(items: list[str]) -> np.ndarray:
    """A weak model of item names."""
    return numbers_of(items)[1]


def tables(
    names: tuple[str, ...] = ("good", "fine", "noisy", "more"),
    size: int = 120,
    ready: bool = True,
    **options: Any,
) -> list[TableSource]:
    """Table sources whose items are named after them."""
    items = [f"{name} {i}" for name in names for i in range(size)]
    features, proba = numbers_of(items)
    table = pd.DataFrame(
        {
            "id": items,
            "item": items,
            "label": None,
            "split": "pool",
            "source": np.repeat(names, size),
        }
    )
    data = W2SDataset(table, "text", ("0", "1"), weak_proba=proba if ready else None)
    return TableSource.from_dataset(data, strong_features=features if ready else None, **options)


class Service:
    """A paid service on disk: a request is charged once, and answered alike when repeated."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, n: int, request: str) -> list[tuple[str, str]]:
        with (self.folder / "asked.txt").open("a") as file:
            file.write(f"{request}\n")
            file.flush()
            os.fsync(file.fileno())
        path = self.folder / f"{request}.json"
        if not path.is_file():
            first = sum(len(answer) for answer in self.charged())
            write_json(path, [f"{self.name} {first + i}" for i in range(n)])
        return [(item, item) for item in json.loads(path.read_text())]

    def asked(self) -> list[str]:
        """Every question that reached it, in their order, by the name of the request."""
        path = self.folder / "asked.txt"
        return path.read_text().split() if path.is_file() else []

    def charged(self) -> list[list[str]]:
        """Every answer that was charged for."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json"))]


class Fixed:
    """A source of one's own."""

    name, cost, size = "own", 1.0, None

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def open(self, delivered: Any, folder: Any) -> None:
        pass

    def query(self, n: int, request: str) -> Any:  # noqa: ARG002
        return self.answer()


def select(sources: Any = None, **options: Any) -> SelectionResult:
    """A small selection."""
    settings = {"budget": 300, "batch_size": 10, "random_state": 0, "replays": 0}
    return select_sources(tables() if sources is None else sources, **settings | options)


def target(n: int = 250) -> np.ndarray:
    """Strong features of further items."""
    return numbers_of([f"target {i}" for i in range(n)])[0]


def same(a: SelectionResult, b: SelectionResult) -> bool:
    """Whether two selections had the same trace."""
    pd.testing.assert_frame_equal(a.trace, b.trace)
    np.testing.assert_array_equal(a.scores, b.scores)
    return a.ids == b.ids


def callables(**functions: Any) -> list[CallableSource]:
    """Sources by name that do not retry."""
    return [
        CallableSource(function, name, retries=0, timeout=5) for name, function in functions.items()
    ]


def numbered(name: str) -> Any:
    """A function that delivers numbered items."""
    count = iter(range(10**6))
    return lambda n: [(item := f"{name} {next(count)}", item) for _ in range(n)]


NUMBERS = {"strong_encoder": strong, "weak_model": weak}
