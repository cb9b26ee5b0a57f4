"""How numbers, dates and texts are spelled, the same on the page and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

NOTHING = "–"
MINUS = "\u2212"
NAME_BYTES = 120


def plain(value: Any) -> Any:
    """A Python scalar; NaN, infinities and pandas' NA become None.

    >>> plain(float("nan")) is None
    True
    """
    if hasattr(value, "item"):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage.

    >>> percent(0.3142), percent(None)
    ('31.4%', '–')
    """
    return NOTHING if value is None else f"{100 * value:.{digits}f}%".replace("-", MINUS)


def number(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals.

    >>> number(0.31416)
    '0.314'
    """
    return NOTHING if value is None else f"{value:.{digits}f}"


def count(value: int | None) -> str:
    """A whole number with separated thousands.

    >>> count(12345)
    '12,345'
    """
    return NOTHING if value is None else f"{value:,}"


def amount(value: float | None) -> str:
    """A number of items or money, with decimals only where it has them.

    >>> amount(276.0), amount(67.84)
    ('276', '67.8')
    """
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value - round(value)) < 0.05 else f"{value:,.1f}"


def price(value: float | None) -> str:
    """What one item costs, in three digits at most.

    >>> price(0.125), price(2.0)
    ('0.125', '2')
    """
    return NOTHING if value is None else f"{value:.3g}"


def interval(low: float | None, high: float | None) -> str:
    """A percentage interval.

    >>> interval(0.27, 0.354)
    '27.0–35.4%'
    """
    return "" if low is None or high is None else f"{100 * low:.1f}–{100 * high:.1f}%"


def number_interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval of plain numbers.

    >>> number_interval(0.27, 0.354)
    '0.270–0.354'
    """
    return "" if low is None or high is None else f"{low:.{digits}f}–{high:.{digits}f}"


def signed(value: float | None, digits: int = 1) -> str:
    """A difference of shares in percentage points.

    >>> signed(0.0186), signed(-0.039), signed(-0.0001)
    ('+1.9', '−3.9', '0.0')
    """
    if value is None:
        return NOTHING
    text = f"{100 * value:+.{digits}f}"
    return text.replace("-", MINUS) if text.strip("+-0.") else text[1:]


def signed_interval(low: float | None, high: float | None, digits: int = 1) -> str:
    """An interval of percentage points.

    >>> signed_interval(-0.0168, 0.0539)
    '−1.7 to +5.4'
    """
    return "" if low is None or high is None else f"{signed(low, digits)} to {signed(high, digits)}"


def number_span(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval of plain numbers that may be below zero.

    >>> number_span(-0.25, 0.1)
    '−0.250 to 0.100'
    """
    if low is None or high is None:
        return ""
    return f"{low:.{digits}f} to {high:.{digits}f}".replace("-", MINUS)


def share_of(value: float | None, digits: int = 0) -> str:
    """A share that may be below zero, as a signed percentage.

    >>> share_of(-0.25)
    '−25%'
    """
    return NOTHING if value is None else f"{100 * value:+.{digits}f}%".replace("-", MINUS)


def day(iso: str | None) -> str:
    """An ISO date in words; anything else is left as it is.

    >>> day("2026-11-05T10:00:00Z")
    '5 November 2026'
    """
    if not iso:
        return NOTHING
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{moment.day} {moment:%B %Y}"


def duration(seconds: float | None) -> str:
    """A time span in the largest fitting unit.

    >>> duration(3.14159), duration(125)
    ('3.1 s', '2 min 5 s')
    """
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def excerpt(text: str, max_bytes: int) -> str:
    """The start of a text on one line, at most `max_bytes` of UTF-8.

    >>> excerpt("one\\n two  three", 9)
    'one tw…'
    """
    line = " ".join(text[: 2 * max_bytes].split())
    raw = line.encode("utf-8", "replace")
    if len(raw) <= max_bytes and len(text) <= 2 * max_bytes:
        return raw.decode("utf-8")
    return raw[: max_bytes - len("…".encode())].decode("utf-8", "ignore").rstrip() + "…"


def id_of(value: Any) -> str:
    """An item's id, cut only where it is too long to show."""
    text = str(value)
    return text if len(text) <= NAME_BYTES else excerpt(text, NAME_BYTES)


def name_of(value: Any) -> str | None:
    """A class, source or group name, cut to a length that a table can show."""
    value = plain(value)
    return None if value is None else excerpt(str(value), NAME_BYTES)


def flatten(settings: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names and short texts; unset ones are left out.

    >>> flatten({"weak": {"model": "tfidf", "dim": 64}, "seed": 0})
    {'weak.model': 'tfidf', 'weak.dim': '64', 'seed': '0'}
    """
    if settings is None:
        return {}
    if isinstance(settings, Mapping):
        flat: dict[str, str] = {}
        for key, value in settings.items():
            flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
        return flat
    text = ", ".join(map(str, settings)) if isinstance(settings, list) else str(settings)
    return {prefix: excerpt(text, 200)} if prefix else {}


def spelled(value: float | None, unit: str) -> str:
    """A value in its unit: a share, points of a share, a plain number or a count.

    >>> spelled(0.31, "share"), spelled(-0.02, "points"), spelled(0.31, "number")
    ('31.0%', '−2.0', '0.310')
    """
    if unit == "count":
        return count(None if value is None else round(value))
    return {"share": percent, "points": signed, "number": number}[unit](value)


def spelled_interval(low: float | None, high: float | None, unit: str) -> str:
    """An interval in its unit.

    >>> spelled_interval(-0.02, 0.1, "points")
    '−2.0 to +10.0'
    """
    spell = {"share": interval, "points": signed_interval, "number": number_span}
    return spell[unit](low, high) if unit in spell else ""
