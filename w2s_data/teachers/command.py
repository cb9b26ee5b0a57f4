"""Labels of a program or an HTTP endpoint, each of which is asked and paid for once."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.dataset import W2SDataset
from w2s_data.data.images import image_digest
from w2s_data.data.prompts import Pair
from w2s_data.errors import InputError, listing
from w2s_data.teachers.answers import read_answers, with_confidence
from w2s_data.teachers.asking import Asked, NoAnswerError, Question, waited
from w2s_data.teachers.opinions import Opinions
from w2s_data.teachers.paid import PaidAnswers
from w2s_data.utils.io import sha256_json
from w2s_data.utils.lock import writing
from w2s_data.utils.progress import Advance, progress
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_proba

SHOWN = 3  # ids in a message


@dataclass(frozen=True)
class Terms:
    """How questions are asked, and what they may cost.

    Attributes
    ----------
    batch_size : int
        Questions of a batch.
    concurrency : int
        Batches that are asked at a time; the questions of as many are in doubt after a kill.
    retries : int
        Further attempts for questions that an attempt left without an answer.
    backoff : float
        Seconds before the second attempt, doubled before each further one.
    price : float
        Price of one item.
    budget : float, optional
        Most that all items may cost together, those of earlier calls included.
    ask_in_doubt : bool
        Ask again, with the same request, what was being asked when an earlier call was killed.
    version : str, optional
        Version of the program behind the command: another one asks all items again.
    """

    batch_size: int = 50
    retries: int = 2
    backoff: float = 1.0
    price: float = 0.0
    budget: float | None = None
    ask_in_doubt: bool = False
    version: str | None = None
    concurrency: int = 1


def label_by_asking(
    dataset: W2SDataset,
    asked: Asked,
    *,
    terms: Terms | None = None,
    map: Mapping[str, str] | None = None,
    folder: Path | None = None,
    show_progress: bool | None = None,
) -> Opinions:
    """Ask a program or an endpoint for the label of each item; equal items are asked once.

    Every question is written to `folder` before it is asked, and every answer when it comes, so
    that a kill at any moment loses no answer that was received. Questions that were being asked at
    a kill are not asked again by default, since they may have been paid for; these items abstain.

    An answer has a "label" (a class, or text that is read as by `label_answers`; null abstains),
    perhaps with a "confidence", or "proba": C numbers, or numbers by class.

    Parameters
    ----------
    dataset : W2SDataset (N items)
    asked : Program or Endpoint
    terms : Terms, optional
    map : mapping from regular expression to class, optional
        Reads labels; it may change without a further question.
    folder : path, optional
        Where answers are kept.
    show_progress : bool, optional

    Raises
    ------
    InputError
        For a program that hangs, fails, or answers too few, other or malformed questions. Answers
        that came before are kept, and the next call goes on after them.
    """
    terms = terms or Terms()
    name = sha256_json([*asked.identity(folder), *([terms.version] if terms.version else [])])
    keys, items = _keys(dataset), dataset.items
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    if folder is None:
        return _label(dataset, keys, first, items, _Asking(asked, PaidAnswers(), terms, name), map)
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder, f"answers in {str(folder)!r}"):
        book = PaidAnswers(folder / f"answers-{name[:16]}.jsonl")
        try:
            asking = _Asking(asked, book, terms, name, show_progress)
            return _label(dataset, keys, first, items, asking, map)
        finally:
            book.close()


def _label(
    dataset: W2SDataset,
    keys: Sequence[str],
    first: Mapping[str, int],
    items: Sequence[Any],
    asking: _Asking,
    map: Mapping[str, str] | None,
) -> Opinions:
    rows = _in_order(dataset, first)
    questions = {
        keys[row]: Question(str(dataset.ids[row]), _as_json(items[row]), asking.request(keys[row]))
        for row in rows
    }
    asking.ask_all(questions, dataset.class_names)
    read = _opinions(keys, asking, dataset.class_names, map)
    return Opinions(
        read.proba,
        {"kind": "command", **asking.summary(set(keys)), **read.summary},
        (*asking.notes(set(keys)), *read.notes),
    )


def _keys(dataset: W2SDataset) -> list[str]:
    """Return the hash of each item's content, by which answers are kept."""
    if dataset.kind == "image":
        return [image_digest(item) for item in dataset.items]
    return [sha256_json(_as_json(item)) for item in dataset.items]


def _in_order(dataset: W2SDataset, first: Mapping[str, int]) -> IntArray:
    """Return the rows to ask: gold rows first, then the pool, so that a budget serves these."""
    rows = np.array(sorted(first.values()), dtype=np.int64)
    splits = dataset.splits[rows]
    rank = np.select([splits == "labelled", splits == "pool"], [0, 1], default=2)
    return rows[np.argsort(rank, kind="stable")]


def _as_json(item: Any) -> Any:
    if isinstance(item, Pair):
        return item._asdict()
    if isinstance(item, bytes):
        return {"base64": base64.b64encode(item).decode()}
    return item.tolist() if isinstance(item, np.ndarray) else item


@dataclass
class _Asking:
    asked: Asked
    book: PaidAnswers
    terms: Terms
    identity: str  # hash of it
    show_progress: bool | None = None
    n_before: int = 0  # answers of earlier calls
    n_left: int = 0  # items that the budget did not allow
    changed: tuple[str, ...] = ()  # files that have changed since the first answer
    stopped: bool = False  # another batch has failed

    def request(self, key: str) -> str:
        """Return the name of a question, which is the same in every attempt and call."""
        return sha256_json([self.identity, key])[:32]

    def ask_all(self, questions: Mapping[str, Question], class_names: Sequence[str]) -> None:
        """Ask what has no answer yet, batch by batch, as far as the budget allows."""
        book, terms = self.book, self.terms
        self.n_before = len(book.answers.keys() & questions.keys())
        doubtful = book.in_doubt - (set(questions) if terms.ask_in_doubt else set())
        keys = [key for key in questions if key not in book.answers and key not in doubtful]
        # Questions in doubt count as paid already.
        again = [key for key in keys if key in book.in_doubt]
        new = [key for key in keys if key not in book.in_doubt]
        affordable = self._affordable(len(new))
        self.n_left = len(new) - affordable
        keys = [*again, *new[:affordable]]
        files, known = self.asked.files(), book.notes.get("files", {})
        self.changed = tuple(n for n, own in files.items() if known.get(n, own) != own)
        if keys and not known:
            book.note(files=files)
        with progress("ask", len(keys), enabled=self.show_progress) as advance:
            starts = range(0, len(keys), terms.batch_size)
            batches = [keys[start : start + terms.batch_size] for start in starts]

            def ask(batch: Sequence[str]) -> None:
                self._ask_batch({key: questions[key] for key in batch}, class_names, advance)

            self._side_by_side(ask, batches)

    def _side_by_side(
        self, ask: Callable[[Sequence[str]], None], batches: Sequence[Sequence[str]]
    ) -> None:
        """Ask several batches at a time; after a failure no further one, but keep what arrives."""
        if self.terms.concurrency == 1:
            for batch in batches:
                ask(batch)
            return
        with ThreadPoolExecutor(self.terms.concurrency) as pool:
            waiting = [pool.submit(ask, batch) for batch in batches]
            try:
                for done in as_completed(waiting):
                    done.result()
            except BaseException:
                self.stopped = True
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _affordable(self, wanted: int) -> int:
        terms = self.terms
        if terms.budget is None or terms.price == 0:
            return wanted
        # A small part more: three of .1 are a little above .3.
        most = int(terms.budget / terms.price * (1 + 1e-9))
        return min(wanted, max(0, most - self.book.n_paid))

    def _ask_batch(
        self, batch: Mapping[str, Question], class_names: Sequence[str], advance: Advance
    ) -> None:
        missing, failure, wait = dict(batch), "", 0.0
        for attempt in range(self.terms.retries + 1):
            if self.stopped:
                return
            if attempt:
                waited(attempt, self.terms.backoff, wait)
            failure, wait = "", 0.0
            self.book.ask(missing)
            asked = tuple(missing)
            by_id = {question.id: key for key, question in missing.items()}
            try:
                # Closed at once, so that no program goes on after an answer that is refused.
                with closing(self.asked.ask(list(missing.values()))) as arriving:
                    for answers in arriving:
                        self._keep(answers, missing, by_id, class_names, advance)
            except NoAnswerError as error:
                failure, wait = str(error), error.wait
            except InputError as error:
                self.book.fail(missing)
                raise InputError(f"{error}; {self._kept()}") from error
            if not missing:
                return
            self.book.fail(missing)
            if not failure:
                ids = listing([question.id for question in missing.values()], SHOWN)
                failure = (
                    f"{self.asked.name} answered {len(asked) - len(missing):,} of {len(asked):,} "
                    f"questions; no answer has the id {ids}"
                )
        attempts = f" (attempt {self.terms.retries + 1})" if self.terms.retries else ""
        raise InputError(f"{failure}{attempts}; {self._kept()}")

    def _keep(
        self,
        answers: Sequence[Any],
        missing: dict[str, Question],
        by_id: Mapping[str, str],
        class_names: Sequence[str],
        advance: Advance,
    ) -> None:
        """Write down answers, and remove their questions from those that miss one."""
        good: dict[str, Any] = {}
        try:
            for answer in answers:
                # A second answer to a question changes nothing.
                good.setdefault(self._checked(answer, by_id, class_names), answer)
        finally:
            new = {key: answer for key, answer in good.items() if missing.pop(key, None)}
            if new:
                self.book.answer(new)
                advance(len(new))

    def _kept(self) -> str:
        return f"{len(self.book.answers):,} answers are kept, and asking goes on after them"

    def _checked(self, answer: Any, by_id: Mapping[str, str], class_names: Sequence[str]) -> str:
        """Return the key of an answer's question; raise if it cannot be read."""
        name = self.asked.name
        if not isinstance(answer, dict) or "id" not in answer:
            raise InputError(f"{name} gave an answer without id: {answer!r:.60}")
        key = by_id.get(str(answer["id"]))
        if key is None:
            raise InputError(
                f"{name} answered id {answer['id']!r:.60}, which was not asked; the first id that "
                f"was is {next(iter(by_id))!r}"
            )
        if "proba" in answer:
            _distribution(answer, class_names, name)
        elif "label" not in answer or isinstance(answer["label"], list | dict):
            raise InputError(
                f"{name} must answer with label or proba; for id {answer['id']!r:.60} it gave "
                f"{answer!r:.80}"
            )
        confidence = answer.get("confidence")
        if confidence is not None and not _is_share(confidence):
            raise InputError(
                f"{name} must give a confidence in [0, 1]; for id {answer['id']!r:.60} it gave "
                f"{confidence!r:.60}"
            )
        return key

    def summary(self, keys: set[str]) -> dict[str, Any]:
        """Return counts and costs, in JSON."""
        price, budget = self.terms.price, self.terms.budget
        answered = len(self.book.answers.keys() & keys)
        return {
            "asked": self.asked.name,
            "n_questions": len(keys),
            "n_answered": answered,
            "n_from_earlier": self.n_before,
            "n_in_doubt": len(self.book.in_doubt & keys),
            "n_beyond_budget": self.n_left,
            "price": price,
            "budget": budget,
            "spent": price * self.book.n_paid,
        }

    def notes(self, keys: set[str]) -> tuple[str, ...]:
        """Return remarks on items that were not answered."""
        notes = []
        if doubtful := len(self.book.in_doubt & keys):
            notes.append(
                f"{doubtful:,} items were being asked when an earlier call was stopped, and may "
                "have been paid for: they abstain; pass in_flight='ask' to ask them again with the "
                "same request"
            )
        if self.changed and self.n_before:
            notes.append(
                f"{self.n_before:,} answers are from before {listing(self.changed)} changed; pass "
                "another version to ask these items again"
            )
        if self.n_left:
            notes.append(
                f"{self.n_left:,} items abstain, since the budget of {self.terms.budget:g} was "
                "spent before they were asked"
            )
        return tuple(notes)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _distribution(answer: Mapping[str, Any], class_names: Sequence[str], name: str) -> FloatArray:
    """Return the probabilities (C,) of an answer, given in order or by class."""
    given = answer["proba"]
    if isinstance(given, dict):
        if unknown := [key for key in given if key not in class_names]:
            raise InputError(
                f"{name} gave id {answer['id']!r:.60} a probability of {unknown[0]!r:.60}, which "
                f"is not a class; the classes are {listing(class_names)}"
            )
        given = [given.get(class_name, 0.0) for class_name in class_names]
    numbers = isinstance(given, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in given
    )
    if not numbers or len(given) != len(class_names):
        raise InputError(
            f"{name} must give proba as {len(class_names)} numbers, or numbers by class; for id "
            f"{answer['id']!r:.60} it gave {answer['proba']!r:.60}"
        )
    what = f"{name}: proba of id {answer['id']!r:.60}"
    checked: FloatArray = check_proba(np.array([given], dtype=np.float64), what)[0]
    return checked


def _opinions(
    keys: Sequence[str], asking: _Asking, class_names: Sequence[str], map: Mapping[str, str] | None
) -> Opinions:
    """Read the answers of all rows; without an answer, a row abstains."""
    answers = [asking.book.answers.get(key, {}) for key in keys]
    proba = np.full((len(keys), len(class_names)), 1 / len(class_names))
    for row, answer in enumerate(answers):
        if "proba" in answer:
            proba[row] = _distribution(answer, class_names, asking.asked.name)
    labels = pd.Series([answer.get("label") for answer in answers], dtype=object)
    if not labels.notna().any():
        return Opinions(proba)
    read = read_answers(labels, class_names, map, f"{asking.asked.name}")
    named = Opinions.of_codes(read.codes, len(class_names)).proba
    notes: list[str] = []
    level = np.array([answer.get("confidence", np.nan) for answer in answers], dtype=np.float64)
    if np.isfinite(level[read.codes >= 0]).any():
        named, notes = with_confidence(named, level, f"the confidence of {asking.asked.name}")
    rows = read.codes >= 0
    proba[rows] = named[rows]
    return Opinions(proba, read.summary(class_names), (*read.notes(), *notes))
