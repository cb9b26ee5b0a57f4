"""Open the run of a data set, or make one."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.load import load_dataset
from w2s_data.encoders import make_encoder
from w2s_data.errors import EncoderError, InputError
from w2s_data.run import Run, check_place
from w2s_data.stages.checks import check_writable
from w2s_data.stages.rounds import labelled_by
from w2s_data.stages.settings import DataSettings, RunSettings

RUNS = Path("runs")  # where runs go that nobody named a place for


def open_run(
    data: DataSettings, settings: RunSettings, strong: Any = None, keep: Sequence[str] = ()
) -> Run:
    """Open the run that `data.path` is, or load the data set and make a run of it.

    `keep` are columns that teachers read.

    Chat messages are rendered by the template of the strong model, if `data` names no other.

    Raises
    ------
    InputError
        If there is no data set, or columns are given for a run, whose columns are fixed.
    """
    if isinstance(data.path, str | os.PathLike) and Run.exists(data.path):
        return _reopened(data, settings)
    return _opened(data, settings, strong, keep)


def _opened(data: DataSettings, settings: RunSettings, strong: Any, keep: Sequence[str]) -> Run:
    """Load a data set with the labels of earlier rounds and of new tables, and open its run."""
    output = settings.output
    # Drive letters have one letter; longer schemes are URLs.
    if output is not None and re.match(r"\w{2,}:", os.fspath(output)):
        raise InputError(
            f"output must be a folder on this machine's disk; got {os.fspath(output)!r}. Data may "
            "be read from URLs"
        )
    # Before the data set is read, which may take long.
    if output is not None:
        check_place(output)
    check_writable(RUNS if output is None else output)
    seed = 0 if settings.seed is None else settings.seed
    dataset = _loaded(data, settings, strong, seed, keep)
    folder = RUNS / dataset.name if output is None else Path(output)
    known = Run.exists(folder) and not settings.overwrite
    earlier = Run.open(folder, wait=settings.wait) if known else None
    labelled, labelling = labelled_by(
        dataset, data.labels, earlier, base=dataset.fingerprint, memory=settings.memory
    )
    run = Run.create(
        folder,
        labelled,
        source=_source(data.path),
        seed=seed,
        overwrite=settings.overwrite,
        wait=settings.wait,
        labelling=labelling,
    )
    run.extra = dataset.extra
    return run


def _reopened(data: DataSettings, settings: RunSettings) -> Run:
    given = sorted(data.model_fields_set - {"path", "labels"})
    if settings.output is not None:
        given.append("output")
    if given:
        raise InputError(
            f"{os.fspath(data.path)!r} is a run, whose columns and splits are fixed: {given[0]} "
            "requires the data file instead"
        )
    run = Run.open(data.path, wait=settings.wait)
    if settings.seed is not None:
        run.seed = settings.seed
    if data.labels:
        before = run.labelling()
        dataset, labelling = labelled_by(
            run.dataset(), data.labels, run, base=run.base, memory=settings.memory
        )
        if labelling != before:
            run.relabel(dataset, labelling)
    return run


def _loaded(
    data: DataSettings, settings: RunSettings, strong: Any, seed: int, keep: Sequence[str]
) -> W2SDataset:
    if isinstance(data.path, W2SDataset):
        return data.path
    given: dict[str, Any] = data.model_dump(
        exclude_none=True, exclude={"path", "labels", "skip_unreadable"}
    )
    unreadable: Literal["skip", "error"] = "skip" if data.skip_unreadable else "error"
    given.setdefault("chat_template", _model_of(strong))
    memory = MemoryLimit.parse(settings.memory)
    return load_dataset(
        data.path, **given, keep=keep, unreadable=unreadable, memory=memory, random_state=seed
    )


def _model_of(strong: Any) -> Any:
    """Return the pretrained model of an encoder or of its name; None for any other encoder."""
    with suppress(EncoderError):  # a wrong name is reported where the encoder is made
        encoder = make_encoder(strong, "text") if isinstance(strong, str) else strong
        return getattr(encoder, "model", None)
    return None


def _source(path: Any) -> str | None:
    """Return the name by which the report calls the data; never a path of this machine."""
    if not isinstance(path, str | os.PathLike):
        return None
    text = os.fspath(path)
    return text if text.startswith("example:") else Path(text).name
