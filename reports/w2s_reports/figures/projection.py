"""The map of every drawn point: where it lies, in several views, and what its colour says.

The page's script puts positions and colours together, so that each is in the page only once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.utils.ranges import quantile_ranges
from w2s_reports.artefacts import Artefacts
from w2s_reports.figures.base import Figure, Spec, axis, layout, line, title
from w2s_reports.formats import count, name_of, percent
from w2s_reports.palette import CATEGORY_SYMBOLS, CATEGORY_TOKENS, REGIONS
from w2s_reports.ranges import COLOURINGS, PARTS, STYLES, coloured
from w2s_reports.trust import TRUST_LEVELS, trust_level

# Square on a phone, and not taller than a laptop's screen.
HEIGHT = 520
FEW = 2_000  # points that can be drawn large


@dataclass(frozen=True)
class MapFigure(Figure):
    """A figure with several views and colourings, of which the reader sees one each.

    A view has key, label, layout, caption and alt. A colouring has key, label, levels (name, token,
    symbol, n), slots (the level of each code of a column), missing (that of no value) and alt.
    """

    views: list[Spec]
    colours: list[Spec]
    marker: Spec

    def spec(self) -> Spec:
        """Return the specification for the page's script."""
        return {"views": self.views, "colours": self.colours, "marker": self.marker}


def point_map(
    artefacts: Artefacts, points: Mapping[str, Any], summary: Mapping[str, Any]
) -> MapFigure | None:
    """Draw UMAP and PCA where the run has them, and alignment over confidence."""
    result, overlap = summary["projection"], summary["overlap"]
    views = [view for name in ("umap", "pca") if (view := _projected(name, points, result))]
    if plane := _plane(points, overlap, artefacts.sureness):
        views.append(plane)
    if not views:
        return None
    colours = _colourings(artefacts.scored(), points, overlap)
    # Many points are drawn small and transparent, so that density shows.
    few = len(points["id"]) <= FEW
    marker = {"size": 6.5 if few else 4.5, "opacity": 0.75 if few else 0.55}
    first, alt = views[0], f"{views[0]['alt']} {colours[0]['alt']}"
    shown = first["layout"], first["caption"]
    return MapFigure("map", "Every point", [], *shown, alt, views, colours, marker)


def _projected(name: str, points: Mapping[str, Any], result: Mapping[str, Any]) -> Spec | None:
    """Lay out UMAP or PCA with one unit on both axes and no ticks, as the numbers mean nothing."""
    if name not in points or result["hint"]:
        return None
    tops = [max(value for value in column if value is not None) for column in points[name]]
    margin = 0.03 * max(tops)
    bare: Spec = {"showticklabels": False, "showgrid": False, "showline": name == "pca"}
    axes = [bare | {"range": [-margin, top + margin]} for top in tops]
    # One unit on both axes, or distances would be distorted.
    axes[1] |= {"scaleanchor": "x"}
    if name == "pca":
        for spec, share, word in zip(axes, result["explained"], ("first", "second"), strict=True):
            spec["title"] = title(f"{word} component, {percent(share)} of the variance")
    placed = sum(value is not None for value in points[name][0])
    label = {"umap": "UMAP", "pca": "PCA"}[name]
    return {
        "key": name,
        "label": label,
        "layout": layout(xaxis=axes[0], yaxis=axes[1]) | {"height": HEIGHT},
        "caption": f"{result['readings'][name]} {_drawn(points, placed)}",
        "alt": f"Map of {count(placed)} points by {label} of their strong features.",
    }


def _plane(points: Mapping[str, Any], overlap: Mapping[str, Any], name: str) -> Spec | None:
    """Lay out alignment over confidence; hard-only points, without alignment, form a strip."""
    codes = np.asarray(points["region"]["codes"], dtype=np.int64)
    hard = int((codes == points["region"]["levels"].index("hard-only")).sum())
    aligned = [value for value in points["alignment"] if value is not None]
    if not aligned:
        return None
    sentence = "Hard-only points have no alignment and lie in the strip at the bottom. "
    return {
        "key": "plane",
        "label": f"{name.capitalize()} × alignment",
        "layout": _plane_layout(bool(hard), overlap, (min(aligned), max(aligned)), name),
        "caption": f"The dotted lines are the thresholds {_divide(overlap)}. "
        f"{sentence if hard else ''}{_drawn(points, len(codes))}",
        "alt": f"Scatter plot of the alignment of {count(len(codes))} points against the "
        f"{name} of their weak labels.",
    }


def _divide(overlap: Mapping[str, Any]) -> str:
    if overlap["regions_by"] == "mixture":
        return "from which the mixture of the types started; the regions are its likeliest types"
    return "that divide the regions"


def _plane_layout(
    strip: bool, overlap: Mapping[str, Any], ends: tuple[float, float], name: str
) -> Spec:
    margin = 0.05 * (ends[1] - ends[0]) or 0.05
    drawn = layout(
        xaxis={"title": title(f"{name} of the weak label"), "range": [-0.02, 1.02]}
        | {"anchor": "y2" if strip else "y"},
        yaxis={"title": title("alignment"), "domain": [0.2 if strip else 0, 1]}
        | {"range": [ends[0] - margin, ends[1] + margin]},
    )
    if strip:
        drawn["yaxis2"] = axis() | {"domain": [0, 0.14], "range": [-0.15, 1.15]}
        drawn["yaxis2"] |= {"showticklabels": False, "showgrid": False}
    drawn["shapes"] = [
        line(side, overlap[f"{key}_threshold"]["value"], yref)
        for side, key, yref in (("x", "confidence", "paper"), ("y", "alignment", "y"))
        if overlap[f"{key}_threshold"]["value"] is not None
    ]
    return drawn | {"height": HEIGHT}


def _drawn(points: Mapping[str, Any], placed: int) -> str:
    """State how many points are drawn, and how many show a picture."""
    n = points["n_scored"]
    text = (
        f"All {count(n)} scored points."
        if placed == n
        else f"{count(placed)} of {count(n)} scored points, drawn in proportion to region and "
        "source; all numbers use every point."
    )
    pictured = sum(image is not None for image in points.get("image", []))
    if 0 < pictured < len(points["id"]):
        text += f" {count(pictured)} of the drawn points show a picture when pointed at."
    return text


def _colourings(
    scored: pd.DataFrame, points: Mapping[str, Any], overlap: Mapping[str, Any]
) -> list[Spec]:
    regions = [
        _level(style.key, style.token, style.symbol, region["n"])
        for style, region in zip(REGIONS, overlap["regions"], strict=True)
    ]
    result = [_colouring("region", "Region", regions, list(range(len(regions))), -1)]
    for key, label in (("source", "Source"), ("group", "Group"), ("label", "Label")):
        if key in points and key in scored:
            colouring = _categories(key, label, scored[key], points[key]["levels"])
            result += [colouring] if len(colouring["levels"]) > 1 else []
    result += _ranges(scored, points)
    if "weak_correct" in points:
        answers = scored["weak_correct"]
        levels = [
            _level("wrong", "wrong", "x", int((answers == False).sum())),  # noqa: E712
            _level("right", "right", "circle", int((answers == True).sum())),  # noqa: E712
        ]
        levels += _missing("label", int(answers.isna().sum()))
        result.append(_colouring("weak_correct", "Weak label", levels, [0, 1], 2))
    if "trust_level" in points:
        names = trust_level(scored["trust"])
        counts = names.value_counts()
        levels = [
            _level(style.name, style.token, style.symbol, int(counts.get(style.name, 0)))
            for style in TRUST_LEVELS
        ]
        n = len(levels)
        levels += _missing("weak label", int(names.isna().sum()))
        result.append(_colouring("trust_level", "Trust", levels, list(range(n)), n))
    return result


def _ranges(scored: pd.DataFrame, points: Mapping[str, Any]) -> list[Spec]:
    """Colour by ranges of gold and weak values and of the error, where labels are values."""
    result = []
    for key, label in COLOURINGS:
        if key in points:
            names, codes = quantile_ranges(coloured(scored)[key], PARTS)
            counts = np.bincount(codes + 1, minlength=len(names) + 1)
            levels = [
                _level(name, token, symbol, int(n))
                for name, (token, symbol), n in zip(names, STYLES, counts[1:], strict=False)
            ]
            slots = list(range(len(levels)))
            levels += _missing("gold value", int(counts[0]))
            result.append(_colouring(key, label, levels, slots, len(slots)))
    return result


def _colouring(key: str, label: str, levels: list[Spec], slots: list[int], missing: int) -> Spec:
    parts = ", ".join(f"{count(level['n'])} {level['name']}" for level in levels)
    colours = {"key": key, "label": label, "levels": levels, "slots": slots, "missing": missing}
    return colours | {"alt": f"Coloured by {label.lower()}: {parts}."}


def _level(name: str, token: str, symbol: str, n: int) -> Spec:
    return {"name": name, "token": token, "symbol": symbol, "n": n}


def _categories(key: str, label: str, values: pd.Series[Any], levels: list[str]) -> Spec:
    """Colour the most frequent names; the others are grey."""
    counts: dict[str, int] = {}
    for value, n in values.value_counts().items():
        name = str(name_of(value))
        counts[name] = counts.get(name, 0) + int(n)
    # The most frequent get a colour, but the legend lists them by name.
    frequent = sorted(list(counts)[: len(CATEGORY_TOKENS)], key=_natural)
    shown = [
        _level(name, token, CATEGORY_SYMBOLS[i % len(CATEGORY_SYMBOLS)], counts[name])
        for i, (name, token) in enumerate(zip(frequent, CATEGORY_TOKENS, strict=False))
    ]
    rest = [n for name, n in counts.items() if name not in frequent]
    if rest:
        shown.append(
            _level(f"{count(len(rest))} other{'s' * (len(rest) > 1)}", "muted", "circle", sum(rest))
        )
    slot = {name: i for i, name in enumerate(frequent)}
    slots = [slot.get(name, len(frequent)) for name in levels]
    missing = len(shown)
    return _colouring(key, label, shown + _missing(key, int(values.isna().sum())), slots, missing)


def _missing(what: str, n: int) -> list[Spec]:
    return [_level(f"no {what}", "muted", "circle-open", n)] if n else []


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key by which "class 10" follows "class 9"."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
