"""Chat messages and prompts: from columns of conversations to columns of texts.

A conversation is a list of messages, each a mapping with role and content (or, as ShareGPT writes
them, from and value); one such mapping; a mapping with the list under a usual key; or JSON text of
these. The content is a text or a list of parts with texts.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.columns import guess_kind, is_empty
from w2s_data.data.prompts import Conversation, Item, Message, Prompts, Render, read_prompts
from w2s_data.data.readers import RawTable
from w2s_data.errors import ColumnError, InputError, first_line, listing, rows

_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
_LIST_KEYS = ("messages", "conversations", "conversation")
_IMAGE_KEYS = {"bytes", "path"}  # how the `datasets` library stores an image
_LOOKED_AT = 100  # values that decide on a column, as in `guess_kind`
PLAIN = "plain"


def render_messages(
    raw: RawTable, columns: Sequence[str], prompt: str | None, chat_template: Any
) -> tuple[RawTable, Prompts | None]:
    """Return the table with conversations in columns of items as texts, and prompts before items.

    For two columns, which are the two items of pairs, also return the prompts.

    Parameters
    ----------
    columns : sequence of str
        Columns of items; those of texts, vectors and images stay unchanged without a prompt.
    prompt : str, optional
        Column of texts or conversations that items follow; not repeated where they begin with it.
    chat_template : str or tokenizer, optional
        Folder or hub name of a model; its template renders conversations. Without one, or for
        "plain", a message is a line "role: content".

    Raises
    ------
    ColumnError
        For objects that are neither messages nor images, and messages without role or content.
    """
    used = [*columns, *([] if prompt is None else [prompt])]
    chats = {name for name in used if _holds_messages(raw.frame[name])}
    if not chats and prompt is None:
        return replace(raw, notes=raw.notes + _ignored_prompt(raw, columns)), None
    kinds = {guess_kind(raw.frame[name]) for name in columns if name not in chats}
    if prompt is not None and kinds - {"text"}:
        kind = next(iter(kinds - {"text"}))
        raise InputError(f"prompt stands before texts or messages; these items are {kind!r}")
    parts = {name: _conversations(raw.frame[name], name in chats) for name in used}
    render, how = message_renderer(chat_template) if chats else (_plain, "")
    notes = [f"messages of {listing(sorted(chats))} are rendered {how}"] if chats else []
    joined: dict[str, list[Item | None]] = {}
    rendered: dict[str, list[str | None]] = {}
    heads = None if prompt is None else parts[prompt]
    for name in columns:
        joined[name], repeated = _joined(parts[name], heads, as_chat=bool(chats))
        rendered[name] = [_text(item, render, name, row) for row, item in enumerate(joined[name])]
        if repeated:
            notes.append(f"{repeated:,} items of {name!r} begin with their prompt already")
    if prompt is not None:
        notes.append(f"column {prompt!r} stands before the items")
    else:
        notes += _ignored_prompt(raw, columns)
    prompts = read_prompts(joined, rendered, heads, prompt, render) if len(columns) == 2 else None
    frame = raw.frame.assign(**{name: pd.Series(v, dtype=object) for name, v in rendered.items()})
    return replace(raw, frame=frame, notes=raw.notes + tuple(notes)), prompts


def _holds_messages(values: pd.Series) -> bool:
    """Return whether a column holds conversations; raise for objects of another kind."""
    if pd.api.types.is_numeric_dtype(values):
        return False
    first = [value for value in values.head(_LOOKED_AT) if not _is_missing(value)]
    found = [value for value in map(_unpacked, first) if value is not None]
    if found and len(found) == len(first):
        return True
    objects = [value for value in first if _keys(value) and not _keys(value) <= _IMAGE_KEYS]
    if objects:
        keys = listing(sorted(_keys(objects[0])))
        raise ColumnError(
            f"column {values.name!r} holds objects with the keys {keys}, and items are texts, "
            "messages (role, content), images (bytes, path) or vectors; make a column of these"
        )
    return False


def _keys(value: Any) -> set[str]:
    """Return the keys of an object, or of the first one in a list."""
    if isinstance(value, list | tuple | np.ndarray) and len(value):
        value = value[0]
    return {str(key) for key in value} if isinstance(value, Mapping) else set()


def _unpacked(value: Any) -> list[Any] | None:
    """Return a list of messages, not yet read; None if the value is something else."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, Mapping):
        inner = next((value[key] for key in _LIST_KEYS if value.get(key) is not None), None)
        value = [value] if inner is None else inner
    if not isinstance(value, list | tuple | np.ndarray) or not len(value):
        return None
    are_messages = all(isinstance(m, Mapping) and {"role", "from"} & set(m) for m in value)
    return list(value) if are_messages else None


def _parsed(text: str) -> Any:
    """Return the value of a text that looks like JSON, or like Python's form of lists of dicts."""
    if not (text.lstrip()[:1] in ("[", "{") and ("role" in text or "from" in text)):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _conversations(values: pd.Series, is_chat: bool) -> list[Item | None]:
    """Return each value as a conversation or a text, None where it is missing."""
    read: list[Item | None] = []
    strange = []
    for row, value in enumerate(values):
        if _is_missing(value):
            read.append(None)
        elif is_chat and (messages := _unpacked(value)) is not None:
            read.append([_message(m, str(values.name), row) for m in messages])
        elif isinstance(value, str | int | float | np.number):
            read.append(str(value))
        else:
            strange.append(row)
    if strange:
        expected = "messages with role and content" if is_chat else "text"
        raise ColumnError(f"column {values.name!r} must hold {expected}; {rows(strange)} do not")
    return read


def _is_missing(value: Any) -> bool:
    if isinstance(value, list | tuple | np.ndarray):
        return len(value) == 0
    return is_empty(value)


def _message(message: Mapping[str, Any], name: str, row: int) -> Message:
    role, content = message.get("role"), message.get("content")
    if role is None:
        role, content = message.get("from"), message.get("value")
    calls = message.get("tool_calls")
    if content is None and calls is not None and len(calls):
        content = json.dumps(calls, default=str)  # an assistant's turn that only calls tools
    if not isinstance(role, str) or not role:
        raise ColumnError(f"column {name!r}, row {row}: a message has no role")
    return {"role": _ROLES.get(role, role), "content": _content(content, name, row)}


def _content(content: Any, name: str, row: int) -> str:
    if content is None:
        return ""
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list | tuple | np.ndarray):
        return str(content)
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise ColumnError(
                f"column {name!r}, row {row}: a message holds a part of type {kind!r}; only texts "
                "are supported"
            )
        texts.append(text)
    return "\n".join(texts)


def _joined(
    items: Sequence[Item | None],
    heads: Sequence[Item | None] | None,
    as_chat: bool,
) -> tuple[list[Item | None], int]:
    """Put prompts before items, and count those that begin with their prompt already."""
    if heads is None:
        return list(items), 0
    joined: list[Item | None] = []
    repeated = 0
    for head, item in zip(heads, items, strict=True):
        if not head or not item:  # an item that is missing is reported with the others
            joined.append(item)
        elif _begins_with(item, head):
            repeated += 1
            joined.append(item)
        elif as_chat:
            joined.append(_as_chat(head, "user") + _as_chat(item, "assistant"))
        else:
            assert isinstance(head, str)
            assert isinstance(item, str)
            # A completion such as " blue." goes on with the line of its prompt.
            goes_on = head[-1].isspace() or item[0].isspace()
            joined.append(head + ("" if goes_on else "\n") + item)
    return joined, repeated


def _begins_with(item: Item, head: Item) -> bool:
    if isinstance(item, str):
        return isinstance(head, str) and item.startswith(head)
    if isinstance(head, str):
        asked = next((m["content"] for m in item if m["role"] == "user"), None)
        return asked is not None and asked.strip() == head.strip()
    return item[: len(head)] == head


def _as_chat(part: Item, role: str) -> Conversation:
    return [{"role": role, "content": part}] if isinstance(part, str) else part


def _text(item: Item | None, render: Render, name: str, row: int) -> str | None:
    if item is None or isinstance(item, str):
        return item
    try:
        return render(item)
    except Exception as error:  # a template is a program of others
        raise ColumnError(
            f"column {name!r}, row {row}: the chat template refuses the messages "
            f"({first_line(error)}); pass chat_template='plain'"
        ) from error


def _plain(messages: Conversation, ask: bool = False) -> str:
    lines = [f"{m['role']}: {m['content']}" for m in messages]
    return "\n".join(lines) + ("\nassistant: " if ask else "")


def message_renderer(chat_template: Any) -> tuple[Render, str]:
    """Return a function from messages to text, and a note on it."""
    if chat_template is None or chat_template == PLAIN:
        return _plain, "as lines 'role: content'; pass chat_template to use a model's template"
    tokenizer = chat_template
    if isinstance(chat_template, str):
        tokenizer = _tokenizer(chat_template)
    name = repr(str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__))
    if not getattr(tokenizer, "chat_template", None):
        return _plain, f"as lines 'role: content', since {name} has no chat template"
    start = getattr(tokenizer, "bos_token", None) or ""

    def render(messages: Conversation, ask: bool = False) -> str:
        how = {"add_generation_prompt": True} if ask else {}
        text = tokenizer.apply_chat_template(messages, tokenize=False, **how)
        # The tokenizer puts this mark before the text once more when the text is encoded.
        return str(text).removeprefix(start)

    return render, f"by the chat template of {name}; pass chat_template='plain' for plain lines"


def _tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"chat_template: cannot load the tokenizer of {name!r}: {first_line(error)}"
        ) from error


def _ignored_prompt(raw: RawTable, columns: Sequence[str]) -> tuple[str, ...]:
    """Return a note on a column of prompts that pairs of answers do not repeat."""
    if len(columns) < 2 or "prompt" not in raw.frame.columns or "prompt" in columns:
        return ()
    first = raw.frame.head(_LOOKED_AT)
    if not isinstance(first["prompt"].iloc[0], str):
        return ("column 'prompt' is ignored; pass prompt='prompt' to put it before the items",)
    answers = first[columns[0]].map(str)
    if all(p in a for p, a in zip(first["prompt"].map(str), answers, strict=True)):
        return ()  # the conversations hold it
    return ("column 'prompt' is ignored; pass prompt='prompt' to put it before the items",)
