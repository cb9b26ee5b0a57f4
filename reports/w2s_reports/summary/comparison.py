"""Two runs side by side: their numbers, the differences, and whether these are significant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from w2s_reports.formats import MINUS, change, count, has_interval, signed
from w2s_reports.gate import worst_group
from w2s_reports.summary.parts import Estimate, difference, estimate

Summary = Mapping[str, Any]
Value = tuple[str, str, Estimate]  # name, unit, estimate

# More names would hide the sentence; the tables have all.
NAMED = 3
_OF = {"sources": "density of ", "groups": "density of ", "forecast": "forecast: "}
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
# Sections whose numbers depend on the thresholds of their own run.
ONE_DETECTOR = {"overlap", "sources", "groups"}


def compare(own: Summary, other: Summary) -> dict[str, Any]:
    """Compare every number that both runs have; differences are this run minus the baseline."""
    # The fingerprint covers items and labels, whatever the file is called.
    fingerprints = own["data"]["fingerprint"], other["data"]["fingerprint"]
    same = fingerprints[0] is not None and fingerprints[0] == fingerprints[1]
    sections, lacking = [], []
    for key, title, values in SECTIONS:
        left, right = (
            {} if s[key]["hint"] else {name: (unit, e) for name, unit, e in values(s[key])}
            for s in (own, other)
        )
        rows = [
            _row(name, unit, value, right[name][1], same)
            for name, (unit, value) in left.items()
            if name in right
        ]
        sections.append({"key": key, "title": title, "rows": rows})
        for has, lacks, where in ((left, right, "this run"), (right, left, "the baseline")):
            if alone := [name.removesuffix(", points") for name in has if name not in lacks]:
                lacking.append(f"{title}, in {where} alone: {', '.join(alone)}")
    shown = [section for section in sections if section["rows"]]
    return {
        **{name: other["data"][name] for name in ("name", "run", "n_items", "n_scored", "created")},
        "same_items": same,
        "sentences": _sentences(shown),
        "sections": shown,
        "lacking": lacking,
        "settings": _settings(own, other),
        "notes": _notes(shown, other, same),
    }


def _sentences(sections: list[dict[str, Any]]) -> list[str]:
    """Name the numbers that differ significantly from the baseline's."""
    rows = [(s["key"], row) for s in sections for row in s["rows"]]
    if not rows:
        return []
    differ = [
        f"{_OF.get(key, '')}{row['name'].removesuffix(', points')} "
        + _format_difference(row["difference"]["value"], row["unit"])
        for key, row in rows
        if row["result"].startswith(("higher", "lower"))
    ]
    n = f"the {count(len(rows))} numbers that both runs have"
    if not differ:
        return [f"None of {n} differs significantly from the baseline's."]
    named = "; ".join(differ[:NAMED])
    more = f"; and {len(differ) - NAMED} more" if len(differ) > NAMED else ""
    verb = "differs" if len(differ) == 1 else "differ"
    return [f"{count(len(differ))} of {n} {verb} significantly from the baseline's: {named}{more}."]


def _format_difference(value: float, unit: str) -> str:
    if unit in ("value", "change"):
        return change(value)
    return f"{value:+.3f}".replace("-", MINUS) if unit == "number" else f"{signed(value)} points"


def _row(name: str, unit: str, left: Estimate, right: Estimate, same: bool) -> dict[str, Any]:
    between = difference(left, right)
    if same:  # the estimates are not independent, as the interval supposes
        between = estimate({"value": between["value"]})
    return {
        "name": name,
        "unit": unit,
        "level": left["level"],
        "value": left,
        "other": right,
        "difference": between,
        "result": _result(left, right, between, same),
    }


def _result(left: Estimate, right: Estimate, between: Estimate, same: bool) -> str:
    """Describe in words whether two estimates differ significantly."""
    if between["value"] is None:
        return "unknown in one run"
    if between["value"] == 0 and left == right:
        return "equal"
    if not (has_interval(left) and has_interval(right)):
        return "no interval"
    if left["level"] != right["level"]:
        return "intervals of different levels"
    if left["low"] > right["high"]:
        return "higher: the intervals do not overlap"
    if left["high"] < right["low"]:
        return "lower: the intervals do not overlap"
    if same:
        return "no significant difference by these intervals"
    if between["low"] > 0 or between["high"] < 0:
        side = "higher" if between["value"] > 0 else "lower"
        return f"{side}: the intervals overlap, that of the difference excludes 0"
    return "no significant difference"


def _overlap(o: Summary) -> Iterator[Value]:
    yield "overlap density", "density", o["density"]
    for region in o["regions"]:
        if region["key"] != "overlap":  # its share is the density
            yield f"{region['key']} share", "density", region["share"]
    for title, name in (("margin", "confidence"), ("alignment", "alignment")):
        yield f"{title} threshold", "number", o[f"{name}_threshold"]
    for key, name in (
        ("weak_accuracy", "weak accuracy"),
        ("confident_accuracy", "weak accuracy on confident points"),
    ):
        if o[key]:
            yield name, "share", o[key]


def _densities(slices: Summary) -> Iterator[Value]:
    for row in slices["rows"]:
        yield row["name"], "density", row["density"]


def _forecast(f: Summary) -> Iterator[Value]:
    if _is_of_values(f):
        yield "forecast gain in MSE", "change", f["gain"]
        yield from _errors(f)
        return
    yield "forecast gain, points", "points", f["gain"]
    yield "chance of a gain", "share", estimate({"value": f["chance"]})
    for option in f["options"]:
        yield f"accuracy, {option['name']}", "share", option["accuracy"]
    yield "ceiling's accuracy", "share", f["ceiling"]


def _is_of_values(stage: Summary) -> bool:
    return any("mse" in option for option in stage["options"])


def _errors(stage: Summary) -> Iterator[Value]:
    for option in stage["options"]:
        yield f"MSE, {option['name']}", "value", option["mse"]


def _gain(g: Summary) -> Iterator[Value]:
    if _is_of_values(g):
        yield from _errors(g)
        for row in g["references"]:
            if row["name"] == "ceiling":
                yield "ceiling's MSE", "value", row["mse"]
        for method in g["methods"]:
            yield f"gain of {method['name']} in MSE", "change", method["gain"]
        return
    for option in g["options"]:
        yield f"accuracy, {option['name']}", "share", option["accuracy"]
    yield "lead of the best option, points", "points", g["lead"]
    for name in ("vote", "ceiling"):
        yield f"{name}'s accuracy", "share", g[name]
    for method in g["methods"]:
        yield f"gain of {method['name']}, points", "points", method["gain"]
    worst = worst_group(g["groups"], "gain")
    if worst["value"] is not None:
        yield "gain in the worst group, points", "points", worst
    if g["splits"]["n"] > 1 and g["splits"]["least"]["value"] is not None:
        yield "gain in the worst test split, points", "points", g["splits"]["least"]


SECTIONS: tuple[tuple[str, str, Callable[[Summary], Iterator[Value]]], ...] = (
    ("overlap", "Overlap", _overlap),
    ("sources", "Overlap density by source", _densities),
    ("groups", "Overlap density by group", _densities),
    ("forecast", "Forecast", _forecast),
    ("gain", "Measured gain", _gain),
)


def _settings(own: Summary, other: Summary) -> list[dict[str, Any]]:
    """List data, models, seeds, stages, settings and versions that differ."""
    both = _stages(own).keys() & _stages(other).keys()
    left, right = (_flat(summary, both) for summary in (own, other))
    names = dict.fromkeys([*left, *right])
    return [
        {"name": name, "value": left.get(name), "other": right.get(name)}
        for name in names
        if left.get(name) != right.get(name)
    ]


def _stages(s: Summary) -> dict[str, Mapping[str, str]]:
    """Return the settings of each stage; those of items and embed are under data and models."""
    return {stage["name"]: stage["settings"] for stage in s["provenance"]["stages"]}


def _flat(s: Summary, stages: Set[str]) -> dict[str, str]:
    """Flatten all settings to name and value; in detail only those of the given stages."""
    result, data = s["provenance"], s["data"]
    facts = {
        "data": data["name"],
        "data fingerprint": data["fingerprint"],
        "items": count(data["n_items"]),
        "points scored": None if s["overlap"]["hint"] else count(data["n_scored"]),
        "seed": result["seed"],
        "device": result["device"],
        "w2s-data": s["version"],
    }
    for role, model in result["models"].items():
        facts |= {f"{role} features: {name}": value for name, value in model.items()}
    facts |= {f"detector: {name}": value for name, value in result["settings"].items()}
    for stage, settings in _stages(s).items():
        # A stage of one run only: its settings have nothing to be compared with.
        if stage not in stages:
            facts[f"stage {stage}"] = "finished"
        elif stage not in ("items", "embed"):
            facts |= {f"{stage}: {name}": value for name, value in settings.items()}
    facts |= {f"version of {name}": value for name, value in result["versions"].items()}
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
        sentences = "; ".join(f"{warning['about']}: {warning['text']}" for warning in warned)
        notes.append(f"The baseline's own warnings: {sentences}")
    return notes
