"""Which class each weak column is about, by the names of both.

Names are compared from strict to loose, and the first comparison that fits decides: the name
itself, the name after what all columns have in common ("p_neg", "P(neg)", "neg_prob"), the name as
a word of the column, an abbreviation, the numbers in the columns. The order of the columns decides
only where no column resembles any class; what fits in part is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from w2s_data.data.spelling import ClassTable, LabelRules, number_of
from w2s_data.errors import ProbabilityError, listing

# Words around the name of a class that say it is a probability: "p1" is P(class 1), "model1" not.
_PROBABILITY_WORDS = frozenset(
    {"p", "pr", "prob", "probs", "proba", "probas", "probability", "probabilities", "score"}
    | {"scores", "conf", "confidence", "softmax", "pred", "prediction", "weak", "is", "of", "y"}
    | {"class", "label", "the"}
)
_NEGATIONS = frozenset({"not", "non", "no", "un", "never", "without"})
_SHORTEST = 3  # letters of an abbreviation inside a column's name


@dataclass(frozen=True)
class Match:
    """The class of each column, by name, and what told it."""

    columns: tuple[str, ...]
    classes: tuple[str, ...]
    how: str  # "by name", "by map", "by abbreviation", "by number" or "by position"

    @property
    def by_order(self) -> bool:
        """Whether another order of the classes would change the match."""
        return self.how in ("by number", "by position")


def match_columns(
    columns: Sequence[str],
    class_names: Sequence[str],
    rules: LabelRules,
    *,
    ordered: bool = False,
    extend: bool = False,
) -> Match:
    """Match columns with the classes; if `extend`, more columns may name more classes.

    `ordered` says that the order of the classes is given, which then decides on columns that fit
    in part.

    Raises
    ------
    ProbabilityError
        If columns and classes differ in number, or only some of them fit.
    """
    mapped = [rules.mapped(column, column) for column in columns]
    known = [column if name is None else name for column, name in zip(columns, mapped, strict=True)]
    for names in _remainders(known, class_names):
        if (found := _assigned(names, class_names, extend=extend)) is not None:
            how = "by name" if not any(mapped) else "by map"
            return Match(tuple(columns), found, how)
    if len(columns) != len(class_names):
        raise ProbabilityError(
            f"weak columns {listing(columns)} are {len(columns)}, but there are "
            f"{len(class_names)} classes: {listing(class_names)}; give one column per class, named "
            "after it or in this order"
        )
    within = [_classes_within(name, class_names) for name in known]
    for how, options in (
        ("by name", within),
        ("by abbreviation", _abbreviated(known, class_names)),
    ):
        if all(len(own) == 1 for own in options) and len(set(map(tuple, options))) == len(options):
            return Match(tuple(columns), tuple(own[0] for own in options), how)
    order = _numbered(known, len(class_names))
    if not ordered and (
        any(mapped) or _fits_in_part(known, class_names, within, order is not None)
    ):
        raise ProbabilityError(_partly(columns, class_names))
    if order is not None:
        return Match(tuple(columns), tuple(class_names[i] for i in order), "by number")
    return Match(tuple(columns), tuple(class_names), "by position")


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
    words = _words(name)
    options = _classes_within(name, class_names)
    how = "by name"
    if not options:
        options, how = _classes_abbreviated(words, class_names, _SHORTEST), "by abbreviation"
    if len(options) > 1 or (options and _NEGATIONS & set(words) - set(_words(options[0]))):
        raise ProbabilityError(
            f"weak column {column!r} could be the probability of each class, {listing(class_names)}"
            f"; pass map={{{column!r}: CLASS}}, or give one column per class and class_names"
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
        words = [w for w in _pieces(columns[0]) if w.casefold() not in _PROBABILITY_WORDS]
        name = "".join(words).strip(" _-.:/()[]") or columns[0]
        return f"not {name}", name
    return tuple(_without_common(columns))


def mentions(names: Sequence[str], class_names: Sequence[str]) -> bool:
    """Whether one of the names holds the name of a class as a word."""
    return any(_classes_within(name, class_names) for name in names)


def class_words(columns: Sequence[str]) -> tuple[str, ...]:
    """Return what may be names of classes in columns, such as "none" in p_none."""
    return (*columns, *_without_common(columns)) if len(columns) > 1 else tuple(columns)


def _remainders(columns: Sequence[str], class_names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the names of the columns, without what they have in common."""
    yield columns
    yield (bare := _without_common(columns))
    stems = _without_common(class_names)
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
    words = _words(column)
    # "pfake" is P(fake).
    words = [_without_probability(word, class_names) for word in words]
    found: dict[str, range] = {}
    for name in class_names:
        own = _words(name)
        for start in range(len(words) - len(own) + 1):
            rest = words[:start] + words[start + len(own) :]
            # A number is a class only beside words of probability: not in the model "v2_score".
            plain = number_of(name) is None or set(rest) <= _PROBABILITY_WORDS
            if own and words[start : start + len(own)] == own and plain:
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


def _abbreviated(columns: Sequence[str], class_names: Sequence[str]) -> list[list[str]]:
    bare = _without_common(columns)
    return [_classes_abbreviated(_words(name), class_names, 1) for name in bare]


def _classes_abbreviated(
    words: Sequence[str], class_names: Sequence[str], shortest: int
) -> list[str]:
    """Return the classes that a word begins, or that begin a word."""

    def fits(name: str) -> bool:
        whole = "".join(_words(name))
        return any(
            min(len(word), len(whole)) >= shortest
            and not (word.isdigit() or whole.isdigit() or word in _PROBABILITY_WORDS)
            and (whole.startswith(word) or word.startswith(whole))
            for word in words
        )

    return [name for name in class_names if fits(name)]


def _numbered(columns: Sequence[str], n_classes: int) -> list[int] | None:
    """Return the numbers of columns that count the classes from 0 or 1, as codes."""
    bare = _without_common(columns)
    numbers = [int(name) if re.fullmatch(r"\d+", name) else -1 for name in bare]
    first = min(numbers)
    if first not in (0, 1) or sorted(numbers) != list(range(first, first + n_classes)):
        return None
    return [number - first for number in numbers]


def _fits_in_part(
    columns: Sequence[str],
    class_names: Sequence[str],
    within: Sequence[Sequence[str]],
    numbered: bool,
) -> bool:
    """Whether some columns fit a class, though not all of them do."""
    numeric = [number_of(name) is not None for name in class_names]
    if numbered and not any(numeric):
        return False
    names = [*columns, *_without_common(columns)]
    return (
        any(within)
        or any(code is not None for code in ClassTable(class_names).find(names))
        or any(_classes_abbreviated(_words(name), class_names, _SHORTEST) for name in columns)
    )


def _partly(columns: Sequence[str], class_names: Sequence[str]) -> str:
    return (
        f"weak columns {listing(columns)} fit the classes {listing(class_names)} only in part; "
        "pass class_names in the order of the columns, or map, e.g. "
        f"map={{{columns[0]!r}: {class_names[0]!r}}}"
    )


def _without_common(names: Sequence[str]) -> list[str]:
    """Return names without the words that all of them begin or end with.

    >>> _without_common(["P(neg)", "P(pos)"]), _without_common(["p9", "p10"])
    (['neg', 'pos'], ['9', '10'])
    """
    pieces = [_pieces(name) for name in names]
    if len(pieces) < 2:
        return list(names)
    start = _common(pieces)
    end = _common([own[start:][::-1] for own in pieces])
    return ["".join(own[start : len(own) - end]).strip(" _.:/") for own in pieces]


def _common(pieces: Sequence[Sequence[str]]) -> int:
    """Return how many first pieces all share, such that each keeps a word or a number."""
    shared = 0
    for column in zip(*pieces, strict=False):
        rest = ("".join(own[shared + 1 :]) for own in pieces)
        if len({piece.casefold() for piece in column}) > 1 or not all(map(_has_word, rest)):
            break
        shared += 1
    return shared


def _has_word(text: str) -> bool:
    return re.search(r"[^\W_]", text) is not None


def _pieces(name: str) -> list[str]:
    """Split a name into words, numbers and the single characters between them.

    >>> _pieces("probNeg_10")
    ['prob', 'Neg', '_', '10']
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "\0", name)
    return [piece for piece in re.findall(r"[^\W\d_]+|\d+|[\W_]", parted) if piece != "\0"]


def _words(name: str) -> list[str]:
    return [piece.casefold() for piece in _pieces(name) if _has_word(piece)]
