"""Two runs side by side: what each found, the difference, and whether chance explains it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from typing import Any

from w2s_reports.formats import MINUS, count, signed
from w2s_reports.gate import worst_group

Summary = Mapping[str, Any]
Estimate = Mapping[str, Any]  # value, low, high
Found = tuple[str, str, Estimate, float | None]  # name, unit, estimate, level

NAMED = 3
_OF = {"sources": "density of ", "groups": "density of ", "forecast": "forecast: "}
NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None}
SECTIONS = (
    ("overlap", "Overlap"),
    ("sources", "Overlap density by source"),
    ("groups", "Overlap density by group"),
    ("forecast", "Forecast"),
    ("gain", "Measured gain"),
)
WEAK_EVIDENCE = (
    "Each density comes from a detector that was fitted to its own run, and the two put their "
    "thresholds in different places: such densities are only weakly comparable. To compare data, "
    "score them together, as sources of one run."
)
SAME_ITEMS = (
    "Both runs are about the same items, so that their estimates are not independent: the "
    "differences have no interval, and intervals that overlap may still hide a clear difference."
)
OTHER_ITEMS = (
    "The interval of a difference takes the two estimates as independent: it goes as far below the "
    "difference as the root of the summed squares of this run's lower and the baseline's upper "
    "half-interval, and as far above as that of the other two. Items that both runs hold make it "
    "inexact."
)
ONE_DETECTOR = {"overlap", "sources", "groups"}


def compare(own: Summary, other: Summary) -> dict[str, Any]:
    """Every number that both runs have, with the difference, this run minus the baseline.

    Parameters
    ----------
    own, other : dict
        Summaries of this run and of its baseline.

    Returns
    -------
    dict
        `sections`, each with `rows` of `value`, `other`, `difference` and `told`; `lacking`, what
        only one of the runs has; `settings` that differ; `notes` on how to read it.
    """
    fingerprints = own["data"]["fingerprint"], other["data"]["fingerprint"]
    same = fingerprints[0] is not None and fingerprints[0] == fingerprints[1]
    sections, lacking = [], []
    for key, title in SECTIONS:
        left, right = ({found[0]: found for found in _FOUND[key](s)} for s in (own, other))
        rows = [_row(left[name], right[name], same) for name in left if name in right]
        sections.append({"key": key, "title": title, "rows": rows})
        lacking += [_lacking(title, [n for n in left if n not in right], "this run")]
        lacking += [_lacking(title, [n for n in right if n not in left], "the baseline")]
    shown = [section for section in sections if section["rows"]]
    return {
        "name": other["data"]["name"],
        "run": other["data"]["run"],
        "n_items": other["data"]["n_items"],
        "n_scored": other["data"]["n_scored"],
        "created": other["data"]["created"],
        "same_items": same,
        "sentences": _sentences(shown),
        "sections": shown,
        "lacking": [text for text in lacking if text],
        "settings": _settings(own, other),
        "notes": _notes(shown, other, same),
    }


def _sentences(sections: list[dict[str, Any]]) -> list[str]:
    """Which numbers are told apart from the baseline's, in words."""
    rows = [(s["key"], row) for s in sections for row in s["rows"]]
    if not rows:
        return []
    apart = [
        f"{_OF.get(key, '')}{row['name'].removesuffix(', points')} "
        + _spelled_difference(row["difference"]["value"], row["unit"])
        for key, row in rows
        if row["told"].startswith(("higher", "lower"))
    ]
    n = f"the {count(len(rows))} numbers that both runs have"
    if not apart:
        return [f"Of {n}, none is told apart from the baseline's."]
    named = "; ".join(apart[:NAMED]) + (f"; and {len(apart) - NAMED} more" * (len(apart) > NAMED))
    return [
        f"Of {n}, {count(len(apart))} {'is' if len(apart) == 1 else 'are'} told apart from the "
        f"baseline's: {named}."
    ]


def _spelled_difference(value: float, unit: str) -> str:
    return f"{value:+.3f}".replace("-", MINUS) if unit == "number" else f"{signed(value)} points"


def difference(value: Estimate, other: Estimate) -> dict[str, Any]:
    """Difference of two independent estimates, with an interval of their level.

    The limits are d - sqrt((a - a_low)^2 + (b_high - b)^2) and
    d + sqrt((a_high - a)^2 + (b - b_low)^2), where d = a - b: the "square-and-add" interval of
    Newcombe (1998) and of Zou and Donner (2008), which keeps skewed intervals skewed.

    >>> apart = difference({"value": 0.5, "low": 0.46, "high": 0.53},
    ...                    {"value": 0.3, "low": 0.26, "high": 0.33})
    >>> {name: round(found, 3) for name, found in apart.items()}
    {'value': 0.2, 'low': 0.15, 'high': 0.25}
    """
    if value["value"] is None or other["value"] is None:
        return dict(NOTHING)
    a, b = value["value"], other["value"]
    found = NOTHING | {"value": a - b}
    if None in (value["low"], value["high"], other["low"], other["high"]):
        return found
    below = math.hypot(a - value["low"], other["high"] - b)
    above = math.hypot(value["high"] - a, b - other["low"])
    return found | {"low": a - b - below, "high": a - b + above}


def _row(found: Found, other: Found, same: bool) -> dict[str, Any]:
    name, unit, left, level = found
    right, other_level = other[2:]
    comparable = level == other_level
    if same or not comparable:
        between = NOTHING | {"value": difference(left, right)["value"]}
    else:
        between = difference(left, right)
    return {
        "name": name,
        "unit": unit,
        "level": level,
        "value": {key: left[key] for key in NOTHING},
        "other": {key: right[key] for key in NOTHING},
        "difference": between,
        "told": _told(left, right, between, same, comparable),
    }


def _told(left: Estimate, right: Estimate, between: Estimate, same: bool, comparable: bool) -> str:
    """Whether the two are told apart, in words."""
    if between["value"] is None:
        return "unknown in one run"
    if between["value"] == 0 and left == right:
        return "equal"
    if None in (left["low"], left["high"], right["low"], right["high"]):
        return "no interval"
    if not comparable:
        return "intervals of different levels"
    if left["low"] > right["high"]:
        return "higher: the intervals lie apart"
    if left["high"] < right["low"]:
        return "lower: the intervals lie apart"
    if same:
        return "not told apart by these intervals"
    if between["low"] > 0 or between["high"] < 0:
        side = "higher" if between["value"] > 0 else "lower"
        return f"{side}: the intervals overlap, the difference is clear of zero"
    return "not told apart"


def _overlap(s: Summary) -> Iterator[Found]:
    o = s["overlap"]
    if o["hint"]:
        return
    level = o["level"]
    yield "overlap density", "share", o["density"], level
    for region in o["regions"]:
        if region["key"] != "overlap":
            share = {**NOTHING, "value": region["share"]}
            share |= {"low": region["low"], "high": region["high"]}
            yield f"{region['key']} share", "share", share, level
    for name in ("confidence", "alignment"):
        yield f"{name} threshold", "number", o[f"{name}_threshold"], level
    for key, name in (
        ("weak_accuracy", "weak accuracy"),
        ("confident_accuracy", "weak accuracy on confident points"),
    ):
        if o[key]:
            yield name, "share", o[key], level


def _slices(key: str) -> Any:
    def found(s: Summary) -> Iterator[Found]:
        for row in s[key]["rows"]:
            limits = {"low": row["density_low"], "high": row["density_high"]}
            yield row["name"], "share", {"value": row["density"]} | limits, s["overlap"]["level"]

    return found


def _forecast(s: Summary) -> Iterator[Found]:
    f = s["forecast"]
    if f["hint"]:
        return
    yield "forecast gain, points", "points", f["gain"], f["level"]
    yield "chance of a gain", "share", NOTHING | {"value": f["chance"]}, None
    for name in ("teacher", "student", "ceiling"):
        yield f"{name}'s accuracy", "share", f[name], f["level"]


def _gain(s: Summary) -> Iterator[Found]:
    g = s["gain"]
    if g["hint"]:
        return
    level = g["level"]
    for key, name in (
        ("teacher", "teacher's accuracy"),
        ("labelled_only", "accuracy with labelled items alone"),
        ("ceiling", "ceiling's accuracy"),
    ):
        yield name, "share", g[key], level
    for method in g["methods"]:
        yield f"gain of {method['name']}, points", "points", method["gain"], level
    worst = worst_group(g["groups"], "gain")
    if worst["value"] is not None:
        yield "gain in the worst group, points", "points", worst, level


_FOUND: dict[str, Any] = {
    "overlap": _overlap,
    "sources": _slices("sources"),
    "groups": _slices("groups"),
    "forecast": _forecast,
    "gain": _gain,
}


def _lacking(title: str, names: list[str], where: str) -> str | None:
    shown = [name.removesuffix(", points") for name in names]
    return f"{title}, in {where} alone: {', '.join(shown)}" if shown else None


def _settings(own: Summary, other: Summary) -> list[dict[str, Any]]:
    """Data, models, seeds, stages, settings and versions that differ."""
    both = _stages(own).keys() & _stages(other).keys()
    left, right = (_flat(summary, both) for summary in (own, other))
    names = dict.fromkeys([*left, *right])
    return [
        {"name": name, "value": left.get(name), "other": right.get(name)}
        for name in names
        if left.get(name) != right.get(name)
    ]


def _stages(s: Summary) -> dict[str, Mapping[str, str]]:
    """Settings of each stage; those of items and embed stand under data and models."""
    return {stage["name"]: stage["settings"] for stage in s["provenance"]["stages"]}


def _flat(s: Summary, stages: Set[str]) -> dict[str, str]:
    """Names and values of all settings; of the stages in detail only these."""
    found, data = s["provenance"], s["data"]
    facts = {
        "data": data["name"],
        "data fingerprint": data["fingerprint"],
        "items": count(data["n_items"]),
        "points scored": None if s["overlap"]["hint"] else count(data["n_scored"]),
        "seed": found["seed"],
        "device": found["device"],
        "w2s-data": s["version"],
    }
    for role, model in found["models"].items():
        facts |= {f"{role} features: {name}": value for name, value in model.items()}
    facts |= {f"detector: {name}": value for name, value in found["settings"].items()}
    for stage, settings in _stages(s).items():
        if stage not in stages:
            facts[f"stage {stage}"] = "finished"
        elif stage not in ("items", "embed"):
            facts |= {f"{stage}: {name}": value for name, value in settings.items()}
    facts |= {f"version of {name}": value for name, value in found["versions"].items()}
    return {name: str(value) for name, value in facts.items() if value is not None}


def _notes(sections: list[dict[str, Any]], other: Summary, same: bool) -> list[str]:
    notes = []
    if ONE_DETECTOR & {section["key"] for section in sections}:
        notes.append(WEAK_EVIDENCE)
    if sections:
        notes.append(SAME_ITEMS if same else OTHER_ITEMS)
    else:
        notes.append("The two runs have no stage in common: there is no number to compare.")
    warned = other["verdict"]["warnings"]
    if warned:
        said = "; ".join(f"{warning['about']}: {warning['text']}" for warning in warned)
        notes.append(f"The baseline's own warnings: {said}")
    return notes
