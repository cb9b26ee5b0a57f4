"""Formatting of numbers, dates and texts, the same in every format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeGuard

# An en dash, as a blank cell would look like a mistake.
NOTHING = "–"
# The hyphen is shorter than a plus, so that signed numbers would not line up.
MINUS = "\u2212"
# Bytes, not characters: the size of the page is what has to stay bounded.
NAME_BYTES = 120


def plain(value: Any) -> Any:
    """Convert to a Python scalar; NaN, infinities and pandas' NA become None."""
    # NumPy scalars; the JSON of the summary holds Python types only.
    if hasattr(value, "item"):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def percent(value: float | None, digits: int = 1) -> str:
    """Format a share as a percentage."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}%".replace("-", MINUS)


def number(value: float | None, digits: int = 3) -> str:
    """Format a number with a fixed count of decimals."""
    return NOTHING if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def count(value: int | None) -> str:
    """Format a whole number with separated thousands."""
    return NOTHING if value is None else f"{value:,}"


def amount(value: float | None) -> str:
    """Format a number of items or money, with decimals only where it has them."""
    if value is None:
        return NOTHING
    # Closer to a whole number than the one decimal could show.
    return f"{value:,.0f}" if abs(value - round(value)) < 0.05 else f"{value:,.1f}"


def price(value: float | None) -> str:
    """Format the cost of one item in three digits at most."""
    return NOTHING if value is None else f"{value:.3g}"


def signed(value: float | None, digits: int = 1) -> str:
    """Format a difference of shares in percentage points."""
    if value is None:
        return NOTHING
    text = f"{100 * value:+.{digits}f}"
    # A rounded zero has no sign: +0.0 would read as a small gain.
    return text.replace("-", MINUS) if text.strip("+-0.") else text[1:]


def significant(value: float | None, digits: int = 3) -> str:
    """Format a number in its own unit, such as a predicted value, in significant digits.

    >>> significant(0.012345), significant(12345.6), significant(-2.5)
    ('0.0123', '12,346', '\u22122.50')
    """
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    # The exponent after rounding, as 0.0999 in two digits is 0.10.
    places = digits - 1 - int(f"{value:.{digits - 1}e}".partition("e")[2])
    # Beyond eight decimals only powers of ten are readable.
    text = f"{value:,.{max(0, places)}f}" if places <= digits + 4 else f"{value:.{digits - 1}e}"
    return text.replace("-", MINUS)


def change(value: float | None, digits: int = 3) -> str:
    """Format a difference of such numbers, with its sign.

    >>> change(0.25), change(-3)
    ('+0.250', '\u22123.00')
    """
    text = significant(value, digits)
    return f"+{text}" if value is not None and value > 0 else text


def day(iso: str | None) -> str:
    """Format an ISO date in words; return anything else unchanged."""
    if not iso:
        return NOTHING
    try:
        moment = datetime.fromisoformat(iso)
    # Dates of runs made by other programs may have another format.
    except ValueError:
        return iso
    return f"{moment.day} {moment:%B %Y}"


def duration(seconds: float | None) -> str:
    """Format a time span in the largest fitting unit."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def excerpt(text: str, max_bytes: int) -> str:
    """Cut a text to its start on one line, at most `max_bytes` of UTF-8."""
    # Twice the bytes are enough for any text with single blanks; a huge cell is never split whole.
    line = " ".join(text[: 2 * max_bytes].split())
    raw = line.encode("utf-8", "replace")
    if len(raw) <= max_bytes and len(text) <= 2 * max_bytes:
        return raw.decode("utf-8")
    # A character of several bytes may be cut in its middle; "ignore" drops the rest of it.
    return raw[: max_bytes - len("…".encode())].decode("utf-8", "ignore").rstrip() + "…"


def id_of(value: Any) -> str:
    """Return an item's id, cut only where it is too long to show."""
    text = str(value)
    return text if len(text) <= NAME_BYTES else excerpt(text, NAME_BYTES)


def name_of(value: Any) -> str | None:
    """Return a class, source or group name, cut to a length that a table can show."""
    value = plain(value)
    return None if value is None else excerpt(str(value), NAME_BYTES)


def flatten(settings: Any, prefix: str = "") -> dict[str, str]:
    """Flatten nested settings to dotted names and short texts; unset ones are left out."""
    if settings is None:
        return {}
    if isinstance(settings, Mapping):
        flat: dict[str, str] = {}
        for key, value in settings.items():
            flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
        return flat
    text = ", ".join(map(str, settings)) if isinstance(settings, list) else str(settings)
    # Long settings, such as lists of classes, would make the table of settings unreadable.
    return {prefix: excerpt(text, 200)} if prefix else {}


# An interval of a density is one of the estimate, and holds the true density of few pools.
SAMPLING_ONLY = "sampling only"
UNITS: dict[str, Callable[..., str]] = {
    "share": percent,
    "density": percent,
    "points": signed,
    "number": number,
    "value": significant,
    "change": change,
}


def reward_title(reward: str) -> str:
    """Return the title of rewards that are shown with their intervals.

    >>> reward_title("overlap density"), reward_title("trust")
    ('overlap density, sampling only', 'trust')
    """
    return f"{reward}, {SAMPLING_ONLY}" if reward == "overlap density" else reward


def difference_unit(unit: str) -> str:
    """Return the unit of a difference of two numbers of a unit.

    >>> difference_unit("share"), difference_unit("value"), difference_unit("number")
    ('points', 'change', 'number')
    """
    return {"share": "points", "density": "points", "value": "change"}.get(unit, unit)


def format_value(value: float | None, unit: str = "share", digits: int | None = None) -> str:
    """Format a number in its unit: a key of `UNITS`, or count."""
    if unit == "count":
        return count(None if value is None else round(value))
    return UNITS[unit](value) if digits is None else UNITS[unit](value, digits)


def format_interval(
    estimate: Mapping[str, Any] | None, unit: str = "share", digits: int | None = None
) -> str:
    """Format the interval of an estimate; empty where it has none.

    >>> format_interval({"value": 0.2, "low": 0.1, "high": 0.3}, "density")
    '10.0–30.0%, sampling only'
    """
    if not has_interval(estimate) or unit not in UNITS:
        return ""
    if unit == "density":
        return f"{format_interval(estimate, 'share', digits)}, {SAMPLING_ONLY}"
    low, high = (format_value(estimate[side], unit, digits) for side in ("low", "high"))
    # A dash between numbers reads as a minus where one of them may be negative.
    if unit in ("points", "change") or MINUS in low + high:
        return f"{low} to {high}"
    return f"{low.rstrip('%')}–{high}"


def format_estimate(
    estimate: Mapping[str, Any] | None, unit: str = "share", digits: int | None = None
) -> str:
    """Format a value with its interval in brackets."""
    # None stands for an estimate that a section does not have at all.
    value = format_value((estimate or {}).get("value"), unit, digits)
    limits = format_interval(estimate, unit, digits)
    return f"{value} ({limits})" if limits else value


def has_interval(estimate: Mapping[str, Any] | None) -> TypeGuard[Mapping[str, Any]]:
    """Return whether both limits of an estimate are known."""
    return estimate is not None and None not in (estimate["low"], estimate["high"])
