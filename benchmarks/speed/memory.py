"""Peak memory of each command over the `--memory` that it was given.

    python benchmarks/speed/memory.py SCRATCH                                   # 300,000 x 128, 1GB
    python benchmarks/speed/memory.py SCRATCH --items 60000 --memory 600MB
    python benchmarks/speed/memory.py SCRATCH --items 100000 --strong 768 --stages score groups

Each command runs with its default settings in a process of its own, which says at its end how much
memory it had at most: resident memory, with the pages of memory-mapped files and of libraries,
since that is the number that `top` shows. A command that refuses to run is named with its reason.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from scaling import command, generate

from w2s_data.compute.memory import MemoryLimit

STAGES = ("embed", "score", "forecast", "select", "gain", "groups")
# The peak of this process alone: that of `wait4` begins with the memory of the process it was
# forked from.
BOOT = """
from pathlib import Path
from w2s_data.cli import main
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    print("peak", 1024 * int(status.partition("VmHWM:")[2].split()[0]))
"""
# As in `scaling.py` but for those that are run with fewer items, methods or seeds there.
DEFAULTS = {"select": ["select"], "gain": ["gain"]}


def words_of(folder: Path, stage: str, memory: str, more: list[str]) -> list[str]:
    """Return the words of a command with its default settings."""
    if stage in DEFAULTS:
        return ["--quiet", *DEFAULTS[stage], str(folder / "run"), "--memory", memory, *more]
    if stage == "embed":
        words = command(folder, "score", memory)
        return [{"score": "embed"}.get(word, word) for word in words]
    return [word for word in command(folder, stage, memory) if word != "--overwrite"] + more


def peak(words: list[str]) -> tuple[float, int | None, str]:
    """Run a command; return its seconds, its peak in bytes, and the reason why it refused."""
    start = time.perf_counter()
    ended = subprocess.run([sys.executable, "-c", BOOT, *words], capture_output=True, text=True)
    spent = time.perf_counter() - start
    if ended.returncode == 2:
        return spent, None, ended.stderr.strip().splitlines()[-1]
    if ended.returncode:
        raise SystemExit(f"`w2s {' '.join(words)}` ended with {ended.returncode}:\n{ended.stderr}")
    return spent, int(ended.stdout.split()[-1]), ""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="Scratch folder, 250 MB for 300,000 items.")
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--strong", type=int, default=128, help="Columns of the strong features.")
    parser.add_argument("--weak", type=int, default=32)
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    parser.add_argument("--keep", action="store_true", help="Leave the folder as it is.")
    parser.add_argument("--more", default="", help="Further words of every command but embed.")
    given = parser.parse_args()
    here = given.folder / f"{given.items}x{given.strong}"
    generate(here, given.items, d_strong=given.strong, d_weak=given.weak)
    print(f"{given.items:,} x {given.strong}, {os.cpu_count()} cores, --memory {given.memory}\n")
    print("| stage | seconds | peak memory, MB | peak / limit |\n|---|---|---|---|")
    limit = MemoryLimit.parse(given.memory).total
    for stage in given.stages:
        spent, most, reason = peak(words_of(here, stage, given.memory, given.more.split()))
        shown = f"{most / 1e6:,.0f} | {most / limit:.2f}" if most else f"{reason} | -"
        print(f"| {stage} | {spent:.0f} | {shown} |", flush=True)
    if not given.keep:
        shutil.rmtree(here)


if __name__ == "__main__":
    main()
