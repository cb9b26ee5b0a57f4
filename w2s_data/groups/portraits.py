"""Portraits of groups that have no names of their own: typical rows, and telling words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize

from w2s_data.features.matrix import FeatureMatrix, sampled
from w2s_data.utils.typing import AnyArray, IntArray

SAMPLE = 300  # rows of a group that are looked at: a share is then right to 6 points
TYPICAL = 12  # rows that are kept; some may be copies of one another
SURPRISING = 6
WORDS = 4
NAMING = 2  # words of a name
MOSTLY = 0.7  # share of a label in a group from which another one surprises
# Least difference of shares inside and outside a group that tells them apart. There are
# thousands of words, and none is in most texts.
TELLING, TELLING_WORD = 0.25, 0.1


def sample_groups(groups: AnyArray, rng: np.random.Generator) -> dict[Any, IntArray]:
    """Draw at most 300 rows of each group."""
    names = dict.fromkeys(groups.tolist())
    return {name: sampled(np.flatnonzero(groups == name), SAMPLE, rng) for name in names}


def nearest_first(features: FeatureMatrix, rows: IntArray) -> IntArray:
    """Order rows by how nearly their features point in the mean direction of all.

    Examples
    --------
    >>> from w2s_data.features.matrix import ArrayFeatures
    >>> x = np.array([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0], [1.0, 0.2]])
    >>> nearest_first(ArrayFeatures(x), np.arange(4)).tolist()
    [3, 0, 1, 2]
    """
    directions = normalize(np.asarray(features.take(rows), dtype=np.float64))
    nearness = directions @ directions.mean(axis=0)
    return rows[np.argsort(-nearness, kind="stable")]


def surprising_rows(order: IntArray, labels: AnyArray) -> tuple[IntArray, str]:
    """Return rows that one would not expect in a group, the most surprising first, and why.

    Where most rows have one label ("label"), those are the rows with another one, the nearest to
    the centre first; else ("distance") the rows furthest from the centre. `order` are the rows of
    the group, the nearest first; `labels` are those of all rows, None or NaN where unknown.

    Examples
    --------
    >>> labels = np.array(["cat", "cat", "dog", "cat", None], dtype=object)
    >>> surprising_rows(np.array([3, 2, 0, 4, 1]), labels)
    (array([2]), 'label')
    >>> surprising_rows(np.array([1, 0]), np.array(["cat", "dog"], dtype=object))
    (array([0, 1]), 'distance')
    """
    own = pd.Series(labels, dtype=object).iloc[order]
    counts = own.value_counts()
    if len(counts) > 1 and counts.iloc[0] >= MOSTLY * counts.sum():
        return order[(own.notna() & (own != counts.index[0])).to_numpy()][:SURPRISING], "label"
    return order[::-1][:SURPRISING], "distance"


def name_group(telling: Mapping[str, Mapping[str, Any] | None], words: Sequence[str]) -> str:
    """Make a name of what sets a group apart: its label, its source and its first words.

    Examples
    --------
    >>> name_group({"class": {"name": "7"}, "source": {"name": "web"}}, [])
    'class 7, web'
    >>> name_group({"class": None}, ["goal", "referee", "team"])
    'goal, referee'
    >>> name_group({}, [])
    'mixed'
    """
    parts = [
        # Numbers alone would read as the group's own.
        str(value["name"])
        if any(map(str.isalpha, str(value["name"])))
        else f"{role} {value['name']}"
        for role, value in telling.items()
        if value is not None
    ]
    return ", ".join([*parts, *words[:NAMING]]) or "mixed"


def telling_value(values: AnyArray, inside: AnyArray) -> dict[str, Any] | None:
    """Return the value that is more frequent inside a group than outside, with both shares.

    Missing values are left out; None where no share differs by a quarter.

    Examples
    --------
    >>> sources = np.array(["web", "web", "crowd", "crowd"])
    >>> telling_value(sources, np.array([True, True, False, True]))
    {'name': 'web', 'share': 0.6666666666666666, 'elsewhere': 0.0}
    """
    column, members = pd.Series(values, dtype=object), np.asarray(inside, dtype=bool)
    own, others = (column[part].value_counts(normalize=True) for part in (members, ~members))
    more = own.sub(others, fill_value=0.0)
    if not len(more) or more.max() < TELLING:
        return None
    name: Any = more.idxmax()
    return {"name": name, "share": float(own[name]), "elsewhere": float(others.get(name, 0.0))}


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
        found[name] = [str(words[i]) for i in first if more[i] >= TELLING_WORD]
    return found
