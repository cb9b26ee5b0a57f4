"""All benchmarks in one command: each piece in a process of its own, one table of ratios.

    python benchmarks/speed/suite.py                    # everything, ten minutes on 2 cores
    python benchmarks/speed/suite.py --quick            # small sizes: does it run? (two minutes)
    python benchmarks/speed/suite.py scoring published  # some pieces; the others stay

Writes `results.json` beside this file, which `charts.py` draws and `costs.py` reads, and the table
of README.md, unless `--quick` is given. A piece that cannot run here says what is missing; one that
fails makes the exit code 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from measure import (
    NotRunError,
    Row,
    describe,
    fill,
    from_json,
    growth_table,
    machine,
    table,
    to_json,
)

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE / "README.md"
SCHEMA = 1
SPARE_SECONDS = 900  # a piece that takes longer hangs
PIECES = {  # name: script, function
    "embedding": ("embedding", "throughput"),
    "store": ("embedding", "store"),
    "change-point": ("overlap", "change_points"),
    "scoring": ("overlap", "against_products"),
    "published": ("overlap", "against_published"),
    "scoring-growth": ("overlap", "growth"),
    "neighbors": ("neighbors", "against_sklearn"),
    "neighbors-growth": ("neighbors", "growth"),
    "kmeans": ("groups", "against_sklearn"),
    "probe": ("probe", "against_sklearn"),
    "ridge": ("ridge", "against_sklearn"),
    "gain": ("gain", "against_numpy"),
    "bandit": ("bandit", "per_decision"),
    "stages": ("stages", "growth"),
    "report": ("stages", "report"),
    "ray": ("stages", "ray_workers"),
    "gpu": ("gpu", "against_cpu"),
}


def run_piece(name: str, quick: bool, answer: Path) -> None:
    """Run one piece in this process and write its rows, or why there are none."""
    script, function = PIECES[name]
    try:
        rows = getattr(importlib.import_module(script), function)(quick)
        found = {"rows": to_json(rows)}
    except NotRunError as error:
        found = {"not_run": str(error)}
    except ModuleNotFoundError as error:
        ours = error.name is not None and (HERE / f"{error.name}.py").exists()
        if ours or error.name == script:
            raise
        found = {"not_run": f"needs {error.name}: pip install 'w2s-data[bench]'"}
    answer.write_text(json.dumps(found))


def in_own_process(name: str, quick: bool, answer: Path) -> dict[str, Any]:
    """Run `run_piece` in a process; return its result, or how it failed."""
    command = [sys.executable, __file__, "--answer", str(answer), name]
    start = time.perf_counter()
    try:
        ended = subprocess.run(
            command + ["--quick"] * quick,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=SPARE_SECONDS,
        )
        said = ended.stderr
    except subprocess.TimeoutExpired:
        said = f"nothing after {SPARE_SECONDS} s"
    spent = round(time.perf_counter() - start, 1)
    if not answer.exists():
        return {"failed": (said.strip().splitlines() or ["no word"])[-1], "took": spent}
    return json.loads(answer.read_text()) | {"took": spent}


def collected(pieces: dict[str, Any]) -> list[Row]:
    """The rows of all pieces."""
    return [row for piece in pieces.values() for row in from_json(piece.get("rows", []))]


def report(pieces: dict[str, Any], machines: Iterable[str]) -> str:
    """Everything as Markdown: the ratios, the slopes, and what was not run."""
    rows = collected(pieces)
    ratios = table(row for row in rows if row.ratio is not None)
    lines = [*machines, "", ratios, "", growth_table(rows)]
    missing = [
        f"- {name}: {piece.get('not_run') or piece.get('failed')}"
        for name, piece in pieces.items()
        if "rows" not in piece
    ]
    return "\n".join(lines + (["", "Not run:", "", *missing] if missing else []))


def load(path: Path = RESULTS) -> dict[str, Any]:
    """Pieces by name, from a file of results."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text())
    if found["schema"] != SCHEMA:
        raise SystemExit(f"{path} has schema {found['schema']}; this suite writes {SCHEMA}")
    pieces: dict[str, Any] = found["pieces"]
    return pieces


def machines(pieces: dict[str, Any]) -> list[str]:
    """The machines that the pieces were run on, with their names where there are several."""
    by_machine: dict[str, list[str]] = {}
    for name, piece in pieces.items():
        by_machine.setdefault(describe(piece["machine"]), []).append(name)
    if len(by_machine) == 1:
        return list(by_machine)
    return [f"{', '.join(names)}: {text}\n" for text, names in by_machine.items()]


def write(pieces: dict[str, Any], path: Path) -> None:
    """Write the results, the pieces in their usual order."""
    ordered = {name: pieces[name] for name in PIECES if name in pieces}
    partial = path.with_suffix(".partial")
    text = json.dumps({"schema": SCHEMA, "pieces": ordered}, indent=1, ensure_ascii=False)
    partial.write_text(text + "\n")
    partial.replace(path)


def measure(names: Iterable[str], quick: bool, pieces: dict[str, Any], output: Path | None) -> None:
    """Run pieces one after another; each is written as soon as it is there."""
    here = machine() | ({"quick": True} if quick else {})
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            found = in_own_process(name, quick, Path(folder) / name)
            pieces[name] = found | {"machine": here}
            state = found.get("failed") or found.get("not_run") or f"{len(found['rows'])} rows"
            print(f"{name}: {state} ({found['took']} s)", file=sys.stderr, flush=True)
            if output is not None:
                write(pieces, output)


def main() -> int:
    """Run the pieces asked for; print and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pieces", nargs="*", metavar="PIECE", help=", ".join(PIECES))
    parser.add_argument("--quick", action="store_true", help="Small sizes; only for --output.")
    parser.add_argument("--output", type=Path, help="default: benchmarks/speed/results.json")
    parser.add_argument("--print", action="store_true", help="Print the results that are there.")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = set(given.pieces) - set(PIECES)
    if unknown:
        parser.error(f"there is no piece {sorted(unknown)[0]!r}; use {', '.join(PIECES)}")
    if given.answer:
        run_piece(given.pieces[0], given.quick, given.answer)
        return 0
    output = given.output or (None if given.quick else RESULTS)
    pieces = load(output or RESULTS) if given.print or output else {}
    if not given.print:
        measure(given.pieces or list(PIECES), given.quick, pieces, output)
    text = report(pieces, machines(pieces))
    print(text)
    if output == RESULTS:
        fill(PAGE, "suite", text)
    return int(any("failed" in piece for piece in pieces.values()))


if __name__ == "__main__":
    sys.exit(main())
