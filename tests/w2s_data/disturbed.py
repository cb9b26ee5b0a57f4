"""Commands that are killed, and commands that run at the same time, on one run directory.

    python -m tests.w2s_data.disturbed KILLS PAIRS [SEED]

Commands run in forks of this process, which has imported what they need. Each is disturbed on a
copy of a run, repeated where it was killed, and its run compared with an undisturbed one.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ENDED = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
RESUMES = "the same command resumes from here"
MODELS = ("--weak", "tfidf:4", "--strong", "tfidf:24")
CONFIG = """
[data]
path = "data.csv"
source = "site"
label = "label"
[run]
output = "run"
[weak]
encoder = "tfidf:4"
[strong]
encoder = "tfidf:24"
[gain]
methods = ["naive", "confidence"]
seeds = 2
epochs = 20
[select]
batch_size = 10
[report]
map = false
"""
STAGES: dict[str, tuple[str, ...]] = {
    "embed": ("embed", "data.csv", "--label", "label", "--source", "site", "-o", "run", *MODELS),
    "score": ("score", "run"),
    "forecast": ("forecast", "run"),
    "select": ("select", "run", "--batch-size", "10"),
    "gain": ("gain", "run", "--methods", "naive,confidence", "--seeds", "2", "--epochs", "20"),
    "groups": ("groups", "run"),
    "report": ("report", "run", "--no-map"),
    "apply": ("apply", "run", "new.csv"),
    "apply vectors": ("apply", "run", "vectors.npy", "--to", "run/labels.csv"),
    "run": ("run", "w2s.toml"),
}
# The command whose run a command is given; none is given the data alone.
BEFORE: dict[str, str | None] = {
    "embed": None,
    "score": "embed",
    "apply": "gain",
    "apply vectors": "gain",
    "run": None,
    **dict.fromkeys(("forecast", "select", "gain", "groups", "report"), "score"),
}
PAIRS = (
    ("gain", "groups"),
    ("forecast", "gain"),
    ("score", "score"),
    ("embed", "embed"),
    ("report", "gain"),
    ("select", "select"),
    ("forecast", "select"),
    ("groups", "groups"),
    ("apply", "apply"),
    ("run", "run"),
)


@dataclass
class Outcome:
    """Result of a campaign: how often commands were hit, and what differed afterwards."""

    hit: Counter[str] = field(default_factory=Counter)
    waited: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class Child:
    """A command in a fork of this process."""

    pid: int
    log: Path

    def wait(self) -> int:
        """Return the exit code; of a process that a signal ended, the negative signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def text(self) -> str:
        """Return its output."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def start(folder: Path, words: Sequence[str], name: str = "log") -> Child:
    """Run `w2s` in a fork, in a folder."""
    log = folder / f"{name}.txt"
    pid = os.fork()
    if pid:
        return Child(pid, log)
    code = 99
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["w2s", *words]
        from w2s_data.cli import main

        main(list(words))
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def warm_up() -> None:
    """Import what the commands import, so that a fork starts at once."""
    for module in (
        "faiss",
        "torch",
        "w2s_data.audit",
        "w2s_data.cli",
        "w2s_data.finetune.gain.measure",
        "w2s_data.stages.inspection",
        "w2s_reports.report",
        "w2s_selectors.stage",
    ):
        importlib.import_module(module)


def write_data(folder: Path) -> None:
    """Texts of two classes from three sites, and a configuration."""
    rng = np.random.default_rng(0)
    words = {
        0: ["bad", "dull", "slow", "weak", "grey", "cold"],
        1: ["good", "warm", "quick", "bright", "fine", "new"],
    }
    both = ["film", "day", "item", "place", "thing", "story", "house", "road"]
    label = rng.integers(0, 2, 360)
    texts = [
        " ".join([*rng.choice(words[y], 2), *rng.choice(both, 4), f"n{i}"])
        for i, y in enumerate(label.tolist())
    ]
    frame = pd.DataFrame({"text": texts, "label": label, "site": rng.choice(list("abc"), 360)})
    frame.to_csv(folder / "data.csv", index=False)
    (folder / "w2s.toml").write_text(CONFIG)
    frame[["text"]].assign(text=frame["text"] + " later").to_csv(folder / "new.csv", index=False)
    # Enough that most of the time goes into the table.
    np.save(folder / "vectors.npy", rng.normal(size=(200_000, 24)).astype(np.float32))


def content(run: Path) -> dict[str, Any]:
    """Everything of a run that follows from data and settings, and the names of all its files."""
    manifest = json.loads((run / "manifest.json").read_text())
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != ".lock")
    told = ("*.parquet", "*.json", "*.csv", "neighbors.faiss")
    return {
        "data": manifest["data"],
        "stages": {
            name: [record["key"], record["settings"], sorted(record["files"])]
            for name, record in manifest["stages"].items()
        },
        "names": [path.relative_to(run).as_posix() for path in files],
        "bytes": {
            path.name: path.read_bytes()
            for pattern in told
            for path in run.glob(pattern)
            if path.name != "manifest.json"
        },
    }


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Name what differs between two runs."""
    found = [
        f"stage {n}"
        for n in {**a["stages"], **b["stages"]}
        if a["stages"].get(n) != b["stages"].get(n)
    ]
    found += [f"file {n}" for n in set(a["names"]) ^ set(b["names"])]
    return found + [
        f"bytes {n}" for n in a["bytes"] if n in b["bytes"] and a["bytes"][n] != b["bytes"][n]
    ]


class Bench:
    """Copies of a run before each command, and how long the command takes on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "start").mkdir(parents=True)
        write_data(folder / "start")
        self.after: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}

    def copy(self, name: str) -> Path:
        """Copy the state before a command; the commands that make it run where they have not."""
        before = BEFORE[name]
        if before is not None:
            self.undisturbed(before)
        place = self.folder / "work"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.folder / (before or "start"), place)
        return place

    def undisturbed(self, name: str) -> dict[str, Any]:
        """Return the run after a command that nothing disturbs."""
        if name not in self.after:
            place = self.copy(name)
            started = time.monotonic()
            child = start(place, STAGES[name])
            if child.wait():
                raise RuntimeError(f"{name} failed: {child.text()}")
            self.seconds[name] = time.monotonic() - started
            self.after[name] = content(place / "run")
            shutil.copytree(place, self.folder / name)
        return self.after[name]

    def in_order(self, first: str, second: str) -> dict[str, Any]:
        """Return the run after two commands, one after the other."""
        place = self.copy(second if BEFORE[second] is not None else first)
        for name in (first, second):
            child = start(place, STAGES[name])
            if child.wait():
                raise RuntimeError(f"{name} failed: {child.text()}")
        return content(place / "run")


def kill(bench: Bench, n: int, rng: np.random.Generator) -> Outcome:
    """Kill commands at random moments, repeat them, and compare their runs."""
    outcome = Outcome()
    plans: Iterator[tuple[str, signal.Signals]] = itertools.cycle(
        [(name, number) for number in SIGNALS for name in STAGES]
    )
    for name, number in itertools.islice(plans, n):
        undisturbed = bench.undisturbed(name)
        place = bench.copy(name)
        child = start(place, STAGES[name])
        time.sleep(rng.uniform(0.02, 1.0) * bench.seconds[name])
        os.kill(child.pid, number)
        code = child.wait()
        about = f"{name} {number.name}"
        if code == 0:
            outcome.hit["too late"] += 1
        elif code == ENDED[number]:
            outcome.hit[number.name] += 1
            if number != signal.SIGKILL and RESUMES not in child.text():
                outcome.faults.append(f"{about}: no word of resuming: {child.text()[-300:]}")
        elif code != -number:  # before the command had set its handler
            outcome.faults.append(f"{about}: exit code {code}: {child.text()[-600:]}")
        again = start(place, STAGES[name])
        if again.wait():
            outcome.faults.append(f"{about}: not repeated: {again.text()[-300:]}")
            continue
        outcome.faults += [
            f"{about}: {d}" for d in differences(content(place / "run"), undisturbed)
        ]
    return outcome


def run_together(bench: Bench, n: int, rng: np.random.Generator) -> Outcome:
    """Run pairs of commands at once; the run must be as if one had followed the other."""
    from w2s_data.stages.inspection import inspect_run

    outcome = Outcome()
    orders: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for pair in itertools.islice(itertools.cycle(PAIRS), n):
        if pair not in orders:
            orders[pair] = [bench.in_order(*pair), bench.in_order(*pair[::-1])]
        place = bench.copy(pair[1])
        children = []
        for k, name in enumerate(pair):
            children.append(start(place, STAGES[name], f"log{k}"))
            time.sleep(rng.uniform(0, 0.3))
        codes = [child.wait() for child in children]
        texts = [child.text() for child in children]
        about = " + ".join(pair)
        outcome.waited += any("waiting for its end" in text for text in texts)
        if any(codes):
            outcome.faults.append(
                f"{about}: exit codes {codes}: {texts[0][-300:]} {texts[1][-300:]}"
            )
            continue
        outcome.hit[about] += 1
        found = [differences(content(place / "run"), order) for order in orders[pair]]
        if all(found):
            outcome.faults.append(f"{about}: {found}")
        problems = [str(p) for p in inspect_run(place / "run") if "older than" not in str(p)]
        outcome.faults += [f"{about}: {problem}" for problem in problems]
    return outcome


def main() -> None:
    """Run a campaign, and print its numbers."""
    kills, pairs = int(sys.argv[1]), int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    warm_up()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "bench")
        rng = np.random.default_rng(seed)
        killed, together = kill(bench, kills, rng), run_together(bench, pairs, rng)
    result = {
        "seconds": {name: round(value, 2) for name, value in bench.seconds.items()},
        "killed": killed.hit,
        "faults of kills": killed.faults,
        "together": together.hit,
        "waited": together.waited,
        "faults of pairs": together.faults,
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    sys.exit(bool(killed.faults or together.faults))


if __name__ == "__main__":
    main()
