"""The fingerprint of a data set: a hash of columns and arrays, whatever order columns have."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.utils.typing import AnyArray


def hash_contents(
    head: object, columns: Mapping[str, pd.Series], arrays: Sequence[AnyArray | None]
) -> str:
    """Return the SHA-256, in hex, of a head, columns of strings, and arrays."""
    digest = hashlib.sha256(repr(head).encode())
    for role in sorted(columns):  # the order of columns does not count
        digest.update(role.encode())
        _add_strings(digest, columns[role])
    for array in arrays:
        if array is not None:
            # Without the shape, arrays of other shapes could have the same bytes.
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _add_strings(digest: Any, values: pd.Series) -> None:
    """Add a column of strings to a hash."""
    # "surrogatepass", since a table may hold texts that are not valid Unicode.
    encoded = [
        v.encode("utf-8", "surrogatepass") if isinstance(v, str) else None
        for v in values.astype(object)
    ]
    # The lengths keep ("a", "bc") apart from ("ab", "c"), and a missing value from an empty one.
    lengths = np.array([-1 if v is None else len(v) for v in encoded], dtype="<i8")
    digest.update(lengths.data)
    digest.update(b"".join(v for v in encoded if v is not None))
