"""Training students on an engine: one task per (method, seed), kept in the checkpoint."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping

from w2s_data.compute.base import Advance, Engine
from w2s_data.errors import DegenerateDataWarning, InputError, RunError
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.finetune.gain.checkpoint import Checkpoint, Predictions
from w2s_data.finetune.gain.training import GOLD_SPLITS, Job, Laboratory
from w2s_data.finetune.methods.base import Method
from w2s_data.utils.progress import no_advance


def train_ahead(laboratory: Laboratory, methods: Mapping[str, Method], engine: Engine) -> None:
    """Train all students that are missing, and store each in the checkpoint once it is finished.

    A laboratory that then trains in this process reads them from there. A student that cannot be
    trained is left to it, so that it fails there with the message it has without an engine.
    """
    jobs = [job for name in GOLD_SPLITS if (job := laboratory.reference_job(name)) is not None]
    jobs += [laboratory.method_job(name, method) for name, method in methods.items()]
    tasks, checkpoint, n_seeds = [], laboratory.checkpoint, len(laboratory.seeds)
    laboratory.advance(n_seeds * (len(GOLD_SPLITS) + len(methods) - len(jobs)))  # cannot be trained
    for job in jobs:
        missing = [s for s in laboratory.seeds if laboratory.stored(job, s) is None]
        tasks += [(job, seed) for seed in missing]
        laboratory.advance(n_seeds - len(missing))
    if not tasks:
        return
    place = engine.place(laboratory.settings.device)
    portable = _portable(laboratory, place)
    if laboratory.settings.identity()["l2"] == "cv":
        # Once for the same labels, as in this process, and not again for every student of them.
        by_labels = {job.labels: job for job, _ in reversed(tasks)}
        chosen = engine.map_blocks(choose, portable, list(by_labels.values()), device=place)
        penalties = zip(by_labels, (l2 for _, l2 in chosen), strict=True)
        portable.penalties.update((labels, l2) for labels, l2 in penalties if l2 is not None)
    notes: list[list[str]] = [[] for _ in tasks]
    for number, (predictions, messages) in engine.map_blocks(
        train, portable, tasks, ordered=False, device=place
    ):
        (job, seed), notes[number] = tasks[number], messages
        if predictions is not None:
            checkpoint.write(job.name, job.method, seed, predictions)
        laboratory.advance(1)
    # In the order of the tasks: the result must not depend on which worker was faster.
    for note in (note for messages in notes for note in messages):
        warnings.warn(note, DegenerateDataWarning, stacklevel=2)


def choose(laboratory: Laboratory, job: Job, advance: Advance) -> float | None:  # noqa: ARG001
    """Choose the penalty for a job's labels, or None if it cannot be trained."""
    # Training gives the same warnings, and the message of what it cannot train.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        try:
            return laboratory.choose_penalty(job)
        except RunError:
            raise
        except InputError:
            return None


def train(
    laboratory: Laboratory,
    task: tuple[Job, int],
    advance: Advance,  # noqa: ARG001
) -> tuple[Predictions | None, list[str]]:
    """Train one seed of a job: its predictions, or None if it cannot be trained, and warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DegenerateDataWarning)
        try:
            predictions = laboratory.fit(task[0], [task[1]])[task[1]]
        except RunError:  # a damaged file is no property of the method
            raise
        except InputError:
            return None, []
    kinds = (str(w.message) for w in caught if issubclass(w.category, DegenerateDataWarning))
    return predictions, list(kinds)


def _portable(laboratory: Laboratory, place: str) -> Laboratory:
    """Return a copy for workers: features instead of files, and no checkpoint to write to."""
    data = laboratory.data
    if not isinstance(data.inputs, list):
        features = ArrayFeatures(data.inputs.take(slice(None)))
        data = dataclasses.replace(data, inputs=features)
    return dataclasses.replace(
        laboratory,
        data=data,
        settings=laboratory.settings.replace(device=place),
        checkpoint=Checkpoint(None, {}, resume=True),
        advance=no_advance,
        progress=False,
    )
