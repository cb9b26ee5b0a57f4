"""The points a page draws: a stratified sample where there are many, with excerpts and thumbnails.

Numbers never come from here: they use every point.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.stages.graph import GROUPS_SUMMARY, POSITIONS
from w2s_data.utils.typing import IntArray
from w2s_reports.artefacts import Artefacts
from w2s_reports.discovered import group_names
from w2s_reports.formats import id_of, name_of, plain
from w2s_reports.items import item_texts
from w2s_reports.palette import REGION_KEYS
from w2s_reports.ranges import value_columns
from w2s_reports.trust import LEVEL_NAMES, trust_level

# More points hide each other, and each costs some 200 bytes of the page.
MAX_POINTS = 10_000
# Two lines of the card that appears beside a point.
TEXT_BYTES = 160
# Pictures have a budget of the page of their own, spent evenly over the points: with the drawing
# library, which takes 2 MB, a page of 1,500 photographs stays below 3 MB.
MAX_THUMBNAILS = 4_000
THUMBNAIL_BYTES = 450_000
# Enough to recognise a digit or a face beside a point, which is shown smaller than a card.
THUMBNAIL_PIXELS = 48
# Enough for a card on a screen of high density, and for those that follow.
EXAMPLE_PIXELS, SMALL_PIXELS = 160, 64
LARGE = 18  # examples with a large picture
# Examples come after the points: they get what is left of the budget of the page.
EXAMPLES_BYTES = 250_000
QUALITY = 60  # of a picture that is not tiny; twice the bytes would show no more at this size
# Finer than the pixels of any screen; whole numbers are shorter in JSON than floats.
POSITION_STEPS = 4095
# Multiples of the golden ratio fill [0, 1) evenly, however many are taken.
GOLDEN = 0.6180339887498949
BRIGHTER, DARKER = (0, 114, 178), (213, 94, 0)  # seen by everybody, on light and on dark


def sample_rows(scored: pd.DataFrame, max_points: int) -> IntArray:
    """Sample the positions of at most `max_points` rows, in proportion to every region and source.

    Systematic sampling: the rows are ordered by region, source and confidence, and every
    n / max_points-th is taken, so that each stratum is drawn in proportion, without chance.
    A sample below `MAX_POINTS` is drawn from the one of that size, whose positions are known.
    """
    n = len(scored)
    if n <= max_points:
        return np.arange(n)
    if max_points < MAX_POINTS < n:
        known = sample_rows(scored, MAX_POINTS)
        return np.asarray(known[sample_rows(scored.iloc[known], max_points)])
    # A stable sort and fixed steps: the same run gives the same points, without a seed.
    keys = [name for name in ("region", "source", "confidence") if name in scored]
    order = scored[keys].reset_index(drop=True).sort_values(keys, kind="stable").index.to_numpy()
    taken = order[((np.arange(max_points) + 0.5) * n / max_points).astype(np.int64)]
    # In the order of the rows, in which items are read batch by batch.
    return np.asarray(np.sort(taken))


def point_columns(artefacts: Artefacts, max_points: int) -> dict[str, Any]:
    """Collect columns of the drawn points; categories are codes into `levels`, -1 if missing."""
    scored = artefacts.scored()
    drawn = scored.iloc[sample_rows(scored, max_points)]
    columns: dict[str, Any] = {
        "n_scored": len(scored),
        "id": [id_of(value) for value in drawn["id"]],
        "confidence": _rounded(drawn["confidence"]),
        "alignment": _rounded(drawn["alignment"]),
        "region": _coded(drawn["region"], list(REGION_KEYS)),
    }
    if artefacts.is_regression:
        columns |= value_columns(scored, drawn)
    for name in ("label", "weak_label", "source", "group"):
        if name in drawn and drawn[name].notna().any():
            columns[name] = _coded(drawn[name])
    if "weak_correct" in drawn and drawn["weak_correct"].notna().any():
        columns["weak_correct"] = [
            None if (known := plain(value)) is None else int(known)
            for value in drawn["weak_correct"]
        ]
    if "trust" in drawn and drawn["trust"].notna().any():
        columns["trust"] = _rounded(drawn["trust"])
        columns["trust_level"] = _coded(trust_level(drawn["trust"]), LEVEL_NAMES)
    if "posterior_label" in drawn and not artefacts.is_paired:
        # Where it is the weak label, there is nothing to correct.
        corrected = drawn["posterior_label"].where(drawn["posterior_label"] != drawn["weak_label"])
        if corrected.notna().any():
            columns["should_be"] = _coded(corrected)
    columns |= _positions(artefacts, drawn["id"])
    rows = [int(row) for row in drawn.index]
    if artefacts.kind == "text":
        texts, rejected = item_texts(artefacts, rows, TEXT_BYTES)
        columns["text"] = [texts.get(row) for row in rows]
        if artefacts.is_paired:
            columns["rejected"] = [rejected.get(row) for row in rows]
    elif artefacts.kind == "image":
        columns["image"] = _hover_images(artefacts, rows)
    return columns


def example_images(artefacts: Artefacts, rows: Sequence[int]) -> dict[int, str]:
    """Make thumbnails of these items as data URIs, the first the largest.

    Items that cannot be decoded are absent, and the last where all would make the page too large.
    """
    if artefacts.kind != "image":
        return {}
    large = set(rows[:LARGE])
    result = {
        row: thumbnail(item, EXAMPLE_PIXELS if row in large else SMALL_PIXELS)
        for row, item in artefacts.items(rows)
    }
    kept, left = {}, EXAMPLES_BYTES
    for row in rows:
        uri = result.get(row)
        if uri is not None and len(uri) <= left:
            kept[row] = uri
            left -= len(uri)
    return kept


def thumbnail(item: Any, pixels: int) -> str | None:
    """Make a small picture as a data URI; None where the item is not a picture."""
    from PIL import Image

    source = io.BytesIO(item) if isinstance(item, bytes) else item
    try:
        with Image.open(source) as image:
            # Modes such as CMYK or palettes have no JPEG or PNG that browsers agree on.
            small = image.convert("L" if image.mode in ("1", "L", "I;16") else "RGB")
            small.thumbnail((pixels, pixels))
    # Pillow raises any of these on bytes that are not an image, cut short, or absurdly large.
    except (OSError, ValueError, SyntaxError, AttributeError, Image.DecompressionBombError):
        return None
    buffer = io.BytesIO()
    # Tiny scans stay sharp. WebP takes 0.6 of the bytes of PNG and of JPEG here.
    small.save(buffer, "WEBP", quality=QUALITY, lossless=max(small.size) <= 32)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def group_pictures(artefacts: Artefacts) -> dict[str, str]:
    """Draw what sets the pictures of each discovered group apart, as data URIs by its name.

    Blue where they are brighter than those of the other groups, orange where they are darker.
    """
    from PIL import Image

    results = artefacts.later.get(GROUPS_SUMMARY) or {}
    names, pictures = group_names(results), {}
    for portrait in results.get("portraits") or ():
        if not portrait.get("pixels") or portrait["group"] not in names:
            continue
        difference = np.asarray(portrait["pixels"], dtype=np.float64)
        colours = np.where((difference > 0)[..., None], BRIGHTER, DARKER)
        # A standard deviation is as much as a picture of means ever shows.
        strength = np.rint(255 * np.clip(np.abs(difference), 0, 1))[..., None]
        pixels = np.concatenate([colours, strength], axis=2).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels, "RGBA").save(buffer, "PNG", optimize=True)
        uri = base64.b64encode(buffer.getvalue()).decode()
        pictures[names[portrait["group"]]] = f"data:image/png;base64,{uri}"
    return pictures


def _hover_images(artefacts: Artefacts, rows: list[int]) -> list[str | None]:
    """Make pictures for an even spread of the drawn points, as many as the page can carry."""
    priority = np.argsort(np.arange(len(rows)) * GOLDEN % 1.0, kind="stable")[:MAX_THUMBNAILS]
    position = {rows[i]: i for i in priority}
    images: list[str | None] = [None] * len(rows)
    for row, item in artefacts.items(list(position)):
        images[position[row]] = thumbnail(item, THUMBNAIL_PIXELS)
    # In order of priority, so that a full budget still covers the map evenly.
    left = THUMBNAIL_BYTES
    for i in priority:
        left -= len(images[i] or "")
        if left < 0:
            images[i] = None
    return images


def _positions(artefacts: Artefacts, ids: pd.Series[Any]) -> dict[str, list[list[int | None]]]:
    """Scale map positions to whole numbers from 0 to 4095 on the longer axis.

    Both axes have one unit, so that distances keep their proportions.
    """
    table = artefacts.later.get(POSITIONS)
    # An outdated map would show points where their features no longer are.
    if table is None or "projection" in artefacts.outdated:
        return {}
    result = table.set_index("id").reindex(ids)
    positions = {}
    for name in ("umap", "pca"):
        xy = result[[f"{name}_x", f"{name}_y"]].to_numpy(dtype=np.float64)
        known = np.isfinite(xy).all(axis=1)
        span = np.ptp(xy[known], axis=0).max(initial=0.0) if known.any() else 0.0
        if not span:
            continue
        whole = np.zeros(xy.shape, dtype=np.int64)
        whole[known] = np.rint((xy[known] - xy[known].min(axis=0)) / span * POSITION_STEPS)
        positions[name] = [
            [value if there else None for value, there in zip(column, known.tolist(), strict=True)]
            for column in whole.T.tolist()
        ]
    return positions


def _rounded(values: pd.Series[Any]) -> list[float | None]:
    return [
        # Five digits are more than a figure shows, and a third of the bytes.
        None if not np.isfinite(value) else float(f"{value:.5g}")
        for value in values.to_numpy(dtype=np.float64, na_value=np.nan)
    ]


def _coded(values: pd.Series[Any], levels: list[str] | None = None) -> dict[str, list[Any]]:
    codes, result = pd.factorize(values)
    names = [name_of(level) for level in result]
    if levels is None:
        return {"levels": names, "codes": codes.tolist()}
    place = [levels.index(str(name)) for name in names] + [-1]  # the last for a missing one
    return {"levels": levels, "codes": [place[c] for c in codes]}
