"""Opening a run: what the settings of other stages mean for reading the data."""

from __future__ import annotations

import codecs

import pandas as pd
import pytest

from w2s_data.errors import FileFormatError, InputError
from w2s_data.stages import open_run
from w2s_data.stages.config import load_config
from w2s_data.stages.settings import DataSettings, RunSettings

CHAT = [
    [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": "yes"}]
    for i in range(8)
]
TEMPLATE = "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"


@pytest.fixture
def chatty(tmp_path):
    """The folder of a model's tokenizer with a chat template."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<s>": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", bos_token="<s>", chat_template=TEMPLATE
    )
    tokenizer.save_pretrained(tmp_path / "chatty")
    return str(tmp_path / "chatty")


@pytest.mark.parametrize(
    ("own", "strong", "expected"),
    [
        (None, "{chatty}@3", "<user>question 1<assistant>yes"),
        ("plain", "{chatty}", "user: question 1\nassistant: yes"),
        ("{chatty}", "tfidf:4", "<user>question 1<assistant>yes"),
        (None, "tfidf:4", "user: question 1\nassistant: yes"),
        (None, None, "user: question 1\nassistant: yes"),
    ],
)
def test_messages_follow_the_template_of_the_strong_model(tmp_path, chatty, own, strong, expected):
    frame = pd.DataFrame({"messages": CHAT})
    own, strong = (text and text.format(chatty=chatty) for text in (own, strong))
    data = DataSettings(path=frame, chat_template=own)
    run = open_run(data, RunSettings(output=tmp_path / "run"), strong)
    assert run.dataset().items[1] == expected


def test_the_memory_limit_holds_for_reading(tmp_path):
    (tmp_path / "t.csv").write_text("text\n" + "word " * 3_000_000 + "\n")
    data = DataSettings(path=tmp_path / "t.csv")
    with pytest.raises(FileFormatError, match="line 2 begins a row of 15 MB, and memory=600 MB"):
        open_run(data, RunSettings(output=tmp_path / "run", memory="600MB"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_configuration_in_any_encoding(tmp_path, encoding):
    text = '[data]\npath = "réviews.csv"\nlabel = "mood"\n'
    (tmp_path / "c.toml").write_bytes(text.encode(encoding))
    assert load_config(tmp_path / "c.toml").data.label == "mood"
    (tmp_path / "c.toml").write_bytes(codecs.BOM_UTF16_LE + b"a")
    with pytest.raises(FileFormatError, match=r"cannot read '.*c\.toml' as a configuration"):
        load_config(tmp_path / "c.toml")


@pytest.mark.parametrize("left", [0, 1])
def test_labels_that_would_empty_the_pool_are_refused_before_anything_is_written(tmp_path, left):
    mood = ["good", "bad", *[None] * 6]
    frame = pd.DataFrame({"text": [f"item {i}" for i in range(8)], "mood": mood})
    frame["fold"] = ["labelled"] * 2 + ["pool"] * 6
    frame.to_csv(tmp_path / "t.csv", index=False)
    columns = {"path": tmp_path / "t.csv", "item": "text", "label": "mood", "split": "fold"}
    settings = RunSettings(output=tmp_path / "run")
    run = open_run(DataSettings(**columns), settings)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    filled = tmp_path / "filled.csv"
    pd.DataFrame({"id": range(2, 8 - left), "label": "good"}).to_csv(filled, index=False)
    message = f"'filled.csv' would leave {left} of the 6 rows of the pool without a label, and "
    for data in (
        DataSettings(**columns, labels=(filled,)),
        DataSettings(path=run.path, labels=(filled,)),
    ):
        given = settings if data.path != run.path else RunSettings()
        with pytest.raises(InputError, match=message):
            open_run(data, given)
    assert {path: path.read_bytes() for path in before} == before
