"""Pairs as token ids: prompts and responses, cut so that the responses remain."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from w2s_data.data.messages import message_renderer
from w2s_data.data.prompts import render_pair
from w2s_data.encoders.source import quiet
from w2s_data.encoders.tokens import TextReader, Tokens
from w2s_data.errors import InputError, rows
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

logger = logging.getLogger("w2s_data")


@dataclass(frozen=True)
class PairTokens:
    """Token ids of N pairs.

    The two sides of a pair lie in an order of their own, row by row, which does not depend on which
    of them is the first: so that swapping them swaps the probabilities to the last bit.
    """

    sides: Tokens  # of 2 N texts: one side of every pair, then the other
    prompts: IntArray  # (2 N,), tokens before the response
    turned: BoolArray  # (N,), pairs of which the second item is the one side
    # Log-probabilities (2 N,) of the responses under the start, by the layers that are used.
    reference: dict[int, FloatArray] = field(default_factory=dict)

    @property
    def lengths(self) -> IntArray:
        """Tokens of each pair (N,), both sides together."""
        return np.asarray(self.sides.lengths.reshape(2, -1).sum(axis=0))

    def places(self, chosen: IntArray) -> IntArray:
        """Return the rows of the sides of some pairs: one of every pair, then the other."""
        return np.concatenate([chosen, chosen + len(self.turned)])


class PairReader:
    """Renders pairs as texts, and cuts them to tokens that keep the response."""

    def __init__(self, reader: TextReader, limit: int, first: int = 0, *, ends: bool) -> None:
        self.reader, self.limit, self.first = reader, limit, first
        tokenizer = reader.tokenizer
        self.special = {int(token) for token in tokenizer.all_special_ids}
        self.render = message_renderer(tokenizer)[0]
        # A model that generates learns where a text ends; a template ends messages by itself.
        self.end = tokenizer.eos_token_id if ends else None

    def read(self, items: Sequence[Any]) -> PairTokens:
        """Tokenize pairs; too long ones lose the start of their prompt, then the end of a response.

        Raise InputError for items that are no pairs, and for empty responses.
        """
        wrong = [row for row, item in enumerate(items) if not _is_pair(item)]
        if wrong:
            raise InputError(
                "items of pairs are (first, second) or (first, second, prompt), of texts or "
                f"messages; {rows(np.array(wrong))} are not"
            )
        parts = [render_pair(item, self.render) for item in items]
        empty = [row for row, part in enumerate(parts) if _is_empty(*part)]
        if empty:
            raise InputError(
                f"pairs in {rows(np.array(empty))} have an empty response: leave them out"
            )
        heads, *sides = (self._ids([part[i] for part in parts]) for i in range(3))
        # Both items, each with its tokens and how many of them are the prompt's.
        pairs, n_cut = [], 0
        for item, head, *ids in zip(items, heads, *sides, strict=True):
            whole = [self._ended(own) if isinstance(item[0], str) else own for own in ids]
            n_cut += max(map(len, whole)) > self.limit
            pairs.append(self._cut([(own, _shared(head, own)) for own in whole]))
        self._say(n_cut, pairs)
        turned = [one[0].tolist() > two[0].tolist() for one, two in pairs]
        first = [pair[swap] for pair, swap in zip(pairs, turned, strict=True)]
        second = [pair[not swap] for pair, swap in zip(pairs, turned, strict=True)]
        laid = [*first, *second]
        return PairTokens(
            _joined([ids for ids, _ in laid]),
            np.array([before for _, before in laid], dtype=np.int64),
            np.array(turned, dtype=bool),
        )

    def _ids(self, texts: list[str]) -> list[IntArray]:
        """Return the token ids of whole texts, none for an empty one."""
        with quiet():  # it warns of texts that are cut afterwards
            tokens = self.reader.read([text for text in texts if text], None)
        read = iter(tokens.rows(np.arange(len(tokens.lengths))))
        return [next(read) if text else np.empty(0, np.int32) for text in texts]

    def _ended(self, ids: IntArray) -> IntArray:
        if self.end is None or (len(ids) and ids[-1] == self.end):
            return ids
        return np.append(ids, np.int32(self.end))

    def _cut(self, pair: list[tuple[IntArray, int]]) -> list[tuple[IntArray, int]]:
        """Cut both sides to the limit, their prompts alike."""
        longest = max(len(ids) for ids, _ in pair)
        gone, lead = 0, 0
        if longest > self.limit:
            # The mark at the start stays, and with it what the pooling leaves out.
            lead = max(self.first, int(all(ids[0] in self.special for ids, _ in pair)))
            most = min(before for _, before in pair) - lead
            gone = max(0, min(longest - self.limit, most))
        cut = []
        for ids, before in pair:
            kept = self._end_cut(np.concatenate([ids[:lead], ids[lead + gone :]]))
            cut.append((kept, min(before - gone, len(kept) - 1)))
        return cut

    def _end_cut(self, ids: IntArray) -> IntArray:
        """Cut a text at its end, but for a mark that ends it."""
        if len(ids) <= self.limit or self.limit < 2 or ids[-1] not in self.special:
            return ids[: self.limit]
        return np.append(ids[: self.limit - 1], ids[-1])

    def _say(self, n_cut: int, pairs: list[list[tuple[IntArray, int]]]) -> None:
        if n_cut:
            n = len(pairs)
            logger.info("%d of %d pairs were cut to %d tokens a side", n_cut, n, self.limit)
        equal = [row for row, (one, two) in enumerate(pairs) if np.array_equal(one[0], two[0])]
        if equal:
            logger.warning(
                "pairs with the same tokens on both sides, of which neither order is learned: %s "
                "(a larger max_length may tell them apart)",
                rows(np.array(equal)),
            )


def _is_pair(item: Any) -> bool:
    if not isinstance(item, tuple) or len(item) not in (2, 3):
        return False
    return all(isinstance(part, str | list) for part in item)


def _is_empty(prompt: str, *sides: str) -> bool:
    return not all(side.removeprefix(prompt).strip() for side in sides)


def _shared(one: IntArray, other: IntArray) -> int:
    """Return the number of tokens with which two texts begin alike."""
    n = min(len(one), len(other))
    different = np.flatnonzero(one[:n] != other[:n])
    return int(different[0]) if len(different) else n


def _joined(sides: list[IntArray]) -> Tokens:
    """Lay texts end to end; none of them counts as cut."""
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in sides], dtype=np.int64)])
    ids = np.concatenate([np.empty(0, np.int32), *sides]).astype(np.int32)
    return Tokens(ids, starts, np.zeros(len(sides), dtype=bool))
