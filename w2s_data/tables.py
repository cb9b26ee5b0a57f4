"""What the command line prints of a run's summaries."""

from __future__ import annotations

from typing import Any


def print_overlap(summary: dict[str, Any]) -> None:
    """Print the density table of a scored run, its thresholds and what they mean."""
    from rich.console import Console
    from rich.table import Table

    title = f"Overlap density of {summary['n_scored']:,} pool items, in percent"
    table = Table(title=title, title_style="bold", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("items", "density", f"{100 * summary['level']:.3g}% interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("easy-only", "hard-only", "weak accuracy"):
        table.add_column(heading, justify="right")
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
    console = Console(highlight=False)
    console.print(table)
    hard, aligned = summary["confidence_threshold"], summary["alignment_threshold"]
    console.print(
        f"hard-only: weak confidence <= {_number(hard['value'])}    "
        f"overlap: alignment >= {_number(aligned['value'])}",
        markup=False,
    )
    console.print(summary["reading"], markup=False)


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


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def print_rows(rows: list[tuple[str, str]]) -> None:
    """Print (topic, value) pairs in two columns."""
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for topic, value in rows:
        table.add_row(f"[bold]{topic}[/bold]", value)
    Console(highlight=False).print(table)
