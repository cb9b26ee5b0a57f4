"""One selection while it runs: choose, ask, take in, judge, commit; or all that from disk."""

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
from w2s_data.utils.typing import BoolArray, FloatArray
from w2s_selectors.objectives.acquired import Acquired
from w2s_selectors.objectives.base import Judgement, Task
from w2s_selectors.policies.state import ArmState
from w2s_selectors.session.checkpoint import Checkpoint, CheckpointError, Record
from w2s_selectors.session.plan import SLACK, Plan
from w2s_selectors.session.posterior import probability_best
from w2s_selectors.session.prepare import Preparer, check_delivered
from w2s_selectors.sources.base import ReplayableSource, SourceError, SourceTimeout
from w2s_selectors.sources.batch import Batch

logger = logging.getLogger("w2s_selectors")

PATIENCE = 3  # failures, or answers without anything new, in a row: then a source is given up


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of asking a source."""

    source: int
    kind: str
    asked: int
    batch: Batch
    note: str = ""


class Session:
    """The state of a running selection.

    Attributes
    ----------
    records : list of Record
    chosen : list of tuple of str
        Ids kept in each round.
    delivered : int array (K,)
        Items that have come, kept or not.
    gone : dict
        Source number -> why it can no longer be asked (dry, given up).
    """

    def __init__(
        self, plan: Plan, preparer: Preparer, checkpoint: Checkpoint | None, seed: int
    ) -> None:
        self.plan, self._prepare, self._checkpoint = plan, preparer, checkpoint
        n_sources = len(plan.sources)
        objective_seed, choice_seed = np.random.SeedSequence(seed).generate_state(2, np.uint64)
        self.seed = int(objective_seed >> np.uint64(1))
        self._rng = np.random.default_rng(choice_seed)
        task = Task(plan.costs, plan.settings.batch_size, plan.target, self.seed)
        self.judge = plan.objective.start(task)
        self.acquired = Acquired(n_sources)
        horizon = int(np.ceil(plan.settings.budget / (plan.settings.batch_size * plan.units.min())))
        self.state = ArmState.start(n_sources, costs=plan.costs, horizon=max(1, horizon))
        self.judgement: Judgement | None = None
        self.records: list[Record] = []
        self.chosen: list[tuple[str, ...]] = []
        self.gone: dict[int, str] = {}
        self.spent = 0.0
        self._owner: dict[str, int] = {}
        self._asked_in: dict[int, int] = {}  # round whose query a source has (yet) to answer
        self._attempts = np.zeros(n_sources, dtype=np.int64)
        self._failures = np.zeros(n_sources, dtype=np.int64)
        self._barren = np.zeros(n_sources, dtype=np.int64)
        self.delivered = np.zeros(n_sources, dtype=np.int64)

    def restore(self) -> None:
        """Go through the rounds that are on disk, and tell the sources what they delivered."""
        delivered: dict[int, list[str]] = {k: [] for k in range(len(self.plan.sources))}
        if self._checkpoint is not None:
            for record, stored in self._checkpoint.rounds():
                batch = self._delivered_in(record, stored)
                delivered[record.source] += batch.ids
                self._ask_state(record.source, record.asked)
                answer = Answer(record.source, record.kind, record.asked, batch, record.note)
                self._absorb(answer, stored)
                self._rng.bit_generator.state = record.generator
                self.records.append(record)
            received = self._checkpoint.received(len(self.records))
            if received is not None:  # of a round that was cut short
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
                f"{str(self._checkpoint.folder)!r} lacks what was received in round {record.round}"
            )
        return received[1]

    def run(self, on_round: Callable[[Record, Judgement | None], None]) -> str:
        """Ask until a stop rule holds; return it in words."""
        started = time.monotonic()
        while not (reason := self._finished(time.monotonic() - started)):
            source, scores = self._choose()
            on_round(self._round(source, scores), self.judgement)
        if time.monotonic() - started < (self.plan.settings.max_seconds or np.inf):
            nothing = np.full(len(self.plan.sources), np.nan)
            for late in np.flatnonzero(self.state.pending > 0).tolist():
                if late not in self.gone:
                    on_round(self._round(late, nothing), self.judgement)
        return reason

    def _round(self, source: int, scores: FloatArray) -> Record:
        n_open = int(self.open.sum())
        generator = copy.deepcopy(self._rng.bit_generator.state)
        answer = self._ask(source)
        before = self.spent
        kept, note = self._absorb(answer)
        reward, low, high, observed = self._standing(answer.source)
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
            observed=observed,
            reward=reward,
            reward_low=low,
            reward_high=high,
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
        """What a committed round holds: the ids kept, and the numbers that cannot be looked up."""
        known = answer.batch
        if not isinstance(self.plan.sources[answer.source], ReplayableSource):
            known = Batch(())
        strong = kept.strong_features if known.strong_features is None else None
        proba = kept.weak_proba if known.weak_proba is None else None
        return Batch(kept.ids, None, strong, proba)

    @property
    def open(self) -> BoolArray:
        """Sources that may be asked: there, not stopped, and affordable."""
        open_ = self.plan.units <= self._left() + SLACK
        open_[[*self.gone, *self.stopped]] = False
        return open_

    @property
    def stopped(self) -> dict[int, str]:
        """Stopped sources and why: by the objective unless kept, and by the user."""
        found = dict(self.judgement.stopped) if self.judgement is not None else {}
        found = {k: reason for k, reason in found.items() if k not in self.plan.keep}
        return found | dict.fromkeys(self.plan.stop, "stopped by the user")

    def _left(self) -> FloatArray:
        """Budget left for each source: what is pending at others, and its own, is set aside."""
        reserved = self.state.pending * self.plan.units
        return np.asarray(self.plan.settings.budget - self.spent - reserved.sum() + reserved)

    def _finished(self, seconds: float) -> str:
        plan, settings = self.plan, self.plan.settings
        if len(self.records) >= (settings.max_rounds or np.inf):
            return f"{len(self.records)} rounds were asked for"
        if seconds >= (settings.max_seconds or np.inf):
            return f"{settings.max_seconds:g} seconds were given"
        if not (plan.units <= self._left() + SLACK).any():
            return "the budget is spent"
        if not self.open.any():
            left = set(range(len(plan.sources))) - set(self.gone)
            if not left:
                return "no source has anything left"
            if left <= set(self.stopped):
                return "only stopped sources are left (keep= overrules)"
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
        """The source to ask, and what all sources were compared by."""
        nothing = np.full(len(self.plan.sources), np.nan)
        warming = self._warming()
        if warming.any() or self.judgement is None:
            turn = np.where(warming if warming.any() else self.open, self._attempts, np.inf)
            return int(turn.argmin()), nothing
        state = replace(self.state, active=self.open)
        if self.judgement.gains is not None:
            gains = np.where(np.isnan(self.judgement.gains), np.inf, self.judgement.gains)
            best = gains == gains[self.open].max()
            state = replace(state, active=self.open & best)
            return self.plan.policy.choose(state, self._rng), self.judgement.gains
        twin = copy.deepcopy(self._rng)  # the same draws as `choose` makes
        scores = self.plan.policy.scores(state, twin)
        return self.plan.policy.choose(state, self._rng), scores / state.costs

    def _ask(self, source: int) -> Answer:
        """Ask a source, and keep what it delivers before anything else happens."""
        number = len(self.records)
        received = self._checkpoint and self._checkpoint.received(number)
        if received:  # a round that was cut short after its answer had come
            source, batch = received
            asked = self._ask_state(source, self._size(source))
            return Answer(source, "answer", asked, batch)
        asked = self._ask_state(source, self._size(source))
        asked_of = self.plan.sources[source]
        try:
            batch = asked_of.query(asked, f"{self.seed:x}-{self._asked_in[source]}")
            check_delivered(asked_of.name, batch, self.acquired)
        except SourceTimeout as error:
            return Answer(source, "timeout", asked, Batch(()), str(error))
        except SourceError as error:
            return Answer(source, "failure", asked, Batch(()), str(error))
        except Exception as error:  # whatever a source of the user's own may raise
            said = f"source {asked_of.name!r} failed with {type(error).__name__}: {error}"
            return Answer(source, "failure", asked, Batch(()), said)
        if self._checkpoint is not None and not isinstance(asked_of, ReplayableSource):
            self._checkpoint.write_received(number, source, batch)
        return Answer(source, "answer", asked, batch)

    def _size(self, source: int) -> int:
        affordable = (self._left()[source] + SLACK) // self.plan.units[source]
        return int(max(1, min(self.plan.settings.batch_size, affordable)))

    def _ask_state(self, source: int, n: int) -> int:
        """Note that items are asked for; a source that still owes some is not asked for more."""
        owed = self.state.pending[source]
        if owed == 0:
            self._asked_in[source] = len(self.records)
            self.state = self.state.asked(source, n)
            return n
        return int(owed)

    def _absorb(self, answer: Answer, stored: Batch | None = None) -> tuple[Batch, str]:
        """Take an answer into the state, and judge anew; `stored` has numbers known already."""
        k, name = answer.source, self.plan.sources[answer.source].name
        self._attempts[k] += 1
        if answer.kind != "answer":
            self._fail(answer)
            return Batch(()), answer.note
        self._failures[k] = 0
        self.spent += len(answer.batch) * float(self.plan.units[k])
        self.state = self.state.answered(k, 0, 0, items=float(self.state.pending[k]))
        fresh, note = self._without_known(k, answer.batch)
        if stored is not None and len(fresh):
            fresh = _joined(fresh, stored)
        kept, left_out = self._prepare(name, fresh) if len(fresh) else (fresh, "")
        if not len(answer.batch):
            self.gone[k] = "it has nothing left"
        self._barren[k] = 0 if len(kept) else self._barren[k] + 1
        if self._barren[k] >= PATIENCE and k not in self.gone:
            self.gone[k] = f"{PATIENCE} answers in a row brought nothing new"
        size = self.plan.sources[k].size
        self.chosen.append(kept.ids)
        if kept.strong_features is not None and kept.weak_proba is not None and len(kept):
            self.acquired.add(k, kept.strong_features, kept.weak_proba)
        self.delivered[k] += len(answer.batch)
        if size is not None and self.delivered[k] >= size:
            self.gone.setdefault(k, "it has nothing left")
        self._judge()
        notes = [text for text in (note, left_out) if text]
        if stored is None:
            for text in notes:
                warnings.warn(f"source {name!r}: {text}", DegenerateDataWarning, stacklevel=5)
        return kept, "; ".join(notes)

    def _fail(self, answer: Answer) -> None:
        k = answer.source
        self.chosen.append(())
        self._failures[k] += 1
        if answer.kind == "failure":
            pending = self.state.pending.copy()
            pending[k] = 0
            self.state = replace(self.state, pending=pending)
        if self._failures[k] >= PATIENCE:
            self.gone[k] = f"given up after {PATIENCE} failures in a row: {answer.note}"
        logger.warning("round %d: %s", len(self.records), answer.note)

    def _without_known(self, k: int, batch: Batch) -> tuple[Batch, str]:
        """Drop items that came before, from this source or another one."""
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
        """Judge once every source that can be asked has been asked."""
        if len(self.acquired) and not (self.open & (self._attempts == 0)).any():
            judgement = self.judge(self.acquired)
            self.judgement = judgement
            if judgement.successes is not None and judgement.trials is not None:
                self.state = self.state.reestimated(judgement.successes, judgement.trials)

    def _standing(self, k: int) -> tuple[float, float, float, float]:
        j = self.judgement
        if j is None:
            return (np.nan,) * 4
        return float(j.rewards[k]), float(j.low[k]), float(j.high[k]), j.observed

    def summary(self) -> Mapping[str, Any]:
        """Where the selection stands, for `state.json`."""
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
    """Add the numbers that were stored with a round to its items."""
    place = {name: row for row, name in enumerate(stored.ids)}
    rows = [place[name] for name in batch.ids if name in place]
    batch = batch.take(np.array([i for i, name in enumerate(batch.ids) if name in place], int))
    known = stored.take(np.array(rows, dtype=np.int64))
    return replace(
        batch,
        strong_features=batch.strong_features
        if known.strong_features is None
        else known.strong_features,
        weak_proba=batch.weak_proba if known.weak_proba is None else known.weak_proba,
    )
