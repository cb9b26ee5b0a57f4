"""Free answers of a language model, read as classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.data.columns import as_numbers, distinct_names
from w2s_data.data.meaning.table import ClassTable
from w2s_data.errors import ColumnError, ProbabilityError, listing, rows
from w2s_data.teachers.opinions import Opinions
from w2s_data.teachers.patterns import compiled, found_in, whole_words
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10  # commonest answers that match nothing, in a summary and an error
LONGEST = 80  # characters of an answer that is shown


def label_answers(
    table: pd.DataFrame,
    column: str,
    class_names: Sequence[str],
    *,
    map: Mapping[str, str] | None = None,
    confidence: str | None = None,
) -> Opinions:
    """Read a column of free answers as classes; an answer that fits none or several abstains.

    With a `map`, an answer has the classes of all regular expressions that match anywhere in it.
    Answers that match expressions of different classes are conflicts: "positive, not negative"
    does not tell which match was meant, and a wrong label costs more than a missing one.

    Without a `map`, an answer has the class whose name it is (but for case, blanks and hyphens),
    or else the only class whose name occurs in it as a whole word. Negations are not understood:
    "not positive" is read as positive, so that such answers need a `map`.

    Parameters
    ----------
    table : DataFrame (N rows)
    column : str
        Column of the answers. An empty cell abstains.
    class_names : sequence of str
        The C classes.
    map : mapping from regular expression to class, optional
        Python's syntax: "(?i)" at the start ignores case, "^" asks for the start of the answer.
    confidence : str, optional
        Column of numbers in [0, 1], the probability of the class that is answered; the others
        share the rest. A number below 1/C would make another class likelier, and abstains. A row
        without a number has the mean of the others.

    Returns
    -------
    Opinions
        With the numbers of answers that matched nothing, of conflicts and of each expression's
        matches, and the commonest answers that were not read.

    Raises
    ------
    ColumnError
        If no answer is read as a class; the message shows the commonest answers.
    InputError
        For an expression that cannot be compiled, or an unknown class.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"reply": ["Positive!", "I'd say negative.", "either", None]})
    >>> read = label_answers(table, "reply", ["negative", "positive"])
    >>> read.proba.tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]
    >>> read.notes
    ("1 of 3 answers of column 'reply' name no class and abstain; the commonest: 'either' (1)",)
    """
    from w2s_data.data.columns import column as column_of

    texts = column_of(table, column)
    read = read_answers(texts, class_names, map, f"column {column!r}")
    summary = {"kind": "answers", "column": column, **read.summary(class_names)}
    notes = read.notes()
    opinions = Opinions.of_codes(read.codes, len(class_names), summary, notes)
    if confidence is None:
        return opinions
    level, what = as_numbers(table, [confidence])[:, 0], f"confidence column {confidence!r}"
    proba, doubts = with_confidence(opinions.proba, level, what)
    return Opinions(proba, summary, (*notes, *doubts))


@dataclass(frozen=True)
class ReadAnswers:
    """Classes of answers, and what became of those without."""

    codes: IntArray  # (N,), -1 where an answer abstains
    n_missing: int  # empty cells
    unmatched: Counter[str]  # answers that name no class, with their numbers
    conflicts: Counter[str]  # answers that name several
    matches: dict[str, int]  # answers that each expression matches
    what: str  # where the answers are from, for notes

    @property
    def n_answers(self) -> int:
        """Cells that hold an answer."""
        return len(self.codes) - self.n_missing

    def summary(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Return counts and examples, in JSON."""
        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(class_names))
        return {
            "n_answers": self.n_answers,
            "n_missing": self.n_missing,
            "n_unmatched": self.unmatched.total(),
            "n_conflicts": self.conflicts.total(),
            "n_by_class": dict(zip(class_names, counts.tolist(), strict=True)),
            "n_by_pattern": self.matches,
            "unmatched": _examples(self.unmatched),
            "conflicts": _examples(self.conflicts),
        }

    def notes(self) -> tuple[str, ...]:
        """Return remarks on answers that were not read and expressions that match none."""
        notes = []
        kinds = ((self.unmatched, "name no class"), (self.conflicts, "fit several classes"))
        for answers, why in kinds:
            if answers:
                notes.append(
                    f"{answers.total():,} of {self.n_answers:,} answers of {self.what} {why} and "
                    f"abstain; the commonest: {_commonest(answers, 3)}"
                )
        idle = [pattern for pattern, n in self.matches.items() if not n]
        if idle:
            notes.append(f"no answer of {self.what} matches {listing(idle)}")
        return tuple(notes)


def read_answers(
    answers: pd.Series, class_names: Sequence[str], map: Mapping[str, str] | None, what: str
) -> ReadAnswers:
    """Find the class of each answer; raise ColumnError if no answer has one."""
    index, cells = distinct_names(answers)  # each distinct answer is read once
    texts = [cell.strip() for cell in cells]
    given = np.array([bool(text) for text in texts], dtype=bool)
    fits, by_pattern = _mapped(texts, class_names, map, what) if map else (None, {})
    if fits is None:
        fits = _named(texts, class_names)
    fits &= given[:, None]
    counts = np.bincount(index[index >= 0], minlength=len(texts))
    n_missing = len(index) - int(counts[given].sum())
    n_fitting = fits.sum(axis=1)

    def counted(chosen: BoolArray) -> Counter[str]:
        shown: Counter[str] = Counter()
        for i in np.flatnonzero(chosen & given):
            shown[_shortened(texts[i])] += int(counts[i])
        return shown

    read = ReadAnswers(
        # A place for the index -1 of a missing cell.
        codes=np.append(np.where(n_fitting == 1, fits.argmax(axis=1), -1), -1)[index],
        n_missing=n_missing,
        unmatched=counted(n_fitting == 0),
        conflicts=counted(n_fitting > 1),
        matches={name: int(counts[hit].sum()) for name, hit in by_pattern.items()},
        what=what,
    )
    if (read.codes < 0).all():
        raise ColumnError(_nothing_read(read, class_names, bool(map)))
    return read


def check_map(map: Mapping[str, str], class_names: Sequence[str] | None) -> list[int]:
    """Return the class code of each expression; raise InputError for one that cannot be used.

    Without class names only the expressions are looked at.
    """
    for pattern in map:
        compiled(pattern, "map")
    found = ClassTable(class_names or ()).find(map.values())
    codes = []
    for (pattern, name), code in zip(map.items(), found, strict=True):
        if code is None and class_names is not None:
            raise ColumnError(
                f"map gives {pattern!r} the class {name!r}; the classes are {listing(class_names)}"
            )
        codes.append(-1 if code is None else code)
    return codes


def _mapped(
    texts: Sequence[str], class_names: Sequence[str], map: Mapping[str, str], what: str
) -> tuple[BoolArray, dict[str, BoolArray]]:
    """Return which classes (n, C) the texts have by a map, and which texts each pattern matches."""
    fits = np.zeros((len(texts), len(class_names)), dtype=bool)
    by_pattern = {}
    for pattern, code in zip(map, check_map(map, class_names), strict=True):
        by_pattern[pattern] = found_in(compiled(pattern, "map"), texts, what)
        fits[:, code] |= by_pattern[pattern]
    return fits, by_pattern


def _named(texts: Sequence[str], class_names: Sequence[str]) -> BoolArray:
    """Return which classes (n, C) the texts name."""
    fits = np.zeros((len(texts), len(class_names)), dtype=bool)
    table = ClassTable(class_names)
    words = compiled(whole_words([name.casefold() for name in class_names]), "class names")
    begins = {name.casefold().split()[0] for name in class_names if name.split()}
    codes: dict[str, list[int]] = {}
    for code, name in enumerate(class_names):
        codes.setdefault(" ".join(name.casefold().split()), []).append(code)
    for i, (text, same) in enumerate(zip(texts, table.find(texts), strict=True)):
        if same is not None:
            fits[i, same] = True
            continue
        folded = text.casefold()
        if not any(name in folded for name in begins):
            continue  # which is seen ten times faster without the pattern
        # A class "very good" hides the class "good" in it: the longest name is found.
        for name in words.findall(folded):
            fits[i, codes[" ".join(name.split())]] = True
    return fits


def _nothing_read(read: ReadAnswers, class_names: Sequence[str], mapped: bool) -> str:
    if not read.n_answers:
        return f"{read.what} has no answer in any of its {len(read.codes):,} rows"
    shown = read.unmatched + read.conflicts
    several = " or fits several" if read.conflicts else ""
    advice = "change map" if mapped else "give map, regular expressions with their classes"
    return (
        f"{read.what}: none of {read.n_answers:,} answers fits a class{several} "
        f"({listing(class_names)}); the commonest: {_commonest(shown, SHOWN)}; {advice}"
    )


def _commonest(answers: Counter[str], most: int) -> str:
    shown = [f"{text!r} ({n:,})" for text, n in _ordered(answers)[:most]]
    return ", ".join(shown)


def _examples(answers: Counter[str]) -> list[dict[str, Any]]:
    return [{"answer": text, "count": n} for text, n in _ordered(answers)[:SHOWN]]


def _ordered(answers: Counter[str]) -> list[tuple[str, int]]:
    return sorted(answers.items(), key=lambda pair: (-pair[1], pair[0]))


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def with_confidence(
    proba: FloatArray, level: FloatArray, what: str
) -> tuple[FloatArray, list[str]]:
    """Give the class of each row (N, C) its confidence (N,), and share the rest; return notes.

    Rows of `proba` are certain or uniform. A level of at most 1/C abstains; a missing one is the
    mean of the others. Raise ProbabilityError for levels outside [0, 1], or if all are missing.
    """
    n_classes = proba.shape[1]
    answered = proba.max(axis=1) == 1
    level = np.where(answered, level, np.nan)
    outside = np.flatnonzero((level < 0) | (level > 1))
    if len(outside):
        raise ProbabilityError(
            f"{what} must lie in [0, 1]; {rows(outside)} do not (row {outside[0]} holds "
            f"{level[outside[0]]:g})"
        )
    unknown = answered & np.isnan(level)
    if unknown.sum() == answered.sum():
        raise ProbabilityError(f"{what} is empty where there are answers")
    notes = []
    if unknown.any():
        level[unknown] = mean = np.nanmean(level)
        notes.append(
            f"{what} is empty for {unknown.sum():,} answers, which have the mean of the others, "
            f"{mean:.2f}"
        )
    low = level <= 1 / n_classes
    if low.any():
        notes.append(
            f"{what} is at most 1/{n_classes} for {low.sum():,} answers, which abstain, since "
            "another class would be as likely as theirs"
        )
    rest = (1 - level[:, None]) / (n_classes - 1)
    spread = np.where(proba == 1, level[:, None], rest)
    spread[low | ~answered] = 1 / n_classes
    return spread, notes
