"""Roles of new rows: which columns they may lack, and what is said of them."""

from __future__ import annotations

import pytest

from w2s_data.data.arranging import present_roles
from w2s_data.data.columns import Roles
from w2s_data.errors import ColumnError

PROBABILITIES = Roles(item="text", label="y", weak_columns={"a": ["p", "q"], "b": "r"})
LABEL = Roles(item="text", weak_label="w", weak_confidence="c")
VALUES = Roles(item="text", weak_values=["v", "u"], weak_errors=["s", "t"])


@pytest.mark.parametrize(
    ("roles", "columns", "kept", "notes"),
    [
        (PROBABILITIES, "pqr", ["weak_columns"], []),
        (PROBABILITIES, "pq", [], ["no weak labels: column 'r' is missing"]),
        (PROBABILITIES, "", [], ["no weak labels: columns 'p', 'q', 'r' are missing"]),
        (LABEL, "c", [], ["no weak labels: column 'w' is missing"]),
        (LABEL, "w", ["weak_label"], ["no confidence of the weak labels: column 'c' is missing"]),
        (VALUES, "vust", ["weak_values", "weak_errors"], []),
        (VALUES, "vst", [], ["no weak values: column 'u' is missing"]),
        (VALUES, "vus", ["weak_values"], ["no errors of the weak values: column 't' is missing"]),
    ],
)
def test_weak_columns_that_are_missing_are_named(roles, columns, kept, notes):
    present, told = present_roles(roles, ["text", *columns])
    assert list(present.given()) == ["item", *kept]
    assert told == notes


def test_items_are_needed():
    with pytest.raises(ColumnError, match=r"the new rows lack 'text'.* or pass item"):
        present_roles(LABEL, ["w", "c"])
