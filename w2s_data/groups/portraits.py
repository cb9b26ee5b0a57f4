"""Portraits of groups that have no names of their own: typical rows, and telling words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from w2s_data.features.matrix import FeatureMatrix, sampled
from w2s_data.utils.typing import AnyArray, IntArray

SAMPLE = 300  # rows of a group that are looked at: a share is then right to 6 points
TYPICAL = 12  # rows that are kept; some may be copies of one another
WORDS = 4
TELLING = 0.1  # least difference of the shares of texts with a word, inside and outside a group


def sample_groups(groups: AnyArray, rng: np.random.Generator) -> dict[Any, IntArray]:
    """Draw at most 300 rows of each group."""
    names = dict.fromkeys(groups.tolist())
    return {name: sampled(np.flatnonzero(groups == name), SAMPLE, rng) for name in names}


def typical_rows(features: FeatureMatrix, rows: IntArray) -> IntArray:
    """Return the rows whose features point most nearly in the mean direction of all, first first.

    Examples
    --------
    >>> from w2s_data.features.matrix import ArrayFeatures
    >>> x = np.array([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0], [1.0, 0.2]])
    >>> typical_rows(ArrayFeatures(x), np.arange(4)).tolist()
    [3, 0, 1, 2]
    """
    directions = normalize(np.asarray(features.take(rows), dtype=np.float64))
    nearness = directions @ directions.mean(axis=0)
    return rows[np.argsort(-nearness, kind="stable")[:TYPICAL]]


def telling_words(texts: Mapping[Any, Sequence[str]]) -> dict[Any, list[str]]:
    """Return the words that more texts of a group hold than of the others, by group.

    Examples
    --------
    >>> telling_words({"sports": ["a late goal", "the goal"], "law": ["the court", "a court"]})
    {'sports': ['goal'], 'law': ['court']}
    """
    from sklearn.feature_extraction.text import CountVectorizer

    group = np.repeat(np.arange(len(texts)), [len(own) for own in texts.values()])
    # Without them the words of every text would come first where groups differ in its length.
    vectorizer = CountVectorizer(binary=True, min_df=2, stop_words="english")
    try:
        holds = vectorizer.fit_transform(text for own in texts.values() for text in own)
    except ValueError:  # no word is in two texts
        return {name: [] for name in texts}
    words, found = vectorizer.get_feature_names_out(), {}
    for number, name in enumerate(texts):
        inside = group == number
        if inside.all():
            return {name: []}
        shares = [np.asarray(holds[part].mean(axis=0)).ravel() for part in (inside, ~inside)]
        more = shares[0] - shares[1]
        first = np.argsort(-more, kind="stable")[:WORDS]
        found[name] = [str(words[i]) for i in first if more[i] >= TELLING]
    return found
