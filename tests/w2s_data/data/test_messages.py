"""Chat messages and prompts as items, in every format that holds them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from w2s_data import load_dataset
from w2s_data.errors import ColumnError, InputError

N = 20


def chat(i, *, answer=None, roles=("user", "assistant"), keys=("role", "content")):
    texts = (f"question {i}", f"answer {i}" if answer is None else answer)
    return [dict(zip(keys, pair, strict=True)) for pair in zip(roles, texts, strict=True)]


def plain(i, answer=None):
    return f"user: question {i}\nassistant: " + (f"answer {i}" if answer is None else answer)


PLAIN = [plain(i) for i in range(N)]


@pytest.mark.parametrize(
    "form",
    [
        chat,
        lambda i: chat(i, roles=("human", "gpt"), keys=("from", "value")),
        lambda i: np.array(chat(i), dtype=object),
        lambda i: {"messages": chat(i)},
        lambda i: json.dumps(chat(i)),
        lambda i: str(chat(i)),  # as a CSV file of pandas has it
        lambda i: [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in chat(i)],
    ],
    ids=["openai", "sharegpt", "arrays", "wrapped", "json", "python", "parts"],
)
@pytest.mark.parametrize("name", [None, "t.jsonl", "t.parquet", "t.arrow", "t.csv"])
def test_messages_become_texts(tmp_path, write, form, name):
    frame = pd.DataFrame({"messages": [form(i) for i in range(N)], "label": ["a", "b"] * (N // 2)})
    if name == "t.csv" and not isinstance(frame["messages"][0], str):
        frame["messages"] = [str(chat(i)) for i in range(N)]
    data = load_dataset(frame if name is None else write(frame, tmp_path / name), label="label")
    assert data.kind == "text"
    assert data.items == PLAIN
    assert data.notes[0].startswith("messages of 'messages' are rendered as lines")


def test_messages_in_a_column_of_arrow():
    struct = pa.struct({"role": pa.string(), "content": pa.string()})
    column = pd.Series([chat(i) for i in range(3)], dtype=pd.ArrowDtype(pa.list_(struct)))
    assert load_dataset(pd.DataFrame({"messages": column})).items == PLAIN[:3]


def test_one_message_per_item():
    frame = pd.DataFrame({"item": [{"role": "user", "content": f"hello {i}"} for i in range(3)]})
    assert load_dataset(frame).items == [f"user: hello {i}" for i in range(3)]


def both(data):
    """The chosen and rejected texts of pairs, whose order is drawn."""
    first, second = data.pairs
    return [
        (one, two) if label == 0 else (two, one)
        for one, two, label in zip(first, second, data.labels, strict=True)
    ]


PAIRS = {"chosen": "chosen", "rejected": "rejected"}


def test_pairs_that_hold_their_prompt():
    frame = pd.DataFrame(
        {
            "prompt": [f"question {i}" for i in range(N)],
            "chosen": [chat(i, answer=f"good {i}") for i in range(N)],
            "rejected": [chat(i, answer=f"bad {i}") for i in range(N)],
        }
    )
    expected = [(plain(i, f"good {i}"), plain(i, f"bad {i}")) for i in range(N)]
    data = load_dataset(frame, **PAIRS)
    assert both(data) == expected
    assert not any("'prompt'" in note for note in data.notes)
    again = load_dataset(frame, **PAIRS, prompt="prompt")
    assert both(again) == expected
    assert "20 items of 'chosen' begin with their prompt already" in again.notes


@pytest.mark.parametrize("prompt", ["text", "messages"])
@pytest.mark.parametrize("answer", ["text", "messages"])
def test_a_prompt_stands_before_both_answers(prompt, answer):
    def answers(word):
        texts = [f"{word} {i}" for i in range(N)]
        if answer == "text":
            return texts
        return [[{"role": "assistant", "content": text}] for text in texts]

    frame = pd.DataFrame(
        {
            "prompt": [chat(i)[:1] if prompt == "messages" else f"question {i}" for i in range(N)],
            "chosen": answers("good"),
            "rejected": answers("bad"),
        }
    )
    data = load_dataset(frame, **PAIRS, prompt="prompt")
    if prompt == answer == "text":
        expected = [(f"question {i}\ngood {i}", f"question {i}\nbad {i}") for i in range(N)]
    else:
        expected = [(plain(i, f"good {i}"), plain(i, f"bad {i}")) for i in range(N)]
    assert both(data) == expected
    assert "column 'prompt' stands before the items" in data.notes
    ignored = load_dataset(frame, **PAIRS).notes
    assert any("pass prompt='prompt' to put it before the items" in note for note in ignored)


def test_a_prompt_and_its_completion_join_as_they_are():
    frame = pd.DataFrame(
        {
            "ask": ["The sky is", "Why?", "Hi", None],
            "text": [" blue.", "Because.", "Hi there", "alone"],
        }
    )
    items = load_dataset(frame, item="text", prompt="ask").items
    assert items == ["The sky is blue.", "Why?\nBecause.", "Hi there", "alone"]


class Tokenizer:
    """As much of a tokenizer as rendering needs."""

    name_or_path = "models/chatty"
    bos_token = "<s>"
    chat_template = "..."

    def apply_chat_template(self, messages, tokenize):
        assert not tokenize
        if messages[0]["role"] == "tool":
            raise ValueError("roles must alternate")
        return "<s>" + "".join(f"[{m['role']}]{m['content']}" for m in messages)


def test_a_chat_template_renders():
    frame = pd.DataFrame({"messages": [chat(i) for i in range(3)]})
    data = load_dataset(frame, chat_template=Tokenizer())
    assert data.items[1] == "[user]question 1[assistant]answer 1"
    assert "rendered by the chat template of 'models/chatty'" in data.notes[0]
    bare = Tokenizer()
    bare.chat_template = None
    data = load_dataset(frame, chat_template=bare)
    assert data.items == PLAIN[:3]
    assert "since 'models/chatty' has no chat template" in data.notes[0]
    frame.loc[1, "messages"][0]["role"] = "tool"
    with pytest.raises(ColumnError, match=r"row 1: the chat template refuses .*roles must"):
        load_dataset(frame, chat_template=Tokenizer())
    with pytest.raises(InputError, match="cannot load the tokenizer of 'no/such'"):
        load_dataset(frame, chat_template="no/such")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([{"a": 1, "b": 2}] * 3, r"column 'item' holds objects with the keys 'a', 'b'"),
        ([[{"x": 1}]] * 3, r"column 'item' holds objects with the keys 'x'"),
        ([chat(0), chat(1), 3.5j], r"column 'item' holds objects with the keys"),
        ([chat(0), chat(1), None, []], r"item column 'item' has no text in rows 2, 3"),
        ([chat(0), [{"role": "", "content": "x"}]], "row 1: a message has no role"),
        (
            [[{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]],
            "row 0: a message holds a part of type 'image_url'",
        ),
    ],
)
def test_objects_that_are_no_messages_are_refused(values, message):
    with pytest.raises(ColumnError, match=message):
        load_dataset(pd.DataFrame({"item": pd.Series(values, dtype=object)}))


def test_a_prompt_needs_texts_and_a_column():
    frame = pd.DataFrame({"x": [0.0, 1.0], "text": ["a", "b"], "prompt": ["p", "q"]})
    with pytest.raises(InputError, match="prompt stands before items that are texts"):
        load_dataset(frame, item=["x"], prompt="prompt")
    for item in ("image", "x"):
        with pytest.raises(
            InputError, match=r"prompt stands before texts or messages; these items are"
        ):
            load_dataset(frame.assign(image=["a.png", "b.png"]), item=item, prompt="prompt")
    with pytest.raises(ColumnError, match="did you mean 'prompt'"):
        load_dataset(frame, item="text", prompt="promt")


@pytest.mark.parametrize("name", [None, "t.csv", "t.jsonl", "t.parquet", "t.arrow"])
def test_empty_texts_are_refused_in_each_format(tmp_path, write, name):
    frame = pd.DataFrame({"text": ["a", "", "b", ""], "label": ["x", "y"] * 2})
    with pytest.raises(ColumnError, match="item column 'text' has no text in rows 1, 3"):
        load_dataset(frame if name is None else write(frame, tmp_path / name), item="text")


def test_half_of_a_surrogate_pair_is_refused():
    with pytest.raises(ColumnError, match=r"half of a surrogate pair.* in row 1"):
        load_dataset(pd.DataFrame({"text": pd.Series(["a", "\ud800"], dtype=object)}))
