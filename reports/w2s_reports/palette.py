"""One colour, one name and one sentence per region, the same in every figure, table and caption.

The colours are the blue, vermilion and purple of Okabe and Ito's colour-blind-safe set (purple a
shade darker on white, all three brighter on black), so that each keeps 3:1 against the page and
at least a CIELAB distance of 19 from the others under every kind of colour blindness.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RegionStyle:
    """Name, explanation and colours of one region."""

    key: str
    token: str
    light: str
    dark: str
    symbol: str
    meaning: str


REGIONS = (
    RegionStyle(
        key="overlap",
        token="overlap",
        light="#0072b2",
        dark="#2f8fd3",
        symbol="circle",
        meaning="The weak label is likely right and the hard pattern is visible: "
        "here the student can learn what its teacher does not know.",
    ),
    RegionStyle(
        key="easy-only",
        token="easy",
        light="#c76da0",
        dark="#e0a3c6",
        symbol="square",
        meaning="The weak model is confident, but the hard pattern is not visible: "
        "the student learns what its teacher already knows.",
    ),
    RegionStyle(
        key="hard-only",
        token="hard",
        light="#d55e00",
        dark="#e06a26",
        symbol="triangle-up",
        meaning="The weak model is unsure: here are the hard patterns, which it does not know, and "
        "its labels are the least reliable.",
    ),
)
REGION_KEYS = tuple(region.key for region in REGIONS)

# Sources, groups and labels. The hues are Okabe and Ito's, in an order that does not begin with
# those of the regions; moved in lightness until each keeps 3:1 against the page and, with ink as
# the eighth, a CIELAB distance of 20 from the others under every kind of colour blindness.
CATEGORIES = {
    "category-1": ("#b48700", "#f0902b"),
    "category-2": ("#2699dd", "#97cdff"),
    "category-3": ("#007b51", "#00a45d"),
    "category-4": ("#d65999", "#be7aaf"),
    "category-5": ("#023d73", "#2367b3"),
    "category-6": ("#794212", "#bb3c03"),
    "category-7": ("#90944c", "#ffd400"),
}
CATEGORY_TOKENS = (*CATEGORIES, "ink")
# Shape tells neighbours in the palette apart where colour does not.
CATEGORY_SYMBOLS = ("circle", "square", "diamond", "triangle-up")
ANSWERS = {"right": ("#4a8fa8", "#4287a6"), "wrong": ("#9c1b3f", "#ff8fa3")}

# Everything that is not a region: paper, text and rules, in both themes.
NEUTRALS = {
    "paper": ("#fcfbf8", "#15181b"),
    "raised": ("#ffffff", "#1d2125"),
    "ink": ("#1b1e22", "#e9e6df"),
    "muted": ("#5c6168", "#a3a8ad"),
    "rule": ("#e2dfd7", "#31363b"),
    "track": ("#efece5", "#262b30"),
    "accent": ("#00629b", "#6bb8ee"),
    "heat": ("#7fb6dc", "#1d5f8f"),  # the most of a table of shares; the least is paper
    "warn": ("#fdf3e3", "#2e2618"),
    "warn-edge": ("#b56a00", "#e0a040"),
}


def tokens(theme: int) -> dict[str, str]:
    """Return the colour of every CSS variable in the light (0) or dark (1) theme."""
    named = {**NEUTRALS, **CATEGORIES, **ANSWERS}
    colours = {name: pair[theme] for name, pair in named.items()}
    colours |= {r.token: r.dark if theme else r.light for r in REGIONS}
    # Only these fill areas under lines, which have to stay visible.
    soft = ("ink", "muted", "accent", *(region.token for region in REGIONS))
    return colours | {f"{name}-soft": f"{colours[name]}2e" for name in soft}
