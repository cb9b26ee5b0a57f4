"""Checks before the first long step: of settings first, and with the data set once it is read.

Each stage has a check beside its function, declared in `w2s_data.stages.graph`. A check builds what
the stage would build and throws it away, so that the rules stand in the constructors only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2s_data.compute.device import resolve_device
from w2s_data.compute.engines import make_engine
from w2s_data.compute.tracking import check_trackers
from w2s_data.data.columns import Task
from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import InputError, WriteError
from w2s_data.stages.graph import check_of, stage_of
from w2s_data.stages.settings import ComputeSettings, OpenedSettings


@dataclass(frozen=True)
class Known:
    """Facts that a check may use; before the data set is read there are only settings.

    Attributes
    ----------
    dataset : W2SDataset or None
    roles : frozenset of str
        Roles, weak and strong, that have features or will have them once the run is embedded.
    teachers : bool
        Whether the weak labels are those of teachers that the run has, or will have.
    task : "classification", "regression" or None
        Task of the data set, as far as it is known before the data set is.
    """

    dataset: W2SDataset | None = None
    roles: frozenset[str] = field(default_factory=frozenset)
    teachers: bool = False
    task: Task | None = None


NOTHING = Known()


def check_stages(planned: Mapping[str, Any], known: Known = NOTHING) -> None:
    """Raise what stages would raise for their settings (by stage), or for the data set."""
    task = known.task if known.dataset is None else known.dataset.task
    for name, settings in planned.items():
        stage = stage_of(name)
        try:
            check_of(stage, task or "classification")(settings, known)
        except InputError:
            if task is not None or not stage.values_check:
                raise
            # The data tell later; settings that suit either task are no mistake yet.
            try:
                check_of(stage, "regression")(settings, known)
            except InputError:
                pass
            else:
                continue
            raise


def check_compute(settings: ComputeSettings) -> None:
    """Raise for an engine, a device or a tracker that cannot be had here."""
    if isinstance(settings, OpenedSettings):
        check_trackers(settings.log_to)
    make_engine(settings.engine, address=settings.address, workers=settings.workers)
    # The devices of a cluster are its own, and "auto" and "cpu" are everywhere.
    if settings.engine == "local" and settings.device not in ("auto", "cpu"):
        resolve_device(settings.device)


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raise unless files can be written into a folder, or into the one it would be made in."""
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    if not (path.is_dir() and os.access(path, os.W_OK | os.X_OK)):
        kind = "cannot be written to" if path.is_dir() else "is a file, not a folder"
        raise WriteError(f"{os.fspath(path)!r} {kind}: choose another output")
