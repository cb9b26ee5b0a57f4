"""Which class each weak column is about, by the names of both.

Names are compared from strict to loose, and the first comparison that fits decides: the name
itself, the name without what all columns have in common ("p_neg", "P(neg)", "neg_prob"), the name
as a word of the column, an abbreviation, yes and no in other words ("pos" for 1), the numbers in
the columns. The order of the columns decides only where no column resembles any class; what fits
in part is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from w2s_data.data.columns import WeakColumns
from w2s_data.data.meaning.rules import LabelRules, number_of
from w2s_data.data.meaning.table import ClassTable
from w2s_data.data.meaning.words import numbers, pieces, without_common, words
from w2s_data.errors import ProbabilityError, listing

# Words around the name of a class that say it is a probability: "p1" is P(class 1), "model1" not.
_PROBABILITY_WORDS = frozenset(
    {"p", "pr", "prob", "probs", "proba", "probas", "probability", "probabilities", "score"}
    | {"scores", "conf", "confidence", "softmax", "pred", "prediction", "weak", "is", "of", "y"}
    | {"class", "label", "the"}
)
_NEGATIONS = frozenset({"not", "non", "no", "un", "never", "without"})
_POLARITY = dict.fromkeys(("neg", "negative", "no", "false"), -1) | dict.fromkeys(
    ("pos", "positive", "yes", "true"), 1
)
_SHORTEST = 3  # letters of an abbreviation inside a column's name


@dataclass(frozen=True)
class Match:
    """The class of each column, by name, and what told it."""

    columns: tuple[str, ...]
    classes: tuple[str, ...]
    how: str  # "by name", "by map", "by abbreviation", "by meaning", "by number", "by position"

    @property
    def by_order(self) -> bool:
        """Whether another order of the classes would change the match."""
        return self.how in ("by number", "by position")


@dataclass(frozen=True)
class WeakInputs:
    """The columns of ready-made weak labels, as the roles name them."""

    columns: WeakColumns | None = None
    label: str | None = None
    confidence: str | None = None

    def models(self) -> list[list[str]]:
        """Return the columns of each weak model."""
        if self.columns is None:
            return []
        several = self.columns.values() if isinstance(self.columns, Mapping) else [self.columns]
        return [[own] if isinstance(own, str) else [str(c) for c in own] for own in several]

    def all_columns(self) -> list[str]:
        """Return the columns of all weak models."""
        return [name for own in self.models() for name in own]

    def class_words(self) -> tuple[str, ...]:
        """Return what may be names of classes: "none" of p_none among p_yes and p_no."""
        return tuple(word for own in self.models() for word in class_words(own))


def match_columns(
    columns: Sequence[str],
    class_names: Sequence[str],
    rules: LabelRules,
    *,
    extend: bool = False,
    ordered: bool = False,
) -> Match:
    """Match columns with the classes; if `extend`, more columns may name more classes.

    `ordered` says that the caller gave the order of the classes, which then decides on columns that
    fit in part.

    Raises
    ------
    ProbabilityError
        If columns and classes differ in number, or only some of them fit.
    """
    mapped = [rules.mapped(column, column) for column in columns]
    known = [column if name is None else name for column, name in zip(columns, mapped, strict=True)]
    for names in _remainders(known, class_names):
        if (found := _assigned(names, class_names, extend=extend)) is not None:
            return Match(tuple(columns), found, "by map" if any(mapped) else "by name")
    if len(columns) != len(class_names):
        raise ProbabilityError(
            f"weak columns {listing(columns)} are {len(columns)}, but there are "
            f"{len(class_names)} classes: {listing(class_names)}; give one column per class, named "
            "after it or in this order"
        )
    within = [_classes_within(name, class_names) for name in known]
    bare = without_common(known)
    for how, options in (
        ("by name", within),
        ("by abbreviation", [_classes_abbreviated(name, class_names, 1) for name in bare]),
        ("by meaning", [_classes_meant(name, class_names) for name in bare]),
    ):
        if all(len(own) == 1 for own in options) and len(set(map(tuple, options))) == len(options):
            return Match(tuple(columns), tuple(own[0] for own in options), how)
    how, order = "by number", _numbered(bare, class_names, ordered)
    if order is None:
        how, order = "by position", tuple(class_names)
    agrees = all(own in ([], [name]) for own, name in zip(within, order, strict=True))
    in_part = any(within) or any(_resembles(name, class_names) for name in (*known, *bare))
    # Numbers may count classes that are numbers themselves, once their order is given.
    if any(mapped) or (in_part and not (ordered and (agrees or how == "by number"))):
        raise ProbabilityError(_partly(columns, class_names))
    return Match(tuple(columns), order, how)


def match_single(column: str, class_names: Sequence[str], rules: LabelRules, default: str) -> Match:
    """Match the only column of two classes; `default` is the class of a name that fits neither.

    Raises
    ------
    ProbabilityError
        If the name fits both classes, or speaks of "not" one of them.
    """
    mapped = rules.mapped(column, column)
    name = column if mapped is None else mapped
    code = ClassTable(class_names).find([name])[0]
    if code is not None:
        return Match((column,), (class_names[code],), "by name" if mapped is None else "by map")
    if mapped is not None:
        raise ProbabilityError(
            f"map gives weak column {column!r} the class {mapped!r}; classes: "
            f"{listing(class_names)}"
        )
    own = words(name)
    negated = _NEGATIONS & set(own)
    for how, options in (
        ("by name", _classes_within(name, class_names)),
        ("by abbreviation", _classes_abbreviated(name, class_names, _SHORTEST)),
        ("by meaning", _classes_meant(name, class_names)),
    ):
        if len(options) > 1 or (
            options and how != "by meaning" and negated - set(words(options[0]))
        ):
            raise ProbabilityError(
                f"weak column {column!r} could be the probability of each class, "
                f"{listing(class_names)}; pass map={{{column!r}: CLASS}}, or give one column per "
                "class and class_names"
            )
        if options:
            return Match((column,), (options[0],), how)
    return Match((column,), (default,), "by position")


def implied_classes(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the class names that columns imply where no label names a class.

    >>> implied_classes(["p_neg", "p_pos"]), implied_classes(["p_spam"])
    (('neg', 'pos'), ('not spam', 'spam'))
    """
    if len(columns) == 1:
        rest = [piece for piece in pieces(columns[0]) if piece.casefold() not in _PROBABILITY_WORDS]
        name = "".join(rest).strip(" _-.:/()[]") or columns[0]
        return f"not {name}", name
    return tuple(without_common(columns))


def mentions(names: Sequence[str], class_names: Sequence[str]) -> bool:
    """Whether one of the names holds the name of a class as a word."""
    return any(_classes_within(name, class_names) for name in names)


def class_words(columns: Sequence[str]) -> tuple[str, ...]:
    """Return what may be names of classes in columns, such as "none" in p_none."""
    return (*columns, *without_common(columns)) if len(columns) > 1 else tuple(columns)


def _remainders(columns: Sequence[str], class_names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the names of the columns, without what they have in common."""
    yield columns
    yield (bare := without_common(columns))
    stems = without_common(class_names)
    # Columns p_1, p_2 of classes class_1, class_2.
    if list(stems) != list(class_names) and set(bare) <= set(stems):
        yield [class_names[stems.index(name)] for name in bare]
    # Where the classes share letters as well, they show what is around them.
    folded = [column.casefold() for column in columns]
    names = dict.fromkeys(class_name.casefold() for class_name in class_names)
    first = next((c for c in folded if any(name in c for name in names)), "")
    for name in names:
        start = first.find(name)
        if start < 0:
            continue
        before, after = first[:start], first[start + len(name) :]
        if all(
            c.startswith(before) and c.endswith(after) and len(c) > len(before) + len(after)
            for c in folded
        ):
            yield [column[len(before) : len(column) - len(after)] for column in columns]


def _assigned(
    names: Sequence[str], class_names: Sequence[str], *, extend: bool
) -> tuple[str, ...] | None:
    """Return one class per name if all classes are among them; new names are new classes."""
    found = ClassTable(class_names).find(names)
    known = [code for code in found if code is not None]
    if len(known) < len(class_names) or len(set(known)) < len(known):
        return None
    extra = [name.strip() for name, code in zip(names, found, strict=True) if code is None]
    if extra and (not extend or not all(extra) or len(set(extra)) < len(extra)):
        return None
    return tuple(
        name.strip() if code is None else class_names[code]
        for name, code in zip(names, found, strict=True)
    )


def _classes_within(column: str, class_names: Sequence[str]) -> list[str]:
    """Return the classes whose words stand in a column's name, but not inside a longer one's."""
    # "pfake" is P(fake).
    parts = [_without_probability(word, class_names) for word in words(column)]
    found: dict[str, range] = {}
    for name in class_names:
        own = words(name)
        for start in range(len(parts) - len(own) + 1):
            rest = parts[:start] + parts[start + len(own) :]
            # A number is a class only beside words of probability: not in the model "v2_score".
            plain = number_of(name) is None or set(rest) <= _PROBABILITY_WORDS
            if own and parts[start : start + len(own)] == own and plain:
                found[name] = range(start, start + len(own))
    return [
        name
        for name, own in found.items()
        if not any(set(own) < set(other) for other in found.values())
    ]


def _without_probability(word: str, class_names: Sequence[str]) -> str:
    names = {name.casefold() for name in class_names}
    rests = (word.removeprefix(start) for start in _PROBABILITY_WORDS if word.startswith(start))
    return word if word in names else next((rest for rest in rests if rest in names), word)


def _classes_abbreviated(name: str, class_names: Sequence[str], shortest: int) -> list[str]:
    """Return the classes that a word of a name begins, or that begin a word."""
    every = [word for word in words(name) if not word.isdigit()]
    # A name may be nothing but "p", beside one that is "n".
    parts = [word for word in every if word not in _PROBABILITY_WORDS] or every[:1]

    def fits(class_name: str) -> bool:
        whole = "".join(words(class_name))
        return not whole.isdigit() and any(
            min(len(word), len(whole)) >= shortest
            and (whole.startswith(word) or word.startswith(whole))
            for word in parts
        )

    return [class_name for class_name in class_names if fits(class_name)]


def _classes_meant(name: str, class_names: Sequence[str]) -> list[str]:
    """Return the class that says yes or no as the name does, if there are two and they differ."""
    # Numbers count classes with names: LABEL_0 is the first of them.
    if number_of(name) is not None and all(number_of(own) is None for own in class_names):
        return []
    sign = _polarity(name)
    signs = [_polarity(class_name) for class_name in class_names]
    return [class_names[signs.index(sign)]] if sign and sorted(signs) == [-1, 1] else []


def _polarity(name: str) -> int:
    """Return 1 for names like "pos", "yes" and 1, -1 for "neg", "no", 0 and -1, else 0."""
    number = number_of(name.strip())
    if number is not None:
        return 1 if number == 1 else -1 if number in (0, -1) else 0
    own = [word for word in words(name) if word not in _PROBABILITY_WORDS]
    if len(own) == 1 and own[0] in ("0", "1"):
        return 2 * int(own[0]) - 1
    signs = {_POLARITY[word] for word in own if word in _POLARITY}
    return signs.pop() if len(signs) == 1 and not {"not", "non"} & set(own) else 0


def _numbered(
    bare: Sequence[str], class_names: Sequence[str], ordered: bool
) -> tuple[str, ...] | None:
    """Return the classes of columns with one number each, by the number or by counting."""
    found = [numbers(name) for name in bare]
    if not all(len(own) == 1 for own in found):
        return None
    codes = [own[0] for own in found]
    classes = [numbers(name) for name in class_names]
    if all(len(own) == 1 for own in classes) and sorted(classes) == sorted(found):
        return tuple(class_names[classes.index(own)] for own in found)
    first = min(codes)
    counts = first in (0, 1) and sorted(codes) == list(range(first, first + len(class_names)))
    if not counts or (any(number_of(name) is not None for name in class_names) and not ordered):
        return None
    return tuple(class_names[code - first] for code in codes)


def _resembles(name: str, class_names: Sequence[str]) -> bool:
    """Whether a column is spelled like a class or an abbreviation of one."""
    abbreviated = _classes_abbreviated(name, class_names, _SHORTEST)
    return bool(abbreviated) or ClassTable(class_names).find([name])[0] is not None


def _partly(columns: Sequence[str], class_names: Sequence[str]) -> str:
    return (
        f"weak columns {listing(columns)} fit the classes {listing(class_names)} only in part; "
        "pass class_names in the order of the columns, or map, e.g. "
        f"map={{{columns[0]!r}: {class_names[0]!r}}}"
    )
