"""A running selection: choose, query, judge and commit, or restore all that from disk."""

from __future__ import annotations

import copy
import logging
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from w2s_data.errors import DegenerateDataWarning
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.typing import BoolArray, FloatArray
from w2s_selectors.objectives.base import Acquired, Judgement
from w2s_selectors.policies.state import ArmState
from w2s_selectors.session.checkpoint import Checkpoint, CheckpointError, Question, Record
from w2s_selectors.session.plan import SLACK, Plan
from w2s_selectors.session.posterior import probability_best
from w2s_selectors.session.prepare import Preparer, check_delivered
from w2s_selectors.sources.base import Batch, ReplayableSource, SourceError, SourceTimeout

logger = logging.getLogger("w2s_selectors")

PATIENCE = 3  # failures or answers without a new item in a row, after which a source is given up


@dataclass(frozen=True, eq=False)
class Answer:
    """Outcome of one query."""

    source: int
    kind: str
    asked: int
    batch: Batch
    note: str = ""


class Session:
    """State of a running selection."""

    def __init__(
        self, plan: Plan, preparer: Preparer, checkpoint: Checkpoint | None, seed: int
    ) -> None:
        self.plan, self._prepare, self._checkpoint = plan, preparer, checkpoint
        n_sources = len(plan.sources)
        # Two streams: an objective that draws more numbers leaves the choices as they are.
        objective_seed, choice_seed = np.random.SeedSequence(seed).generate_state(2, np.uint64)
        self.seed = int(objective_seed >> np.uint64(1))  # 63 bits: it fits a signed integer
        self._rng = np.random.default_rng(choice_seed)
        self.judge = plan.objective.start(plan.task(self.seed))
        self.acquired = Acquired(n_sources)
        horizon = int(np.ceil(plan.settings.budget / (plan.settings.batch_size * plan.units.min())))
        self.state = ArmState.start(n_sources, costs=plan.costs, horizon=max(1, horizon))
        self.judgement: Judgement | None = None
        self.records: list[Record] = []
        self.bought: list[tuple[str, ...]] = []  # ids of usable items by round
        self.gone: dict[int, str] = {}  # source -> why it can no longer be queried
        self.spent = 0.0
        self._owner: dict[str, int] = {}
        self._asked_in: dict[int, int] = {}  # round of the query that a source is to answer
        self._attempts = np.zeros(n_sources, dtype=np.int64)
        self._failures = np.zeros(n_sources, dtype=np.int64)
        self._barren = np.zeros(n_sources, dtype=np.int64)
        self.delivered = np.zeros(n_sources, dtype=np.int64)  # kept or not

    def restore(self) -> None:
        """Replay the rounds on disk, and open the sources with the ids that they delivered."""
        delivered: dict[int, list[str]] = {k: [] for k in range(len(self.plan.sources))}
        if self._checkpoint is not None:
            for record, stored in self._checkpoint.rounds():
                batch = self._delivered_in(record, stored)
                delivered[record.source] += batch.ids
                self._ask_state(record.source, record.asked)
                answer = Answer(record.source, record.kind, record.asked, batch, record.note)
                self._absorb(answer, stored)
                # Choices are not drawn again, so the generator is set to where they left it.
                self._rng.bit_generator.state = record.generator
                self.records.append(record)
            received = self._checkpoint.received(len(self.records))
            if received is not None:  # of a round that was interrupted before its commit
                delivered[received[0]] += received[1].ids
        for k, source in enumerate(self.plan.sources):
            source.open(delivered[k], self._checkpoint.late(k) if self._checkpoint else None)

    def _delivered_in(self, record: Record, stored: Batch) -> Batch:
        assert self._checkpoint is not None
        source = self.plan.sources[record.source]
        if record.kind != "answer":
            return Batch(())
        if isinstance(source, ReplayableSource):
            return source.lookup([*stored.ids, *record.left_out])
        received = self._checkpoint.received(record.round)
        if received is None:
            raise CheckpointError(
                f"{str(self._checkpoint.folder)!r} lacks the items received in round {record.round}"
            )
        return received[1]

    def run(self, on_round: Callable[[Record, Judgement | None], None]) -> str:
        """Query sources until a stop rule holds; return the rule in words."""
        started = time.monotonic()
        while not (reason := self._finished(time.monotonic() - started)):
            source, scores = self._choose()
            on_round(self._round(source, scores), self.judgement)
        if time.monotonic() - started < (self.plan.settings.max_seconds or np.inf):
            # Queries that timed out may have been answered by now: these items are paid for.
            nothing = np.full(len(self.plan.sources), np.nan)
            for late in np.flatnonzero(self.state.pending > 0).tolist():
                if late not in self.gone:
                    on_round(self._round(late, nothing), self.judgement)
        return reason

    def _round(self, source: int, scores: FloatArray) -> Record:
        n_open = int(self.open.sum())
        # Kept with the round: after a restart the next choice draws the same numbers.
        generator = copy.deepcopy(self._rng.bit_generator.state)
        answer = self._ask(source)
        before = self.spent
        kept, note = self._absorb(answer)
        judged = self.judgement
        reward = Estimate(np.nan) if judged is None else judged.estimate(answer.source)
        record = Record(
            round=len(self.records),
            source=answer.source,
            kind=answer.kind,
            asked=answer.asked,
            delivered=len(answer.batch),
            kept=len(kept),
            cost=self.spent - before,
            spent=self.spent,
            index=float(scores[answer.source]),
            observed=np.nan if judged is None else judged.observed,
            **reward.columns("reward"),
            n_open=n_open,
            note=note,
            left_out=tuple(sorted(set(answer.batch.ids) - set(kept.ids))),
            scores=tuple(scores.tolist()),
            generator=generator,
        )
        self.records.append(record)
        if self._checkpoint is not None:
            self._checkpoint.commit(record, self._stored(answer, kept), self.summary())
        return record

    def _stored(self, answer: Answer, kept: Batch) -> Batch:
        """Return the ids of a committed round, and the numbers that cannot be looked up."""
        known = answer.batch
        if not isinstance(self.plan.sources[answer.source], ReplayableSource):
            known = Batch(())
        strong = kept.strong_features if known.strong_features is None else None
        proba = kept.weak_proba if known.weak_proba is None else None
        return Batch(kept.ids, None, strong, proba)

    @property
    def open(self) -> BoolArray:
        """Sources that may be queried: not gone, not stopped, and affordable."""
        open_ = self.plan.units <= self._left() + SLACK
        open_[[*self.gone, *self.stopped]] = False
        return open_

    @property
    def stopped(self) -> dict[int, str]:
        """Reasons of stopped sources: by the objective unless kept, and by the user."""
        judged = {} if self.judgement is None else self.judgement.stopped
        screened = {k: reason for k, reason in judged.items() if k not in self.plan.keep}
        return screened | dict.fromkeys(self.plan.stop, "stopped by the user")

    def _left(self) -> FloatArray:
        """Return the budget left for each source, (K,), without what is pending at the others."""
        reserved = self.state.pending * self.plan.units
        return np.asarray(self.plan.settings.budget - self.spent - reserved.sum() + reserved)

    def _finished(self, seconds: float) -> str:
        plan, settings = self.plan, self.plan.settings
        if len(self.records) >= (settings.max_rounds or np.inf):
            return f"the limit of {len(self.records)} rounds is reached"
        if seconds >= (settings.max_seconds or np.inf):
            return f"the limit of {settings.max_seconds:g} seconds is reached"
        if not (plan.units <= self._left() + SLACK).any():
            return "the budget is spent"
        if not self.open.any():
            left = set(range(len(plan.sources))) - set(self.gone)
            if not left:
                return "all sources are empty or given up"
            if left <= set(self.stopped):
                # The rest of the budget is better kept than spent on labels that make no sense.
                return "only stopped sources are left (`keep` overrules)"
            return "the budget is spent"
        separation = settings.separation or 1.0
        if separation < 1 and self.judgement is not None and not self._warming().any():
            best = probability_best(self.judgement, self.seed)
            if np.nanmax(best, initial=0) >= separation:
                name = plan.sources[int(np.nanargmax(best))].name
                return f"source {name!r} is the best with probability {np.nanmax(best):.3f}"
        return ""

    def _warming(self) -> BoolArray:
        return self.open & (self._attempts < self.plan.objective.warm_up)

    def _choose(self) -> tuple[int, FloatArray]:
        """Return the source to query, and the scores that all sources were compared by."""
        nothing = np.full(len(self.plan.sources), np.nan)
        warming = self._warming()
        if warming.any() or self.judgement is None:
            # The least queried source is next, ties in their order.
            turn = np.where(warming if warming.any() else self.open, self._attempts, np.inf)
            return int(turn.argmin()), nothing
        state = replace(self.state, active=self.open)
        if self.judgement.gains is not None:
            # A source without a known gain comes first: only a query can show it.
            gains = np.where(np.isnan(self.judgement.gains), np.inf, self.judgement.gains)
            best = gains == gains[self.open].max()
            state = replace(state, active=self.open & best)
            return self.plan.policy.choose(state, self._rng), self.judgement.gains
        twin = copy.deepcopy(self._rng)  # the scores shown are those that `choose` draws
        scores = self.plan.policy.scores(state, twin)
        return self.plan.policy.choose(state, self._rng), scores / state.costs

    def _ask(self, source: int) -> Answer:
        """Query a source, and write its items to disk before anything else happens."""
        number = len(self.records)
        received = self._checkpoint and self._checkpoint.received(number)
        if received:  # the round was interrupted after its answer: it is paid for
            source, batch = received
            asked = self._ask_state(source, self._size(source))
            return Answer(source, "answer", asked, batch)
        unanswered = self._unanswered(number)
        if unanswered is not None:  # the same question, so that the source can recognise it
            source = unanswered.source
        asked = self._ask_state(source, unanswered.n if unanswered else self._size(source))
        asked_of = self.plan.sources[source]
        request = f"{self.seed:x}-{self._asked_in[source]}"
        if self._checkpoint is not None and not isinstance(asked_of, ReplayableSource):
            self._checkpoint.write_asked(number, Question(source, asked, request))
        try:
            batch = asked_of.query(asked, request)
            check_delivered(asked_of.name, batch, self.acquired)
        # A failing source costs a round, never the selection: other sources can go on.
        except SourceTimeout as error:
            return Answer(source, "timeout", asked, Batch(()), str(error))
        except SourceError as error:
            return Answer(source, "failure", asked, Batch(()), str(error))
        except Exception as error:  # whatever a source of the user's own may raise
            note = f"source {asked_of.name!r} failed with {type(error).__name__}: {error}"
            return Answer(source, "failure", asked, Batch(()), note)
        # Items of a table can be looked up again; all others exist only here.
        if self._checkpoint is not None and not isinstance(asked_of, ReplayableSource):
            self._checkpoint.write_received(number, source, batch)
        return Answer(source, "answer", asked, batch)

    def _unanswered(self, number: int) -> Question | None:
        """Return the question that was out when an earlier process ended, if it may be repeated."""
        question = self._checkpoint.asked(number) if self._checkpoint is not None else None
        # The user may have stopped the source, or lowered the budget, since.
        if question is None or not self.open[question.source]:
            return None
        if question.n > self._affordable(question.source):
            return None
        logger.warning(
            "round %d: source %r is asked for %d items again as request %r, whose answer had not "
            "come when the last process ended",
            number,
            self.plan.sources[question.source].name,
            question.n,
            question.request,
        )
        return question

    def _size(self, source: int) -> int:
        return min(self.plan.settings.batch_size, self._affordable(source))

    def _affordable(self, source: int) -> int:
        return max(1, int((self._left()[source] + SLACK) // self.plan.units[source]))

    def _ask_state(self, source: int, n: int) -> int:
        """Record a query and return its size; a source with pending items gets no further one."""
        owed = self.state.pending[source]
        if owed == 0:
            self._asked_in[source] = len(self.records)
            self.state = self.state.asked(source, n)
            return n
        return int(owed)

    def _absorb(self, answer: Answer, stored: Batch | None = None) -> tuple[Batch, str]:
        """Add an answer to the state, and judge again; `stored` has numbers known already."""
        k, name = answer.source, self.plan.sources[answer.source].name
        self._attempts[k] += 1
        if answer.kind != "answer":
            self._fail(answer)
            return Batch(()), answer.note
        self._failures[k] = 0
        # Delivered items are charged, duplicates and unusable ones too: the source was paid.
        self.spent += len(answer.batch) * float(self.plan.units[k])
        # No counts yet: all points are judged again below, and the counts replaced.
        self.state = self.state.answered(k, 0, 0, items=float(self.state.pending[k]))
        fresh, note = self._without_known(k, answer.batch)
        if stored is not None and len(fresh):
            fresh = _joined(fresh, stored)
        kept, left_out = self._prepare(name, fresh) if len(fresh) else (fresh, "")
        self.bought.append(kept.ids)
        if kept.strong_features is not None and kept.weak_proba is not None and len(kept):
            self.acquired.add(k, kept.strong_features, kept.weak_proba, kept.trust)
        self.delivered[k] += len(answer.batch)
        self._barren[k] = 0 if len(kept) else self._barren[k] + 1
        size = self.plan.sources[k].size
        if not len(answer.batch) or (size is not None and self.delivered[k] >= size):
            self.gone[k] = "it is empty"
        elif self._barren[k] >= PATIENCE:  # only duplicates: it might charge for them forever
            self.gone[k] = f"{PATIENCE} answers in a row brought nothing new"
        self._judge()
        notes = [text for text in (note, left_out) if text]
        if stored is None:  # the first time; a restored round has warned before
            for text in notes:
                warnings.warn(f"source {name!r}: {text}", DegenerateDataWarning, stacklevel=5)
        return kept, "; ".join(notes)

    def _fail(self, answer: Answer) -> None:
        k = answer.source
        self.bought.append(())
        self._failures[k] += 1
        # After a timeout the query is still out: its items stay pending, and their price reserved.
        if answer.kind == "failure":
            pending = self.state.pending.copy()
            pending[k] = 0
            self.state = replace(self.state, pending=pending)
        if self._failures[k] >= PATIENCE:
            self.gone[k] = f"given up after {PATIENCE} failures in a row: {answer.note}"
        logger.warning("round %d: %s", len(self.records), answer.note)

    def _without_known(self, k: int, batch: Batch) -> tuple[Batch, str]:
        """Drop items that were delivered before, by this source or another one."""
        rows, others = [], set()
        for row, name in enumerate(batch.ids):
            if name not in self._owner:
                self._owner[name] = k
                rows.append(row)
            elif self._owner[name] != k:
                others.add(self.plan.sources[self._owner[name]].name)
        n_dropped = len(batch) - len(rows)
        if not n_dropped:
            return batch, ""
        whose = f" (from source {', '.join(map(repr, sorted(others)))})" if others else ""
        note = (
            f"{n_dropped} of {len(batch)} delivered items were delivered before{whose}; "
            "dropped, and charged for"
        )
        return batch.take(np.array(rows, dtype=np.int64)), note

    def _judge(self) -> None:
        """Judge all sources, once each that can be queried has been."""
        # Before that, a source without a point would be compared with judged ones.
        if len(self.acquired) and not (self.open & (self._attempts == 0)).any():
            judgement = self.judge(self.acquired)
            self.judgement = judgement
            if judgement.successes is not None and judgement.trials is not None:
                self.state = self.state.reestimated(judgement.successes, judgement.trials)

    def summary(self) -> Mapping[str, Any]:
        """Return the progress so far, for `state.json`."""
        names = [source.name for source in self.plan.sources]
        return {
            "rounds": len(self.records),
            "spent": self.spent,
            "budget": self.plan.settings.budget,
            "items": len(self.acquired),
            "stopped": {names[k]: reason for k, reason in self.stopped.items()},
            "gone": {names[k]: reason for k, reason in self.gone.items()},
            "arms": {"names": names, **self.state.to_dict()},
        }


def _joined(batch: Batch, stored: Batch) -> Batch:
    """Return the items that were kept, with the numbers that were stored in the same order."""
    kept = set(stored.ids)
    batch = batch.take(np.array([i for i, name in enumerate(batch.ids) if name in kept], int))
    parts = {name: getattr(stored, name) for name in ("strong_features", "weak_proba")}
    return replace(batch, **{name: part for name, part in parts.items() if part is not None})
