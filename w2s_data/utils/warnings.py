"""Warnings of one category, collected for a summary, or none for a while."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("w2s_data")


@contextmanager
def collect_warnings(category: type[Warning], *, reissue: bool = False) -> Iterator[list[str]]:
    """Collect the messages of one category of warning, each once, and pass all others on.

    With `reissue` the collected warnings are raised again when the block ends, otherwise logged.

    >>> with collect_warnings(UserWarning) as messages:
    ...     warnings.warn("a single class", UserWarning)
    >>> messages
    ['a single class']
    """
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", category)
        yield messages
    for warning in caught:
        text = str(warning.message)
        collected = issubclass(warning.category, category)
        if collected and text in messages:
            continue
        if collected:
            messages.append(text)
        if reissue or not collected:
            # Explicit, so that the warning keeps the place where it was raised.
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
        else:
            logger.warning("%s", text)


@contextmanager
def silence() -> Iterator[None]:
    """Drop warnings and the log of this process, errors excepted, for a while."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
