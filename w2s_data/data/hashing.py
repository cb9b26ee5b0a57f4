"""The fingerprint of a data set: a hash of columns and arrays, whatever order columns have."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

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
    lengths, contents = _encoded(values)
    # The lengths keep ("a", "bc") apart from ("ab", "c"), and a missing value from an empty one.
    digest.update(np.ascontiguousarray(lengths, dtype="<i8").data)
    digest.update(contents)


def _encoded(values: pd.Series) -> tuple[AnyArray, Any]:
    """Return the lengths (N,) of strings in UTF-8, -1 where missing, and their joined bytes."""
    if pd.api.types.infer_dtype(values, skipna=True) == "string":
        with suppress(UnicodeEncodeError):
            found = pa.array(values.to_numpy(dtype=object), pa.large_string(), from_pandas=True)
            lengths = pc.fill_null(pc.binary_length(found), -1).to_numpy()
            return lengths, found.drop_null().buffers()[2]
    # "surrogatepass", since a table may hold texts that are not valid Unicode.
    encoded = [
        v.encode("utf-8", "surrogatepass") if isinstance(v, str) else None
        for v in values.astype(object)
    ]
    lengths = np.array([-1 if v is None else len(v) for v in encoded])
    return lengths, b"".join(v for v in encoded if v is not None)
