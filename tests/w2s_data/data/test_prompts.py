"""Prompts of pairs: what both items begin with, as texts and as messages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from w2s_data import load_dataset
from w2s_data.data.messages import message_renderer
from w2s_data.data.prompts import Pair, render_pair, split_chats
from w2s_data.errors import ColumnError
from w2s_data.run import Run

N = 12


def said(role, text):
    return {"role": role, "content": text}


def table(form):
    """Pairs in a form that TRL knows: texts or conversations, prompt in its column or inside."""
    ask = [f"question {i}" for i in range(N)]
    good, bad = ([f"{word} {i}" for i in range(N)] for word in ("good", "bad"))
    if form == "texts":
        return pd.DataFrame({"prompt": ask, "chosen": good, "rejected": bad})
    asks = [[said("system", "be brief"), said("user", text)] for text in ask]
    answers = [[[said("assistant", text)] for text in texts] for texts in (good, bad)]
    if form == "chats":
        return pd.DataFrame({"prompt": asks, "chosen": answers[0], "rejected": answers[1]})
    whole = [[a + b for a, b in zip(asks, own, strict=True)] for own in answers]
    return pd.DataFrame({"chosen": whole[0], "rejected": whole[1]})


def load(frame, **changes):
    prompt = {"prompt": "prompt"} if "prompt" in frame else {}
    return load_dataset(frame, chosen="chosen", rejected="rejected", **prompt, **changes)


@pytest.mark.parametrize("form", ["texts", "chats", "whole chats"])
def test_both_items_begin_with_the_prompt(form, tmp_path):
    data = load(table(form))
    head = "" if form == "texts" else "system: be brief\nuser: "
    tail = "" if form == "texts" else "\nassistant: "
    assert data.prompts.tolist() == [f"{head}question {i}{tail}" for i in range(N)]
    for prompt, label, *pair in zip(data.prompts, data.labels, *data.pairs, strict=True):
        for place, item in enumerate(pair):
            word = "good" if place == label else "bad"
            assert item.startswith(prompt)
            assert item[len(prompt) :].strip().startswith(word)
    Run.create(tmp_path / "run", data)
    again = Run.open(tmp_path / "run").dataset()
    assert again.items == data.items
    assert again.prompts.tolist() == data.prompts.tolist()


@pytest.mark.parametrize("form", ["chats", "whole chats"])
def test_pairs_of_chats_hold_messages_in_their_order(form):
    data = load(table(form))
    for i, (item, label) in enumerate(zip(data.items, data.labels, strict=True)):
        assert isinstance(item, Pair)
        assert item.prompt == [said("system", "be brief"), said("user", f"question {i}")]
        assert item[label] == [said("assistant", f"good {i}")]
        assert item[1 - label] == [said("assistant", f"bad {i}")]


def test_pairs_of_texts_hold_the_prompt():
    data = load(table("texts"))
    assert data.items[3].prompt == "question 3"
    assert data.items[3][data.labels[3]] == "question 3\ngood 3"
    without = load(table("texts").drop(columns="prompt"))
    assert without.prompts is None
    assert without.items[0].prompt == ""


class Template:
    """A tokenizer whose template marks messages, and the place of an answer."""

    chat_template = "given"
    bos_token = "<s>"

    def apply_chat_template(self, messages, tokenize, add_generation_prompt=False):
        assert not tokenize
        text = "".join(f"<{m['role']}>{m['content']}</>" for m in messages)
        return "<s>" + text + ("<assistant>" if add_generation_prompt else "")


def test_a_template_says_where_the_response_begins():
    data = load(table("chats"), chat_template=Template())
    assert data.prompts[0] == "<system>be brief</><user>question 0</><assistant>"
    assert data.pairs[0][0] in (f"{data.prompts[0]}good 0</>", f"{data.prompts[0]}bad 0</>")
    render = message_renderer(Template())[0]
    expected = (data.prompts[0], data.pairs[0][0], data.pairs[1][0])
    assert render_pair(data.items[0], render) == expected
    assert render_pair(("a b", "a c", "a"), render) == ("a", "a b", "a c")
    mixed = Pair([said("assistant", "yes")], [said("assistant", "no")], "ask")
    start = "<user>ask</><assistant>"
    assert render_pair(mixed, render) == (start, f"{start}yes</>", f"{start}no</>")


def test_a_response_is_one_message_at_least():
    ask, yes, more = said("user", "?"), said("assistant", "yes"), said("user", "sure?")
    assert split_chats([ask, yes], [ask, yes, more]) == ([ask], [yes], [yes, more])
    assert split_chats([ask], [yes]) == ([], [ask], [yes])


@pytest.mark.parametrize("form", ["texts", "chats"])
def test_missing_prompts_and_empty_responses_are_named(form):
    frame = table(form)
    frame["prompt"] = [None if row in (2, 5) else p for row, p in enumerate(frame["prompt"])]
    with pytest.raises(ColumnError, match="column 'prompt' has no prompt in rows 2, 5"):
        load(frame)
    frame = table(form)
    frame["rejected"] = [
        ("  " if form == "texts" else [said("assistant", "")]) if row == 4 else value
        for row, value in enumerate(frame["rejected"])
    ]
    with pytest.raises(ColumnError, match="column 'rejected' has no response in row 4"):
        load(frame)


def test_a_response_that_is_missing_is_reported_as_such():
    frame = table("texts")
    frame.loc[[1], "chosen"] = None
    with pytest.raises(ColumnError, match="'chosen'"):
        load(frame)


def test_the_order_of_messages_is_that_of_the_items():
    frames = [load(table("chats"), random_state=seed) for seed in range(3)]
    firsts = np.array([[item.first[0]["content"][:4] for item in d.items] for d in frames])
    labels = np.array([d.labels for d in frames])
    np.testing.assert_array_equal(firsts == "good", labels == 0)
