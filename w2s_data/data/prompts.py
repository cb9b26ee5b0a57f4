"""The prompts of preference pairs, and the two responses to each of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from w2s_data.errors import ColumnError, rows
from w2s_data.utils.typing import BoolArray

Message = dict[str, str]
Conversation = list[Message]
Item = str | Conversation
# Renders messages as text; with `ask` up to where the answer begins.
Render = Callable[..., str]


class Pair(NamedTuple):
    """Two responses to a prompt: texts that begin with it, or chat messages that follow it."""

    first: Item
    second: Item
    prompt: Item = ""


@dataclass(frozen=True)
class Prompts:
    """The prompts (N,) of pairs as texts with which both items begin; and the messages, if any."""

    texts: list[str]
    # Prompt, and what follows it in chosen and in rejected; None for texts.
    chats: list[tuple[Conversation, Conversation, Conversation]] | None = None

    def columns(self, swapped: BoolArray) -> dict[str, pd.Series | None]:
        """Return the columns of a data set; of swapped pairs the rejected item is the first."""
        columns: dict[str, pd.Series | None] = {"prompt": pd.Series(self.texts, dtype=object)}
        if self.chats is not None:
            ordered = [
                [prompt, *((two, one) if swap else (one, two))]
                for (prompt, one, two), swap in zip(self.chats, swapped, strict=True)
            ]
            texts = [json.dumps(each, ensure_ascii=False) for each in ordered]
            columns["messages"] = pd.Series(texts, dtype=object)
        return columns


def read_prompts(
    items: Mapping[str, Sequence[Item | None]],
    rendered: Mapping[str, Sequence[str | None]],
    prompts: Sequence[Item | None] | None,
    name: str | None,
    render: Render,
) -> Prompts | None:
    """Find what the two items of each pair have before their responses.

    Conversations share their first messages, whether the data name a column of prompts or not;
    texts begin with the prompt that was put before them. Return None where there is no prompt.

    Parameters
    ----------
    items, rendered : mapping from column to N values
        Chosen and rejected, prompts included, before and after they are rendered.
    prompts, name : sequence of N values, str
        The column of prompts, if there is one, and its name.

    Raises
    ------
    ColumnError
        If a prompt is missing, or a response is empty; names the rows.
    """
    if prompts is not None:
        missing = [row for row, prompt in enumerate(prompts) if not prompt]
        if missing:
            raise ColumnError(
                f"column {name!r} has no prompt in {rows(missing)}; fill these in, or drop the rows"
            )
    one, two = (_chats(own) for own in items.values())
    if one is None or two is None:
        if prompts is None:
            return None
        texts = [prompt if isinstance(prompt, str) else "" for prompt in prompts]
        for column, own in items.items():
            _check_answered(column, ((i or "")[len(t) :] for i, t in zip(own, texts, strict=True)))
        return Prompts(texts)
    chats = [split_chats(first, second) for first, second in zip(one, two, strict=True)]
    for place, column in enumerate(items, start=1):
        contents = ("".join(m["content"] for m in chat[place]) for chat in chats)
        _check_answered(column, contents)
    sides = zip(*rendered.values(), strict=True)
    texts = [
        _before(prompt, (first or "", second or ""), render)
        for (prompt, _, _), (first, second) in zip(chats, sides, strict=True)
    ]
    return Prompts(texts, chats)


def _chats(items: Sequence[Item | None]) -> list[Conversation] | None:
    """Return items as conversations, missing ones as empty; None if some are texts."""
    chats = [item or [] for item in items if not isinstance(item, str)]
    return chats if len(chats) == len(items) else None


def split_chats(
    first: Conversation, second: Conversation
) -> tuple[Conversation, Conversation, Conversation]:
    """Return the messages with which two conversations begin, and what follows in each.

    >>> ask, yes, no = ({"role": "user", "content": text} for text in ("?", "yes", "no"))
    >>> split_chats([ask, yes], [ask, no]) == ([ask], [yes], [no])
    True
    """
    most = max(0, min(len(first), len(second)) - 1)  # a response is a message at least
    same = next((i for i in range(most) if first[i] != second[i]), most)
    return first[:same], first[same:], second[same:]


def _before(prompt: Conversation, sides: tuple[str, str], render: Render) -> str:
    if not prompt:
        return ""
    asked = render(prompt, ask=True)
    # Templates may render a prompt in another way once an answer follows: what both texts begin
    # with is certain.
    letters = enumerate(zip(asked, *sides, strict=False))
    shortest = min(map(len, (asked, *sides)))
    return asked[: next((i for i, each in letters if len({*each}) > 1), shortest)]


def _check_answered(column: str, responses: Iterable[Any]) -> None:
    empty = [row for row, response in enumerate(responses) if not response.strip()]
    if empty:
        raise ColumnError(
            f"column {column!r} has no response in {rows(empty)}, which leaves nothing to compare; "
            "drop these rows"
        )


def pair_items(table: pd.DataFrame) -> list[Pair]:
    """Return the pairs in the table of a data set, as messages where it holds them."""
    if "messages" in table.columns:
        read = map(json.loads, table["messages"])
        return [Pair(first, second, prompt) for prompt, first, second in read]
    prompts = table["prompt"] if "prompt" in table.columns else [""] * len(table)
    return [Pair(*each) for each in zip(table["item"], table["other"], prompts, strict=True)]


def embedded_prompts(table: pd.DataFrame) -> list[str] | None:
    """Return the prompts (N,) that encoders read beside the items; None unless every pair has one.

    Without its spaces at the end: with them, a text has one more token for some tokenizers.
    """
    if "prompt" not in table.columns:
        return None
    prompts = [str(prompt).strip() for prompt in table["prompt"]]
    return prompts if all(prompts) else None


def equal_sides(table: pd.DataFrame, features: Any) -> BoolArray:
    """Return which pairs (N,) hold the same item twice, so that they have no order."""
    if features is not None:
        return np.asarray((np.asarray(features) == 0).all(axis=1))
    return (table["item"] == table["other"]).to_numpy(dtype=bool)


def render_pair(pair: Any, render: Render) -> tuple[str, str, str]:
    """Return the prompt of a pair, and both items with it before them, as texts."""
    first, second, prompt = Pair(*pair)
    if all(isinstance(part, str) for part in (first, second, prompt)):
        return str(prompt), str(first), str(second)
    before = _as_messages(prompt, "user")
    sides = [render([*before, *_as_messages(side, "assistant")]) for side in (first, second)]
    return _before(before, (sides[0], sides[1]), render), sides[0], sides[1]


def _as_messages(item: Item, role: str) -> Conversation:
    if not isinstance(item, str):
        return list(item)
    return [{"role": role, "content": item}] if item else []
