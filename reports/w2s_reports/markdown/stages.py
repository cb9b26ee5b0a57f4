"""The stages after scoring as Markdown: verdict, gain, selection, groups and discrepancy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import (
    amount,
    count,
    number,
    number_interval,
    number_span,
    percent,
    signed,
    signed_interval,
)
from w2s_reports.markdown.overlap import slices
from w2s_reports.markdown.tables import escape, points, quoted, share, table


def verdict(found: Mapping[str, Any]) -> list[str]:
    """Warnings, headline and sentences."""
    parts = ["## Verdict"]
    parts += quoted(f"{warning['about']}: {warning['text']}" for warning in found["warnings"])
    if found["hint"]:
        parts.append(found["hint"])
    if found["headline"]:
        head = found["headline"]
        limits = signed_interval(head["low"], head["high"])
        spread = f", {percent(head['level'], 0)} interval {limits}" if limits else ""
        gain = f"{head['kind']} gain {signed(head['value'])} points{spread}"
        why = f"; {head['why']}" if head["why"] else ""
        parts.append(f"**{head['words']}**: {gain}{why}")
    if found["sentences"]:
        parts.append("\n".join(f"- {escape(sentence)}" for sentence in found["sentences"]))
    parts += [f"{r['about'].capitalize()}: {escape(r['text'])}" for r in found["readings"]]
    return [*parts, *found["add"]]


def gain(found: Mapping[str, Any]) -> list[str]:
    """Methods ranked, references, groups."""
    if found["hint"]:
        return ["## Gain", found["hint"]]
    level = percent(found["confidence"], 0)
    references = [
        f"- {name}: {escape(found[key]['reason']) or share(found[key])}"
        for name, key in (
            ("Teacher", "teacher"),
            ("Ceiling", "ceiling"),
            ("Labelled items only", "labelled_only"),
        )
    ]
    parts = ["## Gain"]
    if found["methods"]:
        header = ["Method", "Rank", f"Gain, points ({level})", f"Accuracy ({level})"]
        header += ["Gap recovered", "Lead over best control, points"]
        rows = [
            [
                escape(m["name"]),
                m["rank_group"],
                points(m["gain"]),
                share(m["accuracy"]),
                "undefined" if m["pgr"]["value"] is None else percent(m["pgr"]["value"], 0),
                f"{points(m['lead'])} over {escape(m['lead']['control'])}" if m["lead"] else "",
            ]
            for m in found["methods"]
        ]
        parts.append(table(header, rows))
    parts.append("\n".join(references))
    parts += [escape(reason) for reason in found["reasons"]]
    if found["groups"]:
        header = ["Group", "Gain, points", "Teacher", "Student"]
        rows = [
            [escape(g["name"]), points(g["gain"]), share(g["teacher"]), share(g["accuracy"])]
            for g in found["groups"]
        ]
        parts += [f"### {escape(found['groups'][0]['best'])} by group", table(header, rows)]
    parts += [f"Failed: {escape(f['name'])}: {escape(f['reason'])}" for f in found["failures"]]
    return parts


def selection(found: Mapping[str, Any]) -> list[str]:
    """Sources, stops and baselines."""
    if found["hint"]:
        return ["## Selection", found["hint"]]
    spent = f"{amount(found['spent'])} of {amount(found['budget'])} {found['budget_unit']}"
    said = f"{count(found['items'])} items in {count(found['rounds'])} rounds for {spent}."
    header = ["Source", "Items", found["reward"].capitalize(), "Likely best"]
    header += ["Buy next", "Status"]
    rows = [
        [
            escape(row["name"]),
            count(row["items"]),
            _plain(row["reward"]),
            percent(row["probability_best"]),
            amount(row["recommended"]),
            row["status"],
        ]
        for row in found["rows"]
    ]
    parts = ["## Selection", f"{said} {escape(found['ended'])}", table(header, rows)]
    parts += [
        f"- {escape(row['name'])}, {row['status']}: {escape(row['reason'])}"
        for row in found["rows"]
        if row["reason"]
    ]
    if found["baselines"]:
        rows = [
            [row["strategy"], count(row["runs"]), _plain(row["value"]), share(row["evaluated"])]
            for row in found["baselines"]
        ]
        parts.append(table(["Strategy", "Runs", "Objective", "Student's accuracy"], rows))
    return [*parts, *(escape(note) for note in found["notes"])]


def groups(found: Mapping[str, Any], scored: Mapping[str, Any]) -> list[str]:
    """The groups' table, associations and advice; the overlap alone where that was not run."""
    if found["hint"]:
        return [*slices("Groups", "Group", scored), found["hint"]]
    rows = [
        [
            escape(row["name"]),
            count(row["n"]),
            share(row["eta_labelled"]),
            share(row["eta_pool"]),
            share(row["overlap_density"]),
            share(row["weak_accuracy"]),
            number(row["calibration_error"]["value"]),
            count(row["n_duplicates"]),
            count(row["n_leaking"]),
        ]
        for row in found["rows"]
    ]
    header = ["Group", "Items", "Of the labelled", "Of the pool", "Overlap density"]
    header += ["Weak accuracy", "Calibration error", "Near-duplicates", "Leaking"]
    predicted = found["prediction"]
    parts = ["## Groups", *quoted([*found["warnings"], *predicted["warnings"]])]
    parts += [escape(found["lead"]), table(header, rows)]
    advice = [row["text"] for row in predicted["advice"]] or [predicted["reading"]]
    parts.append("\n".join(f"- {escape(text)}" for text in advice))
    if found["association"]:
        rows = [
            [f"{row['split']}, {row['labels']}", count(row["n"]), _plain(row["cramers_v"])]
            for row in found["association"]
        ]
        parts.append(table(["Group and label", "Items", "Cramér's V"], rows))
    return parts


def discrepancy(found: Mapping[str, Any]) -> list[str]:
    """The reading, the dimensions and the pools that are needed."""
    if found["hint"]:
        return ["## Discrepancy", found["hint"]]
    parts = ["## Discrepancy", *quoted(found["warnings"]), escape(found["reading"])]
    parts += [f"Unknown: {escape(reason)}" for reason in found["unknown"]]
    if found["known"]:
        shared = found["shared"]
        limits = number_interval(shared["low"], shared["high"], 1)
        facts = [
            f"- Dimensions: {amount(found['d_w'])} weak, {amount(found['d_s'])} strong, "
            f"{number(shared['value'], 1)}{f' ({limits})' if limits else ''} shared",
            f"- Break-even: {amount(found['break_even'])} pool items",
        ]
        facts += [
            f"- {percent(row['share'], 0)} of the attainable gain: {amount(row['N'])} pool items"
            for row in found["needed_pool"]
            if row["N"] is not None
        ]
        parts.append("\n".join(facts))
    return parts


def _plain(found: Mapping[str, Any]) -> str:
    limits = number_span(found["low"], found["high"])
    return number(found["value"]) + (f" ({limits})" if limits else "")
