"""Small functions that format, escape and align: one line of examples each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from w2s_reports import formats
from w2s_reports.artefacts import writable
from w2s_reports.axes import scale
from w2s_reports.figures.base import plot_text, thin, without_markup
from w2s_reports.palette import tokens
from w2s_reports.summary.parts import estimate, named, sentence
from w2s_reports.tables import align_rows, escape_markdown, markdown_table, terminal_table

NARROW = {"value": 0.31, "low": 0.27, "high": 0.354}
BARE = {"value": 2.5, "low": None, "high": None}


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("percent", (0.3142,), "31.4%"),
        ("percent", (None,), "–"),
        ("number", (0.31416,), "0.314"),
        ("count", (12345,), "12,345"),
        ("amount", (276.0,), "276"),
        ("amount", (67.84,), "67.8"),
        ("price", (0.125,), "0.125"),
        ("price", (2.0,), "2"),
        ("signed", (0.0186,), "+1.9"),
        ("signed", (-0.039,), "−3.9"),
        ("signed", (-0.0001,), "0.0"),
        ("day", ("2026-11-05T10:00:00Z",), "5 November 2026"),
        ("duration", (3.14159,), "3.1 s"),
        ("duration", (125,), "2 min 5 s"),
        ("excerpt", ("one\n two  three", 9), "one tw…"),
        ("format_value", (0.31,), "31.0%"),
        ("format_value", (-0.02, "points"), "−2.0"),
        ("format_value", (0.31, "number"), "0.310"),
        ("format_interval", (NARROW,), "27.0–35.4%"),
        ("format_interval", ({"low": -0.0168, "high": 0.0539}, "points"), "−1.7 to +5.4"),
        ("format_estimate", (NARROW,), "31.0% (27.0–35.4%)"),
        ("format_estimate", (BARE, "number", 1), "2.5"),
    ],
)
def test_format(name: str, arguments: tuple[Any, ...], text: str) -> None:
    assert getattr(formats, name)(*arguments) == text


def test_plain_values_and_flat_settings() -> None:
    assert formats.plain(float("nan")) is None
    flat = formats.flatten({"weak": {"model": "tfidf", "dim": 64}, "seed": 0})
    assert flat == {"weak.model": "tfidf", "weak.dim": "64", "seed": "0"}


def test_escaping() -> None:
    assert escape_markdown("a|b <b>*c*</b>") == "a\\|b \\<b\\>\\*c\\*\\</b\\>"
    assert plot_text("<b>a</b>") == "&lt;b&gt;a&lt;/b&gt;"
    assert without_markup("<b> costs $5, not $6") == "&lt;b&gt; costs &#36;5, not &#36;6"
    assert writable({"name": "a\ud800b"}) == {"name": "a\ufffdb"}


def test_tables() -> None:
    lines = ["| Source |   n |", "| :----- | --: |", "| web    |  12 |"]
    assert markdown_table([["Source", "n"], ["web", "12"]]).split("\n") == lines
    lines = [" source     items", "─" * 18, " [red]web      12"]
    assert terminal_table([["source", "items"], ["[red]web", "12"]], 40).split("\n") == lines
    assert align_rows([("ray", "pip install 'w2s-data[ray]'")], 40) == (
        "ray  pip install 'w2s-data[ray]'"
    )


def test_pieces_of_sections() -> None:
    given = {"value": 0.3, "low": 0.2, "high": 0.4}
    assert estimate(given, level=0.9) == given | {"level": 0.9}
    text = sentence("no student clearly beats the teacher")
    assert text == "No student clearly beats the teacher."
    assert named([{"name": a} for a in "abcde"], lambda row: row["name"]) == "a, b, c and 2 more"


def test_pieces_of_figures() -> None:
    assert np.array_equal(thin(1_000_000, 777, limit=6), [0, 776, 777, 999999])
    assert scale([{"value": 0.3, "low": 0.22, "high": 0.41}]) == (0.0, 0.5)
    assert tokens(0)["overlap-soft"] == "#0072b22e"
    assert tokens(1)["paper"] == "#15181b"
