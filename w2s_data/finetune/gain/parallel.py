"""Training students on an engine: one task a (method, seed), kept in the checkpoint."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from w2s_data.compute.base import Advance, Engine, no_advance
from w2s_data.errors import DegenerateDataWarning, InputError, RunError
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.finetune.gain.checkpoint import Checkpoint, Predictions
from w2s_data.finetune.gain.training import Laboratory, Trained
from w2s_data.finetune.methods.base import Method
from w2s_data.utils.typing import FloatArray, IntArray


class Task(NamedTuple):
    """A student to train: the arguments of `Laboratory._fit`, with one seed."""

    name: str
    method: Method
    rows: IntArray
    teachers: FloatArray
    seed: int
    told: bool
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class _Planner(Laboratory):
    """Lists the students that a laboratory would train and does not find in its checkpoint."""

    tasks: list[Task] = field(default_factory=list)

    def _train(
        self,
        name: str,
        method: Method,
        rows: IntArray,
        teachers: FloatArray,
        refused: type[InputError] = InputError,  # noqa: ARG002
        told: bool = False,
        **changes: Any,
    ) -> Trained:
        for seed in self.seeds:
            if self.checkpoint.read(name, method, seed) is None:
                self.tasks.append(Task(name, method, rows, teachers, seed, told, changes))
            else:
                self.advance(1)
        return Trained({})


def train_ahead(laboratory: Laboratory, methods: Mapping[str, Method], engine: Engine) -> None:
    """Train all students that are missing, and keep each in the checkpoint once it is finished.

    A laboratory that then trains by itself finds them there. A student that cannot be trained is
    left to it, so that it fails there with the words it would have without an engine.
    """
    fields = {f.name: getattr(laboratory, f.name) for f in dataclasses.fields(laboratory)}
    planner = _Planner(**fields)
    planner.ceiling()
    planner.labelled_only()
    for name, method in methods.items():
        planner.method(name, method)
    tasks = planner.tasks
    if not tasks:
        return
    place = engine.place(str(laboratory.settings["device"]))
    bench = _sent(laboratory, place)
    notes: list[list[str]] = [[] for _ in tasks]
    for number, (predictions, said) in engine.map_blocks(
        train, bench, tasks, ordered=False, device=place
    ):
        task, notes[number] = tasks[number], said
        if predictions is not None:
            laboratory.checkpoint.write(task.name, task.method, task.seed, predictions)
        laboratory.advance(1)
    for note in (note for said in notes for note in said):
        warnings.warn(note, DegenerateDataWarning, stacklevel=2)


def train(
    laboratory: Laboratory,
    task: Task,
    advance: Advance,  # noqa: ARG001
) -> tuple[Predictions | None, list[str]]:
    """Train one student: its predictions, or None where it cannot be trained, and warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DegenerateDataWarning)
        try:
            predictions = laboratory._fit(
                *(task.name, task.method, task.rows, task.teachers),
                *([task.seed], task.told, task.changes),
            )[task.seed]
        except RunError:
            raise
        except InputError:
            return None, []
    kinds = (str(w.message) for w in caught if issubclass(w.category, DegenerateDataWarning))
    return predictions, list(kinds)


def _sent(laboratory: Laboratory, place: str) -> Laboratory:
    """The laboratory as workers get it: features instead of files, and nothing to write to."""
    data = laboratory.data
    if not isinstance(data.inputs, list):
        features = ArrayFeatures(data.inputs.take(slice(None)))
        data = dataclasses.replace(data, inputs=features)
    return dataclasses.replace(
        laboratory,
        data=data,
        settings={**laboratory.settings, "device": place},
        checkpoint=Checkpoint(None, {}, resume=True),
        advance=no_advance,
    )
