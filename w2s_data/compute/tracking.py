"""Experiment trackers: the numbers of finished stages, and the losses of trainings, sent elsewhere.

The trackers are those of accelerate, which knows how each of them is started and written to.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from w2s_data.errors import InputError, MissingExtraError, find, first_line, require

logger = logging.getLogger("w2s_data")

PROJECT = "w2s-data"  # unless the tracker's own environment variable names another
# Lists of a summary whose records are headlines; of groups and rounds there may be hundreds.
LISTED = ("options", "students", "sources")
NO_RESULT = ("schema", "level")
NAMING = ("name", "source")


class Tracking:
    """Sends numbers to trackers, at steps that only grow; without trackers it does nothing.

    A tracker that fails is left out from there on, with a warning: a dashboard that cannot be
    reached must not cost a training.
    """

    def __init__(self) -> None:
        self.trackers: dict[str, Any] = {}
        # wandb drops what comes for an earlier step, so that stages and methods share one count.
        self._step = 0

    def __bool__(self) -> bool:
        return bool(self.trackers)

    def log(self, name: str, numbers: Mapping[str, float]) -> None:
        """Send numbers under the name of a stage or a training."""
        # Other characters are refused by mlflow.
        sent = {re.sub(r"[^\w\-./ ]", "_", f"{name}/{key}"): one for key, one in numbers.items()}
        if sent:
            self._each(lambda tracker: tracker.log(sent, step=self._step))
            self._step += 1

    def stage(self, name: str, summary: Mapping[str, Any]) -> None:
        """Send the main numbers of a finished stage."""
        if self.trackers:
            self.log(name, headline(summary))

    def finish(self) -> None:
        """Close all trackers."""
        self._each(lambda tracker: tracker.finish())

    def _each(self, send: Callable[[Any], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                _call(send, tracker)
            except Exception as error:
                logger.warning(
                    "warning: %s no longer receives numbers: %s", name, first_line(error)
                )
                del self.trackers[name]


def _call(send: Callable[[Any], None], tracker: Any) -> None:
    """Call a tracker of accelerate, whose words do not belong into what a command prints."""
    # Its logger asks for this state, which every training of a whole model makes again.
    require("accelerate", "train").PartialState()
    with redirect_stdout(sys.stderr):  # trackio prints
        send(tracker)


def headline(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the main numbers of a stage's summary, estimates with both limits.

    >>> headline({"schema": 1, "density": {"value": 0.2, "low": 0.1, "high": 0.3, "level": 0.95}})
    {'density': 0.2, 'density_low': 0.1, 'density_high': 0.3}
    >>> headline({"options": [{"name": "both", "accuracy": 0.7}]})
    {'both/accuracy': 0.7}
    """
    found = _numbers({key: value for key, value in summary.items() if key not in NO_RESULT})
    for record in (record for key in LISTED for record in summary.get(key) or ()):
        if (name := next((record[key] for key in NAMING if key in record), None)) is None:
            continue
        found |= {f"{name}/{key}": number for key, number in _numbers(record).items()}
        for inner in ("scores", "gains"):
            own = _numbers(record.get(inner) or {})
            found |= {f"{name}/{inner}/{key}": number for key, number in own.items()}
    return found


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a record, and its estimates as three of them."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys():
            flat |= {key: value["value"], f"{key}_low": value["low"], f"{key}_high": value["high"]}
        else:
            flat[key] = value
    numeric = {key: one for key, one in flat.items() if type(one) in (int, float)}
    return {key: float(one) for key, one in numeric.items() if math.isfinite(one)}


def check_trackers(names: Sequence[str]) -> None:
    """Raise MissingExtraError unless all trackers are installed."""
    if names:
        find("accelerate", "train")
    for name in names:
        if find_spec(name) is None:
            raise MissingExtraError(
                f"log_to {name!r} needs the package {name!r}, which is not installed: "
                f"pip install {name}"
            )


@contextmanager
def start_trackers(names: Sequence[str], folder: Path) -> Iterator[Tracking]:
    """Start trackers of a run that lies in a folder, and close them in the end.

    TensorBoard writes into the folder; the others write where their own settings say.

    Raises
    ------
    MissingExtraError
        If one of them is not installed.
    InputError
        If one of them cannot be started, for want of a login for example.
    """
    # Where several processes train together, the first one tells.
    names = names if os.environ.get("RANK", "0") == "0" else ()
    check_trackers(names)
    tracking = Tracking()
    try:
        for name in names:
            tracking.trackers[name] = _start(name, folder)
        yield tracking
    finally:
        tracking.finish()


def _start(name: str, folder: Path) -> Any:
    classes = require("accelerate.tracking", "train")
    title = folder.absolute().name
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    make: dict[str, Callable[[], Any]] = {
        "wandb": lambda: classes.WandBTracker(project, name=title),
        "mlflow": lambda: classes.MLflowTracker(PROJECT, run_name=title),
        "tensorboard": lambda: classes.TensorBoardTracker("tensorboard", logging_dir=folder),
        "trackio": lambda: classes.TrackioTracker(PROJECT, name=title),
    }
    try:
        tracker = make[name]()
        _call(lambda it: it.start(), tracker)
    except Exception as error:
        raise InputError(
            f"log_to: {name} could not be started ({first_line(error)}); see that it works by "
            "itself, or leave it out"
        ) from error
    return tracker
