"""What a stage was warned of, kept for its summary."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("w2s_data")


@contextmanager
def noting(category: type[Warning]) -> Iterator[list[str]]:
    """Collect the messages of one category of warning, log them, and pass all others on."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", category)
        yield notes
    for warning in caught:
        if issubclass(warning.category, category):
            notes.append(str(warning.message))
            logger.warning("%s", warning.message)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
