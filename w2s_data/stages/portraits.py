"""Portraits of discovered groups: a name, what sets each apart, and items to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from w2s_data.data.load import W2SDataset
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.groups.base import BaseGroupAnalyzer
from w2s_data.groups.portraits import (
    TYPICAL,
    name_group,
    nearest_first,
    sample_groups,
    surprising_rows,
    telling_value,
    telling_words,
)
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

# Pictures of a group that its mean is made of, and its pixels a side: a shape shows, no detail.
PICTURED, PIXELS = 60, 12


def portray_groups(
    dataset: W2SDataset,
    strong: FeatureMatrix,
    analyzer: BaseGroupAnalyzer,
    known: Mapping[str, AnyArray],
    seed: int,
) -> list[dict[str, Any]]:
    """Describe each discovered group, which has a number for a name, by what can be looked at.

    `known` are names of each row, such as its class, by what they say; the first are its labels.

    Returns
    -------
    list of dict
        One per group: `group`, `name` (in a few words), ids of `typical` and of `surprising` items,
        `surprise` ("label" or "distance"), `words` and values (`telling`) that set it apart, and of
        pictures `pixels` (12, 12), its mean brightness minus that of the other groups in standard
        deviations.
    """
    if analyzer.discovery_ in ("given", "none"):
        return []
    groups = analyzer.group_
    rows = dict(sorted(sample_groups(groups, np.random.default_rng(seed)).items()))
    words: dict[Any, list[str]] = {}
    if dataset.kind == "text":
        texts = dataset.table["item" if dataset.prompts is None else "prompt"]
        words = telling_words({name: texts.iloc[own].tolist() for name, own in rows.items()})
    pixels = _telling_pixels(dataset, rows) if dataset.kind == "image" else {}
    columns = {**known, "source": dataset.sources}
    labels = next(iter(known.values()))
    portraits = []
    for name, own in rows.items():
        telling = {
            role: telling_value(values, groups == name)
            for role, values in columns.items()
            if values is not None
        }
        order = nearest_first(strong, own)
        surprising, why = surprising_rows(order, labels)
        portraits.append(
            {
                "group": name,
                "name": name_group(telling, words.get(name, [])),
                "typical": dataset.ids[order[:TYPICAL]],
                "surprising": dataset.ids[surprising],
                "surprise": why,
                "words": words.get(name, []),
                "telling": telling,
                "pixels": pixels.get(name),
            }
        )
    return portraits


def _telling_pixels(
    dataset: W2SDataset, rows: Mapping[Any, IntArray]
) -> dict[Any, list[list[float]]]:
    """Compare the mean picture of each group with that of the others, pixel by pixel."""
    from w2s_data.encoders import PixelEncoder

    if len(rows) < 2:
        return {}
    taken = {name: own[:PICTURED] for name, own in rows.items()}
    encoder = PixelEncoder(PIXELS)
    pixels: FloatArray = encoder.encode(
        dataset.table["item"].iloc[np.concatenate([*taken.values()])]
    )
    spread = pixels.std(axis=0) + 1e-6  # an edge that is always black differs nowhere
    group = np.repeat(np.arange(len(taken)), [len(own) for own in taken.values()])
    found = {}
    for number, name in enumerate(taken):
        own, others = (pixels[part].mean(axis=0) for part in (group == number, group != number))
        found[name] = np.round((own - others) / spread, 2).reshape(PIXELS, PIXELS).tolist()
    return found
