"""A stage of a run as a record; `w2s_data.stages.graph` declares all of them.

This module imports nothing heavy, since the command line reads it to answer `--help`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

StageName = Literal[
    "items",
    "embed",
    "teach",
    "score",
    "forecast",
    "select",
    "gain",
    "groups",
    "next",
    "plan",
    "export",
    "sweep",
    "projection",
    "report",
]
ITEMS_TABLE = "items.parquet"
VECTORS = "items.npy"  # of items that are feature vectors: read from there block by block
WEAK_PROBA = "weak_proba.parquet"
WEAK_VALUES = "weak_values.parquet"  # in its place where labels are values
ROUNDS = "rounds.json"
# Settings that a command has to say again so that a stage runs as it ran, but for such values.
REPEATED = {
    "gain": ("methods", "seeds", "tuning", "model", "test_by"),
    "plan": ("budget", "gold_cost", "weak_cost"),
}
UNSAID = {"tuning": "head"}


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline: what it reads, what it writes, and how it is run.

    >>> files = {"gain.json": "measures the gain"}
    >>> Stage("gain", ("score",), files=files, command="w2s gain RUN").hint()
    '`w2s gain RUN` measures the gain.'
    """

    name: StageName
    needs: tuple[str, ...] = ()  # must be finished; when one changes, this stage runs again
    uses: tuple[str, ...] = ()  # are read where they are finished; the same holds for them
    # The same, but only to set their results beside its own: these stand when they change.
    compares: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)  # each with what it adds to a run
    optional: tuple[str, ...] = ()  # files that are written for some data only
    schema: int = 1  # version of the files; each summary holds it under "schema"
    command: str = ""  # of the shell, that runs the stage on a run directory RUN
    function: str = ""  # "module:name" that runs it, imported when it is called
    check: str = ""  # "module:name" that refuses settings it cannot run with, in no time
    # On runs whose labels are values: another function and check, or the reason why there is none.
    # A stage without either runs there as it does elsewhere.
    values: str = ""
    values_check: str = ""
    no_values: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Stages whose results this one depends on."""
        return (*self.needs, *self.uses, *self.compares)

    @property
    def summaries(self) -> tuple[str, ...]:
        """Its JSON files, the main one first."""
        return tuple(name for name in self.files if name.endswith(".json"))

    def with_options(self, target: str = "RUN", **options: str) -> str:
        """Return the command on RUN or DATA with options; an empty value is that of a switch.

        >>> Stage("gain", command="w2s gain RUN").with_options(seeds="5", resume="")
        'w2s gain RUN --seeds 5 --resume'
        """
        words = [self.command.replace("RUN", target)]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", value]
        return " ".join(filter(None, words))

    def hint(self, file: str | None = None) -> str:
        """Return a sentence that says which command adds a file (the main one by default)."""
        return f"`{self.command}` {self.files[file or next(iter(self.files))]}."


@dataclass(frozen=True)
class StageResult:
    """The summary of a finished stage: its main JSON file, and others by name without suffix."""

    summary: dict[str, Any]
    fresh: bool = False  # nothing had changed, so that the earlier result was read


def again(stage: str, run: object, stages: Mapping[str, Any]) -> str:
    """Return the command that runs a stage as it ran, by the records of all finished stages.

    >>> again("plan", "runs/a", {"plan": {"settings": {"budget": 50.0, "weak_cost": 0.001}}})
    'w2s plan runs/a --budget 50 --weak-cost 0.001'
    """
    # The map has no command of its own.
    words = [f"w2s {'report' if stage == 'projection' else stage} {run}"]
    settings = stages.get(stage, {}).get("settings", {})
    for name in REPEATED.get(stage, ()):
        value = settings.get(name)
        if value is None or value == UNSAID.get(name):
            continue
        text = ",".join(value) if isinstance(value, Mapping) else value
        text = f"{text:g}" if isinstance(text, float) else str(text)
        words.append(f"--{name.replace('_', '-')} {shlex.quote(text)}")
    return " ".join(words)


def repair(stage: str, run: object, stages: Mapping[str, Any]) -> str:
    """Return what writes a stage's files again, see `again`.

    >>> repair("score", "runs/digits", {})
    'run `w2s score runs/digits` again'
    """
    if stage == "items":  # whose data lie elsewhere
        return f"make the run again from its data: `w2s score DATA -o {run}`"
    return f"run `{again(stage, run, stages)}` again"


ITEMS = Stage(
    "items",
    files={ITEMS_TABLE: "stores the items"},
    optional=(VECTORS, WEAK_PROBA, WEAK_VALUES, ROUNDS),
)
