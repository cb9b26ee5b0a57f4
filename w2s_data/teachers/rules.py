"""Rules of a person: keywords, regular expressions, and Python functions of an item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.data.columns import is_empty
from w2s_data.data.meaning.rules import spell
from w2s_data.data.meaning.table import ClassTable
from w2s_data.errors import InputError, first_line, listing
from w2s_data.teachers.functions import find_function, place_of
from w2s_data.teachers.opinions import Opinions
from w2s_data.teachers.patterns import compiled, found_in, whole_words
from w2s_data.utils.constants import LEVEL
from w2s_data.utils.intervals import Estimate, wilson_interval
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

# FILE.py:FUNCTION, a function, several of them, or keywords and /patterns/ by class.
Rules = str | Callable[[Any], Any] | Sequence[Any] | Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class RuleVotes:
    """The class that each rule gives each item.

    Attributes
    ----------
    codes : int array (N, R)
        Class codes, -1 where a rule abstains.
    names : tuple of str
        Names of the R rules.
    """

    codes: IntArray
    names: tuple[str, ...]

    def shares(self, n_classes: int) -> tuple[FloatArray, int]:
        """Return the shares (N, C) of a row's votes, uniform where none leads; and the ties."""
        counts = np.zeros((len(self.codes), n_classes))
        for own in self.codes.T:
            voted = np.flatnonzero(own >= 0)
            counts[voted, own[voted]] += 1
        total = counts.sum(axis=1, keepdims=True)
        tied = (counts == counts.max(axis=1, keepdims=True)).sum(axis=1) > 1
        shares = np.divide(counts, total, out=np.empty_like(counts), where=total > 0)
        shares[tied] = 1 / n_classes
        return shares, int((tied & (total[:, 0] > 0)).sum())

    def table(self, class_names: Sequence[str], gold: IntArray) -> list[dict[str, Any]]:
        """Return the record of each rule, all but the counts as shares of the N items.

        `overlaps` are items on which another rule votes too, `conflicts` those on which one votes
        otherwise; `accuracy` is measured on the items with a gold label, (N,) codes or -1.
        """
        n_votes = (self.codes >= 0).sum(axis=1)
        highest = self.codes.max(axis=1)
        lowest = np.where(self.codes < 0, len(class_names), self.codes).min(axis=1)
        disagreed = (n_votes > 0) & (lowest < highest)
        records = []
        for name, own in zip(self.names, self.codes.T, strict=True):
            voted = own >= 0
            known = voted & (gold >= 0)
            right, n_known = int((own == gold)[known].sum()), int(known.sum())
            records.append(
                {
                    "rule": name,
                    "classes": [class_names[code] for code in np.unique(own[voted])],
                    "n": int(voted.sum()),
                    "coverage": float(voted.mean()),
                    "overlaps": float((voted & (n_votes > 1)).mean()),
                    "conflicts": float((voted & disagreed).mean()),
                    "n_gold": n_known,
                    "accuracy": _share(right, n_known),
                }
            )
        return records


def label_by_rules(
    items: Sequence[Any],
    class_names: Sequence[str],
    rules: Rules,
    *,
    gold: IntArray | None = None,
) -> Opinions:
    """Label items by rules: each one votes or abstains, and the most votes win.

    The probability of a class is its share of the item's votes; an item without votes, or with a
    tie of the leading classes, abstains.

    Parameters
    ----------
    items : sequence of N items
        Texts, image paths or bytes, feature vectors, or `Pair`s. Patterns read texts and paths.
    class_names : sequence of str
        The C classes.
    rules : str, callable, sequence or mapping
        "FILE.py:FUNCTION", "MODULE:FUNCTION" or a function of an item that returns a class or
        None; several of these; or a mapping from class to keywords and regular expressions, each
        of them a rule. A keyword is found as a whole word in any case, an expression between
        slashes, "/love(d|s)/", anywhere and in the case that it has.
    gold : int array (N,), optional
        Class codes, -1 where unknown, on which the accuracy of each rule is measured.

    Returns
    -------
    Opinions
        The summary has coverage, overlaps, conflicts and accuracy by rule and overall.

    Raises
    ------
    InputError
        For a function that fails or returns something else than a class, with the row; for an
        expression that cannot be compiled; and if no rule votes on any item.

    Examples
    --------
    >>> rules = {"positive": ["great", "/love(d|s)/"], "negative": ["bad"]}
    >>> texts = ["A great film", "loved it", "great but bad", "green"]
    >>> label_by_rules(texts, ["negative", "positive"], rules).proba.tolist()
    [[0.0, 1.0], [0.0, 1.0], [0.5, 0.5], [0.5, 0.5]]
    """
    cast = rule_votes(items, class_names, rules)
    known = np.full(len(items), -1) if gold is None else gold
    proba, n_ties = cast.shares(len(class_names))
    records = cast.table(class_names, known)
    n_votes = (cast.codes >= 0).sum(axis=1)
    covered = n_votes > 0
    if len(items) and not covered.any():
        raise InputError(
            f"none of {len(cast.names)} rules ({listing(cast.names, 5)}) votes on any of "
            f"{len(items):,} items; the first item is {_shown(items[0])}"
        )
    voted = np.where(proba.max(axis=1) > proba.min(axis=1), proba.argmax(axis=1), -1)
    judged = (voted >= 0) & (known >= 0)
    summary = {
        "kind": "rules",
        "coverage": float(covered.mean()) if len(items) else None,
        "overlaps": float((n_votes > 1).mean()) if len(items) else None,
        "conflicts": _conflicts(cast.codes, len(class_names)),
        "n_ties": n_ties,
        "n_gold": int(judged.sum()),
        "accuracy": _share(int((voted == known)[judged].sum()), int(judged.sum())),
        "rules": records,
    }
    return Opinions(proba, summary, _notes(records, n_ties, len(items)))


def rule_votes(items: Sequence[Any], class_names: Sequence[str], rules: Rules) -> RuleVotes:
    """Let each rule vote on each item, as `label_by_rules` does."""
    if isinstance(rules, Mapping):
        return _pattern_votes(items, class_names, rules)
    listed = [rules] if isinstance(rules, str) or callable(rules) else list(rules)
    if not listed:
        raise InputError("rules are empty: name a function, or keywords by class")
    functions = [_function(rule) for rule in listed]
    names = tuple(name for name, _ in functions)
    if len(set(names)) < len(names):
        raise InputError(f"two rules have the same name among {listing(names)}: rename one")
    table = ClassTable(class_names)
    columns = [_ask(name, function, items, table) for name, function in functions]
    return RuleVotes(np.stack(columns, axis=1), names)


def _function(rule: Any) -> tuple[str, Callable[[Any], Any]]:
    if isinstance(rule, str):
        return rule.rpartition(":")[2], find_function(rule)
    if not callable(rule):
        raise InputError(
            f"a rule must be FILE.py:FUNCTION, MODULE:FUNCTION or a function; got {rule!r:.60}"
        )
    return getattr(rule, "__name__", type(rule).__name__), rule


def _ask(
    name: str, function: Callable[[Any], Any], items: Sequence[Any], table: ClassTable
) -> IntArray:
    """Return the class codes (N,) that a function gives the items."""
    codes = np.full(len(items), -1)
    known: dict[str, int] = {}
    for row, item in enumerate(items):
        try:
            answer = function(item)
        except Exception as error:  # whatever a function of a user raises
            raise InputError(
                f"rule {name!r} failed on row {row}: {type(error).__name__}: {first_line(error)} "
                f"({place_of(error)})"
            ) from error
        if is_empty(answer) or answer == "":
            continue
        spelling = spell(answer)
        if spelling not in known:
            code = table.find([spelling])[0]
            if code is None:
                raise InputError(
                    f"rule {name!r} returned {answer!r:.60} for row {row}, which is not a class; "
                    f"return one of {listing(table.names)}, or None to abstain"
                )
            known[spelling] = code
        codes[row] = known[spelling]
    return codes


def _pattern_votes(
    items: Sequence[Any], class_names: Sequence[str], rules: Mapping[str, Sequence[str]]
) -> RuleVotes:
    """Return the votes of keywords and expressions, each of which is a rule."""
    texts = _texts(items)
    folded = [text.casefold() for text in texts]
    named = ClassTable(class_names).find(str(name) for name in rules)
    columns, names = [], []
    for (class_name, patterns), code in zip(rules.items(), named, strict=True):
        if code is None:
            raise InputError(
                f"rules have patterns of {class_name!r}, which is not a class; the classes are "
                f"{listing(class_names)}"
            )
        for text in [patterns] if isinstance(patterns, str) else patterns:
            if text in names:
                raise InputError(f"rules have {text!r} twice: keep one of them")
            columns.append(np.where(_hits(text, texts, folded), code, -1))
            names.append(text)
    if not columns:
        raise InputError("rules are empty: give keywords by class, such as positive = ['great']")
    return RuleVotes(np.stack(columns, axis=1), tuple(names))


def _hits(rule: Any, texts: Sequence[str], folded: Sequence[str]) -> BoolArray:
    """Return which texts (N,) /an expression/ matches, or which hold a keyword in any case."""
    if not isinstance(rule, str) or not rule.strip("/ "):
        raise InputError(f"a rule must be a keyword or a /pattern/; got {rule!r:.60}")
    if len(rule) > 2 and rule[0] == rule[-1] == "/":
        return found_in(compiled(rule[1:-1], "rules"), texts, "rules")
    word = rule.casefold()
    # Most texts lack the word, which is seen ten times faster without the pattern.
    begins = word.split()[0]
    hits = np.array([begins in text for text in folded], dtype=bool)
    candidates = [folded[row] for row in np.flatnonzero(hits).tolist()]
    hits[hits] = found_in(compiled(whole_words([word]), "rules"), candidates, "rules")
    return hits


def _texts(items: Sequence[Any]) -> Sequence[str]:
    for row, item in enumerate(items):
        if not isinstance(item, str):
            raise InputError(
                f"keywords and patterns read texts and image paths, and row {row} is "
                f"{_shown(item)}; write a Python function of the item instead"
            )
    return items


def _shown(item: Any) -> str:
    return f"{item!r:.60}" if isinstance(item, str) else f"a {type(item).__name__}"


def _conflicts(codes: IntArray, n_classes: int) -> float | None:
    """Return the share of the items on which two rules disagree."""
    if not len(codes):
        return None
    lowest = np.where(codes < 0, n_classes, codes).min(axis=1)
    return float((lowest < codes.max(axis=1)).mean())


def _share(right: int, total: int) -> dict[str, Any] | None:
    """Return an accuracy with its interval, None without a row."""
    if not total:
        return None
    low, high = wilson_interval(right, total, LEVEL)
    return Estimate(right / total, float(low), float(high), LEVEL).to_dict()


def _notes(records: Sequence[dict[str, Any]], n_ties: int, n_items: int) -> tuple[str, ...]:
    notes = []
    idle = [record["rule"] for record in records if not record["n"]]
    if idle:
        notes.append(f"{listing(idle)} vote on no item")
    if n_ties:
        notes.append(f"{n_ties:,} of {n_items:,} items abstain, since their rules are tied")
    # By the upper limit, so that a rule of few gold rows is not accused by chance.
    bad = [r["rule"] for r in records if r["accuracy"] and r["accuracy"]["high"] < 1 / 2]
    if bad and len(records) > 1:
        notes.append(f"{listing(bad)} are wrong more often than right on gold rows: check them")
    return tuple(notes)
