"""Folder of a selection, from which it resumes.

.lock                              held by the process that selects
checkpoint.json                    identity of the selection: version, seed, settings
asked/round-000007.json            the question of a round, written before it is asked
received/round-000007.parquet      items that a source delivered, written before anything else
rounds/round-000007.parquet        the round's items and, as its metadata, its record: the commit
state.json                         progress, for people; never read back
late/3/answer-000000.parquet       items that source 3 delivered too late, until they are used
features/                          feature store of the strong encoder
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from w2s_data._version import __version__
from w2s_data.errors import InputError
from w2s_data.utils import lock
from w2s_data.utils.io import (
    TEMPORARY_SUFFIX,
    atomic_path,
    json_bytes,
    jsonable,
    make_folder,
    remove_partial_files,
    write_json,
)
from w2s_data.utils.reading import reading
from w2s_selectors.sources.base import Batch
from w2s_selectors.sources.journal import read_batch, write_batch

SCHEMA = 1
HEADER = "checkpoint.json"
_RESUME = "delete it and all later rounds to resume from there (received items are kept)"


class CheckpointError(InputError):
    """A checkpoint is damaged, or belongs to another selection or version."""


@dataclass(frozen=True)
class Question:
    """A query that may have to be repeated: whether it was answered is known to the source only."""

    source: int
    n: int
    request: str


@dataclass(frozen=True)
class Record:
    """Record of one round: a row of the trace, and the state to resume from."""

    round: int
    source: int
    kind: str  # answer, timeout or failure
    asked: int
    delivered: int
    kept: int
    cost: float
    spent: float
    index: float
    observed: float
    reward: float
    reward_low: float
    reward_high: float
    n_open: int
    note: str
    left_out: tuple[str, ...]  # ids that were delivered and not kept
    scores: tuple[float, ...]  # one per source; NaN in the warm-up
    generator: Mapping[str, Any]  # its state after the choice, to resume from

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Restore a record from the JSON that `to_json` wrote."""
        # JSON has no NaN: it is written as null, and only NaN is.
        stored = json.loads(text).items()
        values: dict[str, Any] = {k: np.nan if v is None else v for k, v in stored}
        values["scores"] = tuple(np.nan if score is None else score for score in values["scores"])
        values["left_out"] = tuple(values["left_out"])
        return cls(**values)

    def to_json(self) -> str:
        """Return all fields as JSON; NaN as null."""
        return json.dumps(jsonable(asdict(self)), allow_nan=False)


@contextmanager
def checkpoint_in(
    folder: Path, identity: Mapping[str, Any], seed: int, *, resume: bool, wait: bool
) -> Iterator[Checkpoint]:
    """Open or begin the checkpoint in a folder, for this process alone; see `lock.writing`.

    Raise CheckpointError if the folder holds other files or another selection.
    """
    _check_ours(folder)
    make_folder(folder)
    with lock.writing(folder, f"the selection {os.fspath(folder)!r}", wait=wait):
        yield Checkpoint(folder, identity, seed, resume)


class Checkpoint:
    """Reader and writer of the folder of one selection; `identity` must be equal to resume."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], seed: int, resume: bool) -> None:
        self.folder = folder
        identity = jsonable(identity)  # as it reads back: tuples are lists then
        header = folder / HEADER
        if not header.is_file():
            self._begin(identity, seed)
            return
        if not resume:
            raise CheckpointError(
                f"{os.fspath(folder)!r} holds a selection already; pass resume=True, or another "
                "folder"
            )
        content = _read_header(header)
        with reading(header, "the checkpoint of a selection", error=CheckpointError):
            _check_identity(folder, content["identity"], identity)
            self.seed = int(content["seed"])  # also where the caller passed none
        remove_partial_files(folder)  # of a process that was killed while it wrote

    def _begin(self, identity: Mapping[str, Any], seed: int) -> None:
        _check_ours(self.folder)
        self.seed = seed
        content = {"schema": SCHEMA, "version": __version__, "seed": seed, "identity": identity}
        write_json(self.folder / HEADER, content)

    def rounds(self) -> Iterator[tuple[Record, Batch]]:
        """Yield the committed rounds in order; raise if one is damaged."""
        number = 0
        # The first gap ends them: a user may delete a damaged round and all later ones.
        while (path := self._path("rounds", number)).is_file():
            batch, text = read_batch(path, CheckpointError, _RESUME)
            with reading(path, "the record of a round", error=CheckpointError, advice=_RESUME):
                record = Record.from_json(text)
                if record.round != number:
                    raise ValueError(f"it is of round {record.round}")
            yield record, batch
            number += 1

    def asked(self, number: int) -> Question | None:
        """Return the question of a round that was not committed, or None."""
        path = self._path("asked", number).with_suffix(".json")
        if not path.is_file():
            return None
        with reading(path, "a question", error=CheckpointError, advice="delete it"):
            return Question(**json.loads(path.read_text(encoding="utf-8")))

    def write_asked(self, number: int, question: Question) -> None:
        """Write the question of a round."""
        write_json(self._path("asked", number).with_suffix(".json"), question)

    def received(self, number: int) -> tuple[int, Batch] | None:
        """Return the number of the source that answered in a round, and its items, or None."""
        path = self._path("received", number)
        if not path.is_file():
            return None
        batch, text = read_batch(path, CheckpointError)
        with reading(path, "the answer of a source", error=CheckpointError):
            record = json.loads(text)
            if record["round"] != number:
                raise ValueError(f"it is of round {record['round']}")
            return int(record["source"]), batch

    def write_received(self, number: int, source: int, batch: Batch) -> None:
        """Write the items that a source delivered."""
        record = json.dumps({"source": source, "round": number})
        write_batch(self._path("received", number), batch, record)

    def commit(self, record: Record, batch: Batch, state: Mapping[str, Any]) -> None:
        """Write a round's items and record."""
        # Items and record are one file, moved into place: a round has happened, or it has not.
        write_batch(self._path("rounds", record.round), batch, record.to_json())
        # Nothing reads it back, and it is written every round.
        with atomic_path(self.folder / "state.json", durable=False) as partial:
            partial.write_bytes(json_bytes(state))

    def late(self, source: int) -> Path:
        """Return the folder for items that a source delivers too late."""
        return self.folder / "late" / str(source)

    def _path(self, part: str, number: int) -> Path:
        return self.folder / part / f"round-{number:06d}.parquet"


def _check_ours(folder: Path) -> None:
    if (folder / HEADER).is_file():
        return
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    if folder.is_file() or any(n != lock.LOCK and not n.endswith(TEMPORARY_SUFFIX) for n in names):
        raise CheckpointError(
            f"{os.fspath(folder)!r} exists and is not the checkpoint of a selection (it has no "
            f"{HEADER}); pass another folder"
        )


def _read_header(path: Path) -> Any:
    with reading(path, "the checkpoint of a selection", error=CheckpointError):
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
    if schema != SCHEMA:
        raise CheckpointError(
            f"{os.fspath(path.parent)!r} was written by another version (schema {schema!r}, "
            f"w2s-data {content.get('version')}; this is {__version__} with schema {SCHEMA}); "
            "finish it with that version, or pass another folder"
        )
    return content


def _check_identity(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    # All differences at once, so that a user does not find them one by one.
    different = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if different:
        settings = "; ".join(
            f"{name} {there.get(name)!r:.80} (not {here.get(name)!r:.80})" for name in different
        )
        raise CheckpointError(
            f"{os.fspath(folder)!r} belongs to another selection, with {settings}; pass another "
            "folder"
        )
