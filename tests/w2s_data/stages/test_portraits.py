"""Portraits of discovered groups, on groups whose difference is known."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from w2s_data import load_dataset
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.stages.portraits import portray_groups

N = 20  # rows of a group


def picture(bright_half: int, rng: np.random.Generator) -> bytes:
    """A picture whose upper (0) or lower (1) half is bright."""
    from PIL import Image

    pixels = rng.normal(60, 10, (24, 24))
    pixels[12 * bright_half : 12 * bright_half + 12] += 120
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def portraits(items: list[Any], kind: str, **columns: Any) -> list[dict[str, Any]]:
    labels = np.repeat(["cat", "dog"], N)
    labels[3] = "dog"  # the one that surprises
    table = pd.DataFrame({kind: items, "label": labels, "split": "labelled", **columns})
    dataset = load_dataset(
        table, item=kind, label="label", split="split", **{n: n for n in columns}
    )
    # Rows of a group lie around one direction each, the first the nearest to it.
    angle = np.concatenate([np.linspace(0, 0.3, N), np.linspace(1.3, 1.6, N)])
    features = ArrayFeatures(np.column_stack([np.cos(angle), np.sin(angle)]))
    groups = np.repeat(["group 0", "group 1"], N)
    analyzer: Any = SimpleNamespace(discovery_="gaps", group_=groups)
    known = {"class": dataset.table["label"].to_numpy(dtype=object)}
    return portray_groups(dataset, features, analyzer, known, seed=0)


def test_pictures_differ_where_they_do(rng: np.random.Generator) -> None:
    upper, lower = portraits([picture(k, rng) for k in (0, 1) for _ in range(N)], "image")
    for one, sign in ((upper, 1), (lower, -1)):
        pixels = sign * np.array(one["pixels"])
        assert pixels.shape == (12, 12)
        assert (pixels[:6] > 0.5).all()
        assert (pixels[6:] < -0.5).all()


def test_a_group_is_named_by_label_source_and_words() -> None:
    texts = [f"the referee gave a goal {i}" for i in range(N)]
    texts += [f"the judge heard a witness {i}" for i in range(N)]
    first, second = portraits(texts, "text", source=np.repeat(["press", "court"], N))
    assert first["name"].startswith("cat, press, ")
    assert set(first["words"]) == {"referee", "gave", "goal"}
    assert second["name"].startswith("dog, court, ")
    assert first["pixels"] is None


def test_the_other_label_surprises_where_most_rows_have_one() -> None:
    first, second = portraits([f"text {i}" for i in range(2 * N)], "text")
    assert (first["surprise"], [str(id) for id in first["surprising"]]) == ("label", ["3"])
    assert len(first["typical"]) == 12
    # All have one label: then the furthest ones do, which are at both ends here.
    assert second["surprise"] == "distance"
    assert {str(id) for id in second["surprising"][:2]} == {str(N), str(2 * N - 1)}


@pytest.mark.parametrize("discovery", ["given", "none"])
def test_groups_with_names_need_no_portrait(discovery: str) -> None:
    nothing: Any = None
    analyzer: Any = SimpleNamespace(discovery_=discovery)
    assert portray_groups(nothing, nothing, analyzer, {}, seed=0) == []
