"""Formulas of docstrings on the site: MathML, which browsers draw without a script.

An extension of griffe, which reads docstrings for mkdocstrings, marks them for Markdown, whose
escapes would eat theirs; a hook of mkdocs sets them.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import griffe
from latex2mathml.converter import convert

# Up to the empty line that ends the directive.
DIRECTIVE = re.compile(r"^( *)\.\. math::\s+(.*?)(?=\n\s*\n|\Z)", flags=re.MULTILINE | re.DOTALL)
MARKED = re.compile(r'<(div|span) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', flags=re.DOTALL)
# Operators that the converter does not know.
OPERATORS = {r"\arg\min": r"\mathrm{argmin}", r"\arg\max": r"\mathrm{argmax}"}


class Formulas(griffe.Extension):
    """Marks the formulas of docstrings as Markdown has them."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the directives of one docstring."""
        if obj.docstring:
            obj.docstring.value = DIRECTIVE.sub(_marked, obj.docstring.value)


def _marked(found: re.Match[str]) -> str:
    return f"{found[1]}$$ {' '.join(found[2].split())} $$"


def on_page_content(html: str, **_: Any) -> str:
    """Set the marked formulas of a page."""
    return MARKED.sub(_set, html)


def _set(found: re.Match[str]) -> str:
    formula = unescape(found[2]).strip()
    for name, known in OPERATORS.items():
        formula = formula.replace(name, known)
    if found[1] == "span":
        return convert(formula)
    if "&" in formula:
        formula = rf"\begin{{align*}} {formula} \end{{align*}}"
    # A long one scrolls by itself on a narrow screen.
    return f'<div style="overflow-x: auto">{convert(formula, display="block")}</div>'
