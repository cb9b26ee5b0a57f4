"""w2s-data: what your data is worth for weak-to-strong training.

Public names are loaded on first use, so that `import w2s_data` imports no heavy library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from w2s_data._version import __version__

if TYPE_CHECKING:
    from w2s_data import finetune
    from w2s_data.dataset import W2SDataset, load_dataset
    from w2s_data.discrepancy import DiscrepancyAnalyzer
    from w2s_data.encoders import ImageEncoder, PixelEncoder, TextEncoder, TfidfEncoder
    from w2s_data.features import FeatureStore, embed
    from w2s_data.forecast import GainForecaster
    from w2s_data.groups import GroupAnalyzer
    from w2s_data.neighbors import NeighborIndex
    from w2s_data.overlap import OverlapDetector
    from w2s_data.probes import LinearProbe
    from w2s_data.regions import Region
    from w2s_data.run import Run
    from w2s_data.spurious import SpuriousAnalyzer

_HOME = {
    "DiscrepancyAnalyzer": "discrepancy",
    "FeatureStore": "features",
    "GainForecaster": "forecast",
    "GroupAnalyzer": "groups",
    "ImageEncoder": "encoders",
    "LinearProbe": "probes",
    "NeighborIndex": "neighbors",
    "OverlapDetector": "overlap",
    "PixelEncoder": "encoders",
    "Region": "regions",
    "Run": "run",
    "SpuriousAnalyzer": "spurious",
    "TextEncoder": "encoders",
    "TfidfEncoder": "encoders",
    "W2SDataset": "dataset",
    "embed": "features",
    "load_dataset": "dataset",
}

__all__ = [
    "DiscrepancyAnalyzer",
    "FeatureStore",
    "GainForecaster",
    "GroupAnalyzer",
    "ImageEncoder",
    "LinearProbe",
    "NeighborIndex",
    "OverlapDetector",
    "PixelEncoder",
    "Region",
    "Run",
    "SpuriousAnalyzer",
    "TextEncoder",
    "TfidfEncoder",
    "W2SDataset",
    "__version__",
    "embed",
    "finetune",
    "load_dataset",
]


def __getattr__(name: str) -> Any:
    if name == "finetune":  # a module among the names
        return importlib.import_module(f"{__name__}.finetune")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "finetune"})
