"""What the command line prints of a run's summaries."""

from __future__ import annotations

from typing import Any

MOST_ROWS = 30  # of a printed table
WIDE = 110  # columns from which a table has room for all that there is


def print_features(shapes: dict[str, tuple[int, int]]) -> None:
    """Print how many features of how many items each role has."""
    import typer

    for role, (n, d) in shapes.items():
        typer.echo(f"{role:>6} features: {n:,} x {d}")


def print_overlap(summary: dict[str, Any]) -> None:
    """Print the density table of a scored run, its thresholds and what they mean."""
    from rich.console import Console
    from rich.table import Table

    title = f"Overlap density of {summary['n_scored']:,} pool items, in percent"
    table = Table(title=title, title_style="bold", title_justify="left")
    console = Console(highlight=False)
    narrow = console.width < WIDE
    table.add_column("", overflow="fold")
    for heading in ("items", "density", f"{100 * summary['level']:.3g}% interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("easy-only", "hard-only", "weak accuracy"):
        table.add_column(heading.replace("-", "-\n") if narrow else heading, justify="right")
    shares = summary["regions"]
    overall = {
        "name": "all",
        "n": summary["n_scored"],
        "density": summary["density"]["value"],
        "density_low": summary["density"]["low"],
        "density_high": summary["density"]["high"],
        "easy_only": shares["easy-only"]["share"],
        "hard_only": shares["hard-only"]["share"],
        "weak_accuracy": (summary["weak_accuracy"] or {}).get("value"),
    }
    table.add_row(*_cells(overall), end_section=True, style="bold")
    for role in ("source", "group"):
        for record in summary[f"by_{role}"]:
            table.add_row(*_cells({**record, "name": f"{role} {record['name']}"}))
        table.add_section()
    console.print(table)
    hard, aligned = summary["confidence_threshold"], summary["alignment_threshold"]
    if aligned["value"] is not None:
        console.print(
            f"hard-only: weak confidence <= {_number(hard['value'])}    "
            f"overlap: alignment >= {_number(aligned['value'])}",
            markup=False,
        )
    for sentence in (summary["reading"], *(f"warning: {text}" for text in summary["warnings"])):
        console.print(sentence, markup=False)


def _cells(record: dict[str, Any]) -> list[str]:
    low, high = record["density_low"], record["density_high"]
    return [
        str(record["name"]),
        f"{record['n']:,}",
        _percent(record["density"]),
        "-" if low is None else f"{_percent(low)} to {_percent(high)}",
        _percent(record["easy_only"]),
        _percent(record["hard_only"]),
        _percent(record["weak_accuracy"]),
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _number(value: float | None, undefined: str = "undefined") -> str:
    return undefined if value is None else f"{value:.4g}"


def print_rows(rows: list[tuple[str, str]]) -> None:
    """Print (topic, value) pairs in two columns."""
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for topic, value in rows:
        table.add_row(f"[bold]{topic}[/bold]", value)
    Console(highlight=False).print(table)


def print_groups(summary: dict[str, Any]) -> None:
    """Print groups and sources, where their labels differ, and what to do about it."""
    from rich.console import Console
    from rich.table import Table

    console, with_student = Console(highlight=False), bool(summary.get("student"))
    for role in ("group", "source"):
        records = summary[f"{role}s"]
        if not records:
            continue
        table = Table(title=f"{role.title()}s, in percent", title_style="bold")
        table.title_justify = "left"
        cells = [_group_cells(r, role, console.width, with_student) for r in records[:MOST_ROWS]]
        for heading in cells[0]:
            is_name = heading in (role, "nearest")
            table.add_column(heading, justify="left" if is_name else "right")
        for row in cells:
            table.add_row(*row.values())
        console.print(table)
        if len(records) > MOST_ROWS:
            console.print(f"{len(records) - MOST_ROWS:,} more {role}s are in groups.json")
    for sentence in (summary["reading"], summary["spurious"]["reading"]):
        console.print(sentence, markup=False)


def _group_cells(
    record: dict[str, Any], role: str, width: int, with_student: bool
) -> dict[str, str]:
    """Cells by heading; intervals, purity and neighbour only where the terminal has room."""
    accuracies = {"density": "overlap_density", "weak accuracy": "weak_accuracy"}
    if with_student:
        accuracies["student accuracy"] = "student_accuracy"
    cells = {
        role: str(record[role]),
        "items": f"{record['n']:,}",
        "labelled": _percent(record["eta_labelled"]),
        "pool": _percent(record["eta_pool"]),
        **{
            heading: _with_limits(record, name) if width >= WIDE else _percent(record[name])
            for heading, name in accuracies.items()
        },
        "leaking": f"{record['n_leaking']:,}",
    }
    if width >= WIDE:
        cells["purity"] = _percent(record["purity"])
        cells["nearest"] = "-" if record["nearest_group"] is None else str(record["nearest_group"])
    return cells


def _with_limits(record: dict[str, Any], name: str) -> str:
    value, low, high = (record[f"{name}{limit}"] for limit in ("", "_low", "_high"))
    limits = "" if low is None else f" ({_percent(low)} to {_percent(high)})"
    return f"{_percent(value)}{limits}"


def print_forecast(summary: dict[str, Any]) -> None:
    """Print forecast accuracies, the verdict, and what the feature spaces say about it."""
    from rich.console import Console
    from rich.table import Table

    title = f"Forecast from {summary['n']:,} labelled and {summary['N']:,} pool items, in percent"
    table = Table(title=title, title_style="bold", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("accuracy", f"{100 * summary['level']:.3g}% interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in ("teacher", "student", "ceiling", "gain"):
        found, sign = summary[name], "+" if name == "gain" else ""
        table.add_row(
            name,
            f"{100 * found['value']:{sign}.1f}",
            f"{100 * found['low']:{sign}.1f} to {100 * found['high']:{sign}.1f}",
            style="bold" if name == "gain" else None,
        )
    console = Console(highlight=False)
    console.print(table)
    recovered = summary["pgr_reason"] or f"about {summary['pgr']:.1f}"
    console.print(f"chance that the student beats its teacher: {summary['chance_w2s_helps']:.2f}")
    console.print(f"performance gap recovered: {recovered}", markup=False)
    console.print(f"{summary['verdict']}: {summary['reading']}", markup=False, style="bold")
    for warning in summary["warnings"]:
        console.print(f"warning: {warning}", markup=False)
    console.print(f"features: {summary['discrepancy']['reading']}", markup=False)


def print_selection(summary: dict[str, Any]) -> None:
    """Print what was bought from whom, what to buy next, and what random choice would have got."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    title = (
        f"{summary['items']:,} items for {summary['spent']:g} of {summary['budget']:g} "
        f"{summary['budget_unit']}, objective {summary['objective']}"
    )
    table = Table(title=title, title_style="bold", title_justify="left")
    interval = f"{summary['level']:.0%} interval"
    for heading in ("source", "items", "cost", summary["reward"], interval, "best", "next"):
        table.add_column(heading, justify="left" if heading == "source" else "right")
    table.add_column("status")
    ranked = sorted(summary["sources"], key=lambda record: -record["items"])
    for record in ranked[:MOST_ROWS]:
        reward = record["reward"]
        low, high = reward["low"], reward["high"]
        table.add_row(
            str(record["source"]),
            f"{record['items']:,}",
            f"{record['spent']:g}",
            _number(reward["value"], "-"),
            "-" if low is None else f"{low:.2f} to {high:.2f}",
            _number(record["probability_best"], "-"),
            "-" if record["recommended"] is None else f"{record['recommended']:,.0f}",
            record["status"],
        )
    console.print(table)
    if len(ranked) > MOST_ROWS:
        console.print(f"{len(ranked) - MOST_ROWS:,} more sources are in selection.json")
    for name, reason in summary["stopped"].items():
        console.print(f"stopped {name}: {reason}", markup=False)
    if summary["baselines"]:
        console.print(_baselines(summary["baselines"]))
    for note in (summary.get("verdict"), *summary["notes"]):
        if note:
            console.print(note, markup=False)
    console.print(f"ended: {summary['ended']}", markup=False)


def _baselines(records: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(title="The same budget spent otherwise", title_style="bold")
    table.title_justify = "left"
    table.add_column("strategy")
    names = {"value": "objective's value", "evaluated": "student's accuracy"}
    measured = [name for name in names if (records[0].get(name) or {}).get("value") is not None]
    for heading in ("runs", *(names[name] for name in measured)):
        table.add_column(heading, justify="right")
    for record in records:
        cells = [record["strategy"].replace("_", " "), str(record["runs"])]
        for name in measured:
            value, low, high = (record[name][key] for key in ("value", "low", "high"))
            limits = "" if low is None else f" ({low:.3f} to {high:.3f})"
            cells.append(f"{value:.3f}{limits}")
        table.add_row(*cells)
    return table


def print_gain(summary: dict[str, Any]) -> None:
    """Print methods ranked by gain, what they are compared with, and what failed."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    title = (
        f"Gain over the teacher on {summary['n_test']:,} test items, "
        f"{len(summary['seeds'])} seeds, in percent"
    )
    table = Table(title=title, title_style="bold", title_justify="left")
    table.add_column("student")
    for heading in ("gain", f"{100 * summary['level']:.3g}% interval", "accuracy", "PGR"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("rank")
    table.add_column("against its best control")
    methods = [student for student in summary["students"] if not student["control_of"]]
    for student in methods:
        gain, pgr = student["gains"]["accuracy"], student["pgr"]
        table.add_row(
            student["name"],
            f"{100 * gain['value']:+.1f}",
            f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}",
            _percent(student["scores"]["accuracy"]["value"]),
            "-" if pgr["reason"] else f"{pgr['value']:.2f}",
            student["rank_group"],
            _best_control(student["name"], summary["students"]),
        )
    console.print(table)
    for name in ("teacher", "ceiling", "labelled_only"):
        reference = summary[name]
        accuracy = (reference["scores"].get("accuracy") or {}).get("value")
        said = reference["reason"] or f"{_percent(accuracy)}% right"
        console.print(f"{reference['name']}: {said}", markup=False)
    console.print(summary["reading"], markup=False)
    reasons = {s["pgr"]["reason"] for s in methods if s["pgr"]["reason"]}
    for reason in sorted(reasons):
        console.print(reason, markup=False)
    if summary["forecast"]:
        console.print(_forecast_check(summary["forecast"]), markup=False)
    for name, reason in summary["failures"].items():
        console.print(f"failed: {name}: {reason}", markup=False)
    for warning in summary["warnings"]:
        console.print(f"warning: {warning}", markup=False)


def _best_control(name: str, students: list[dict[str, Any]]) -> str:
    own = [student for student in students if student["control_of"] == name]
    if not own:
        return "-"
    best = max(own, key=lambda student: student["scores"]["accuracy"]["value"])
    lead = best["lead"]
    return (
        f"{100 * lead['value']:+.1f} ({100 * lead['low']:+.1f} to {100 * lead['high']:+.1f}) "
        f"over {best['name']}"
    )


def _forecast_check(check: dict[str, Any]) -> str:
    said = f"forecast: {100 * check['value']:+.1f} ({100 * check['low']:+.1f} to "
    said += f"{100 * check['high']:+.1f})"
    if not check["student"]:
        return said
    where = "inside" if check["inside"] else "outside"
    return f"{said}; {check['student']} gained {100 * check['measured']:+.1f}, {where} the interval"
