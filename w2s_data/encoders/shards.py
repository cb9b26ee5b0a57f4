"""Encode items shard by shard, on any engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from w2s_data.compute.base import Advance, Engine
from w2s_data.encoders.base import Encoder, ItemError
from w2s_data.encoders.pretrained import PretrainedEncoder
from w2s_data.utils.typing import FloatArray, IntArray


class Part(NamedTuple):
    """One part of a shard, with the rows of the shard's items."""

    rows: IntArray
    items: list[Any]
    part: int = 0
    n_parts: int = 1


class Encoded(NamedTuple):
    """Vectors of some rows of a shard, and what was odd about their items."""

    rows: IntArray
    vectors: FloatArray
    n_cut: int = 0  # texts
    limit: int | None = None  # tokens of a text that was cut
    n_flat: int = 0  # images that are almost black, or of one colour


def resolved_encoder(encoder: Encoder, engine: Engine) -> Encoder:
    """Return an encoder whose device, backend and dtype are settled, as workers will use it."""
    if engine.name == "local" or not isinstance(encoder, PretrainedEncoder):
        return encoder
    device = engine.place(str(encoder.device))
    # A clone carries no weights: each worker loads the model on its own machine.
    copy: PretrainedEncoder = clone(encoder)
    copy.set_params(device=device)
    # Where it is torch, an encoder of one's own need not have the parameter.
    if (backend := copy.resolved_backend()) != copy.backend:
        copy.set_params(backend=backend)
    copy.set_params(dtype=copy.resolved_dtype())
    return copy


def encode_shards(
    encoder: Encoder, items: list[Any], shards: Sequence[IntArray], engine: Engine, advance: Advance
) -> Iterator[Encoded]:
    """Yield the vectors of each shard (rows of `items`), in order.

    `encoder` is as `resolved_encoder` returns it. An ItemError names rows of all items.
    """
    device, n_parts = "cpu", 1
    if isinstance(encoder, PretrainedEncoder):
        device = str(encoder.device)
        n_parts = engine.parts(len(shards), device)
    parts: Iterable[Part] = (
        Part(rows, [items[row] for row in rows], part, n_parts)
        for rows in shards
        for part in range(n_parts)
    )
    if engine.name == "local" and isinstance(encoder, PretrainedEncoder):
        parts = _announced(encoder, parts)
    results: list[Encoded] = []
    encoded = engine.map_blocks(encode, encoder, parts, advance, device=device, same_threads=False)
    for _, result in encoded:
        results.append(Encoded(*result))
        if len(results) == n_parts:
            yield _joined(results)
            results = []


def _announced(encoder: PretrainedEncoder, parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts, while the encoder knows of each which one follows."""
    for part, following in pairwise(chain(parts, [None])):
        if following is not None:
            encoder.announce(following.items)
        if part is not None:
            yield part


def encode(encoder: Encoder, part: Part, advance: Advance) -> Encoded:
    """Encode a part of a shard; return positions in the shard, and their vectors."""
    try:
        encoded = encoder.encode_part(part.items, part.part, part.n_parts, advance=advance)
    except ItemError as error:
        raise error.moved_to(part.rows.tolist()) from error
    odd = (getattr(encoder, name, None) for name in ("n_cut_", "limit_", "n_flat_"))
    n_cut, limit, n_flat = odd
    return Encoded(*encoded, n_cut or 0, limit, n_flat or 0)


def _joined(parts: list[Encoded]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    parts = [part for part in parts if len(part.rows)]  # an empty part may not know its width
    rows = np.concatenate([part.rows for part in parts])
    vectors = np.concatenate([part.vectors for part in parts])
    joined = np.empty_like(vectors)
    joined[rows] = vectors
    n_cut, n_flat = sum(part.n_cut for part in parts), sum(part.n_flat for part in parts)
    return Encoded(np.sort(rows), joined, n_cut, parts[0].limit, n_flat)
