"""Words or characters as terms, by how the texts are written."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from w2s_data.encoders import TfidfEncoder
from w2s_data.encoders.classical import choose_analyzer
from w2s_data.errors import EncoderError

FILLER = list("这个电影我们昨天去看了故事演员音乐导演时间地方觉得非常比较一点可能因为所以但是")
OPINIONS = (["糟糕", "讨厌", "差劲", "无聊", "失望"], ["很好", "喜欢", "优秀", "精彩", "满意"])


def reviews(rng, n, separator=""):
    """Texts in Chinese, each with one word that shows the class."""
    labels = rng.integers(2, size=n)
    texts = [
        separator.join([*rng.choice(FILLER, 12), rng.choice(OPINIONS[y]), *rng.choice(FILLER, 12)])
        for y in labels
    ]
    return texts, labels


def accuracy(encoder, texts, labels):
    half = len(texts) // 2
    vectors = encoder.fit(texts[:half]).encode(texts)
    model = LogisticRegression(max_iter=1000).fit(vectors[:half], labels[:half])
    return model.score(vectors[half:], labels[half:])


@pytest.mark.slow
def test_texts_without_spaces_are_read_by_their_characters(rng, caplog):
    texts, labels = reviews(rng, 800)
    with caplog.at_level(logging.INFO, logger="w2s_data"):
        assert accuracy(TfidfEncoder(), texts, labels) > 0.98
    assert [record.message for record in caplog.records] == [
        "TfidfEncoder: terms are characters, since 100% of the texts are written without spaces "
        "between words; pass analyzer to change it"
    ]
    assert accuracy(TfidfEncoder(analyzer="word", min_df=1), texts, labels) < 0.6


def test_codes_are_read_by_their_characters(rng):
    labels = rng.integers(2, size=200)
    codes = [f"{'AQ'[y]}{rng.integers(10**6):06d}" for y in labels]
    assert accuracy(TfidfEncoder(n_components=16), codes, labels) > 0.95
    with pytest.raises(EncoderError, match=r"no terms in 100 texts .* no word is in enough"):
        TfidfEncoder(analyzer="word").fit(codes[:100])


def test_texts_of_which_none_shares_a_word_are_read_by_their_characters(rng):
    kinds = ("old", "new", "red", "blue")
    texts = [f"{kinds[i % 4]} {i}x{rng.integers(10**6)} of{i} {i}y" for i in range(60)]
    assert TfidfEncoder(n_components=2).fit(texts).analyzer_ == "word"  # all share their kind
    encoder = TfidfEncoder(n_components=2).fit(
        [text.replace(" ", f"{i} ") for i, text in enumerate(texts)]
    )
    assert (encoder.analyzer_, encoder.reason_) == (
        "char",
        "100% of the texts share no word with any other",
    )


CORPORA = [
    (["a good film", "a bad day"], "word"),
    (["좋은 영화 입니다", "나쁜 영화 입니다"], "word"),  # Korean has spaces
    (["今日は天気がいい。", "映画は最高でした。"], "char"),
    (["สวัสดีครับ วันนี้อากาศดี"], "char"),
    (["iPhone 很好用 OK", "电影 not 好看"], "char"),
    (["a good film"] * 19 + ["很好的电影"], "word"),
    (["a good film"] * 9 + ["很好的电影"], "char"),
    (["yes", "no", "a longer answer"], "char"),
    (["yes", "a longer answer", "and another"], "word"),
    (["", "  "], "word"),
]


@pytest.mark.parametrize(("texts", "expected"), CORPORA)
def test_how_texts_are_written_decides(texts, expected):
    assert choose_analyzer(texts)[0] == expected


def test_the_choice_is_part_of_the_spec():
    texts = ["很好的电影", "很好的天气", "a good film", "a good day", "a film"]
    spec = TfidfEncoder(n_components=2).fit(texts).spec()
    assert (spec["analyzer"], spec["ngram_range"]) == ("char", [1, 3])
    assert TfidfEncoder(n_components=2, analyzer="char").fit(texts).spec() == spec
    words = TfidfEncoder(n_components=2, analyzer="word").fit(texts).spec()
    assert (words["analyzer"], words["ngram_range"]) == ("word", [1, 2])
    with pytest.raises(EncoderError, match="analyzer must be 'auto', 'word' or 'char'"):
        TfidfEncoder(analyzer="letters").fit(texts)


def test_a_single_term_is_a_feature():
    texts = ["good", "good day", "bad night", "late"]
    encoder = TfidfEncoder(n_components=1, analyzer="word").fit(texts)
    np.testing.assert_allclose(encoder.encode(texts)[:, 0], [1, 1, -1, -1], rtol=1e-5)


def test_a_range_that_is_given_holds_for_both():
    texts = ["a good film", "a good day", "a film and a day"] * 5
    for analyzer in ("word", "char"):
        encoder = TfidfEncoder(n_components=1, ngram_range=(2, 2), analyzer=analyzer).fit(texts)
        lengths = {
            len(term.split() if analyzer == "word" else term)
            for term in encoder.vectorizer_.get_feature_names_out()
        }
        assert lengths == {2}
    assert np.isfinite(encoder.encode(texts)).all()
