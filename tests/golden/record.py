"""Six small runs of the command line, and what they say, in one file each.

    python tests/golden/record.py [NAME ...]

writes the files again, and says how long each run took. Runs go through the command line alone,
so that code may move below it; when an option is renamed, it is renamed here.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
# Keys that are not the same the next time: times, versions, and hashes of files and settings.
VOLATILE = {"seconds", "finished", "created", "version", "versions", "fingerprint", "sha256"}
# Recorded, and else what happens to be free.
MEMORY = ("--memory", "2GB")
QUICK = ("--seeds", 2, "--epochs", 30, *MEMORY)
MOST_NUMBERS, MOST_WORDS = 8, 12  # of a list; a longer one is a digest
LONGEST_TEXT = 120
LINE = 150  # characters of a line of the files


# Running


def say(*arguments: object) -> str:
    """Run `w2s` in this process; gives what it printed."""
    from w2s_data.cli import main

    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(["-q", *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
    if code:
        raise RuntimeError(f"w2s {arguments} ended with {code}: {err.getvalue()}")
    return out.getvalue()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """How sums are split among threads changes their last digits."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tests turn them into errors
            yield
    finally:
        torch.set_num_threads(before)


# Data


def words(name: str, count: int) -> list[str]:
    return [f"{name}{i}" for i in range(count)]


def texts(rng: np.random.Generator, labels: np.ndarray, easy: float = 0.5) -> list[str]:
    """Texts with common words that show the class in some, and rare ones that do in others."""
    found = []
    for label in labels:
        parts = list(rng.choice(words("filler", 30), 6))
        if rng.random() < easy:
            parts += rng.choice(words(f"plain{label}", 2), 3).tolist()
        if rng.random() < 0.6:
            parts += rng.choice(words(f"rare{label}", 12), 2).tolist()
        found.append(" ".join(rng.permutation(parts)))
    return found


def splits(n: int) -> np.ndarray:
    return np.resize(np.array(["labelled", "pool", "pool", "test"]), n)


def image(rng: np.random.Generator, label: int, bright: bool) -> bytes:
    """A noisy bar, lying or upright, on a dark or bright ground; BMP has but one spelling."""
    from PIL import Image

    pixels = rng.normal(140 if bright else 60, 30, (8, 8))
    place = int(rng.integers(1, 6))
    if label:
        pixels[place : place + 2] += 70
    else:
        pixels[:, place : place + 2] += 70
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "BMP")
    return file.getvalue()


# Runs


def run_demo(folder: Path) -> Path:
    """Run what `w2s demo` runs, with fewer students."""
    (folder / "demo.toml").write_text(say("run", "--example"), encoding="utf-8")
    fewer = ("gain.seeds=1", "gain.epochs=30", "run.memory=2GB", "report.enabled=false")
    options = [part for setting in fewer for part in ("--set", setting)]
    say("run", folder / "demo.toml", "-o", folder / "run", *options)
    return folder / "run"


def run_text(folder: Path) -> Path:
    """Texts from two sources, with a group; every command."""
    import pandas as pd

    rng, n = np.random.default_rng(1), 400
    label = rng.integers(2, size=n)
    source = rng.choice(["forum", "press"], n)
    pd.DataFrame(
        {
            "text": texts(rng, label),
            "mood": np.array(["bad", "good"])[label],
            "site": source,
            "length": np.where(rng.random(n) < 0.3, "short", "long"),
            "split": splits(n),
        }
    ).to_json(folder / "text.jsonl", orient="records", lines=True)
    roles = ("--item", "text", "--label", "mood", "--split", "split")
    roles += ("--source", "site", "--group", "length")
    models = ("--weak", "tfidf:4", "--strong", "tfidf:24")
    run = folder / "run"
    say("score", folder / "text.jsonl", *roles, *models, *MEMORY, "-o", run)
    say("groups", run, *MEMORY)
    say("forecast", run, *MEMORY)
    say("select", run, "--budget", 60, "--batch-size", 10, *MEMORY)
    say("gain", run, "--methods", "naive,crossfit", *QUICK)
    return run


def run_images(folder: Path) -> Path:
    """Pictures in a table, seen through few and through all of their pixels."""
    import pandas as pd

    rng, n = np.random.default_rng(2), 300
    label, bright = rng.integers(2, size=n), rng.random(n) < 0.35
    pairs = zip(label, bright, strict=True)
    pd.DataFrame(
        {
            "picture": [image(rng, int(one), bool(light)) for one, light in pairs],
            "bar": np.array(["upright", "lying"])[label],
            "camera": rng.choice(["new", "old"], n),
            "ground": np.where(bright, "bright", "dark"),
        }
    ).to_parquet(folder / "images.parquet")
    roles = ("--item", "picture", "--label", "bar", "--source", "camera", "--group", "ground")
    models = ("--weak", "pixels:3", "--strong", "pixels:8")
    run = folder / "run"
    sizes = ("--split-sizes", "labelled=80,test=0.2")
    say("score", folder / "images.parquet", *roles, *sizes, *models, *MEMORY, "-o", run)
    say("groups", run, *MEMORY)
    return run


def run_pairs(folder: Path) -> Path:
    """Preferences of two annotators."""
    import pandas as pd

    rng, n = np.random.default_rng(3), 240
    pd.DataFrame(
        {
            "number": [f"pair-{i}" for i in range(n)],
            "better": [f"{text} a{i}" for i, text in enumerate(texts(rng, np.ones(n, int)))],
            "worse": [f"{text} b{i}" for i, text in enumerate(texts(rng, np.zeros(n, int)))],
            "annotator": rng.choice(["crowd", "house"], n),
            "split": splits(n),
        }
    ).to_parquet(folder / "pairs.parquet")
    roles = ("--chosen", "better", "--rejected", "worse", "--id", "number")
    roles += ("--source", "annotator", "--split", "split")
    models = ("--weak", "tfidf:4", "--strong", "tfidf:16")
    run = folder / "run"
    say("score", folder / "pairs.parquet", *roles, *models, *MEMORY, "-o", run)
    say("forecast", run, *MEMORY)
    say("gain", run, "--methods", "naive,confidence", *QUICK)
    return run


def run_vectors(folder: Path) -> Path:
    """Ready-made features and three weak models."""
    import pandas as pd

    rng, n = np.random.default_rng(4), 400
    label = rng.integers(2, size=n)
    strong, weak = rng.normal(size=(n, 12)), rng.normal(size=(n, 4))
    strong[:, 0] += 2.0 * label
    strong[:, 1] += 1.5 * label
    weak[:, 0] = strong[:, 0] + rng.normal(0, 0.3, n)
    np.save(folder / "strong.npy", strong.astype(np.float32))
    np.save(folder / "weak.npy", weak.astype(np.float32))
    table = {
        "name": [f"point {i}" for i in range(n)],
        "label": label,
        "origin": rng.choice(["north", "south", "west"], n),
        "split": splits(n),
    }
    for model in "abc":
        slope = {"a": 1.0, "b": 0.6, "c": 0.3}[model]
        table[f"{model}1"] = 1 / (1 + np.exp(-slope * (2 * weak[:, 0] - 2 + rng.normal(0, 1, n))))
        table[f"{model}0"] = 1 - table[f"{model}1"]
    pd.DataFrame(table).to_parquet(folder / "vectors.parquet")
    roles = ("--item", "name", "--label", "label", "--source", "origin", "--split", "split")
    for model in "abc":
        roles += ("--weak-columns", f"{model}={model}0,{model}1")
    strong_file = ("--strong-features", folder / "strong.npy")
    files = ("--weak-features", folder / "weak.npy", *strong_file)
    run = folder / "run"
    say("score", folder / "vectors.parquet", *roles, *files, *MEMORY, "-o", run)
    say("forecast", run, *MEMORY)
    say("select", run, "--budget", 60, "--batch-size", 10, *MEMORY)
    say("gain", run, "--methods", "naive,raven", *QUICK)
    return run


def run_classes(folder: Path) -> Path:
    """Four classes; a fifth of the pool, which alone may, has no label."""
    import pandas as pd

    rng, n = np.random.default_rng(5), 400
    label, split = rng.integers(4, size=n), splits(n)
    named = np.array(["arts", "law", "science", "sports"], dtype=object)[label]
    named[(rng.random(n) < 0.2) & (split == "pool")] = ""
    pd.DataFrame({"text": texts(rng, label, easy=0.8), "topic": named, "split": split}).to_csv(
        folder / "classes.csv", index=False
    )
    roles = ("--item", "text", "--label", "topic", "--split", "split")
    models = ("--weak", "tfidf:6", "--strong", "tfidf:24")
    run = folder / "run"
    say("score", folder / "classes.csv", *roles, *models, *MEMORY, "-o", run)
    say("groups", run, *MEMORY)
    say("forecast", run, *MEMORY)
    say("gain", run, "--methods", "naive,bootstrap", *QUICK)
    return run


RUNS: Mapping[str, Callable[[Path], Path]] = {
    "demo": run_demo,
    "text": run_text,
    "images": run_images,
    "pairs": run_pairs,
    "vectors": run_vectors,
    "classes": run_classes,
}


# Digests


def digest(run: Path) -> dict[str, Any]:
    """Return what a run says: scalars and short lists as they are, long ones in few numbers."""
    # The manifest is checksums and times; its settings are in the report too.
    summaries = [path for path in sorted(run.glob("*.json")) if path.name != "manifest.json"]
    texts = {path.name: path.read_text(encoding="utf-8") for path in summaries}
    texts["report"] = say("report", run, "--format", "json", "--to", "-")
    # Files of features are named with their place.
    said = {
        name: compact(json.loads(text.replace(str(run.parent), "FOLDER")))
        for name, text in texts.items()
    }
    said |= {path.name: table_digest(path) for path in sorted(run.glob("*.parquet"))}
    markdown = say("report", run, "--format", "markdown", "--to", "-")
    return said | {"headings": [line for line in markdown.splitlines() if re.match("#+ ", line)]}


def compact(value: Any) -> Any:
    """JSON without what is volatile, and with long lists as digests."""
    if isinstance(value, Mapping):
        return {key: compact(inner) for key, inner in value.items() if key not in VOLATILE}
    if not isinstance(value, list):
        return scalar(value)
    if not any(isinstance(inner, Mapping | list) for inner in value):
        return short(value)
    return {"n": len(value), "each": by_key([compact(inner) for inner in value])}


def by_key(found: list[Any]) -> Any:
    """The values of many records, key by key."""
    if all(isinstance(value, Mapping) for value in found):
        keys = dict.fromkeys(key for value in found for key in value)
        return {key: by_key([value[key] for value in found if key in value]) for key in keys}
    if all(isinstance(value, list) for value in found):
        return by_key([inner for value in found for inner in value])
    present = [value for value in found if value is not None]
    if len(present) < len(found) and any(isinstance(value, Mapping | list) for value in present):
        return {"present": len(present), "each": by_key(present)}
    return short(found)


def short(values: list[Any]) -> Any:
    """A list of scalars as it is, or what can be said of it shortly."""
    if all(value is None or is_number(value) for value in values):
        # By their count alone: how long digits are spelled is luck.
        few = len(values) <= MOST_NUMBERS
        return [scalar(value) for value in values] if few else number_digest(values)
    simple = not any(isinstance(value, Mapping | list) for value in values)
    if simple and len(values) <= MOST_WORDS and len(str(values)) <= LONGEST_TEXT:
        return [scalar(value) for value in values]
    return text_digest(values)


def number_digest(values: list[Any]) -> dict[str, Any]:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    said: dict[str, Any] = {"n": len(values)}
    if len(known) < len(values):
        said["known"] = len(known)
    if len(known):
        said |= {"mean": known.mean(), "std": known.std(), "first": known[0], "last": known[-1]}
    return {key: scalar(value) for key, value in said.items()}


def text_digest(values: Iterable[Any]) -> dict[str, Any]:
    values = list(values)
    return {"n": len(values), "sha": sha(json.dumps(values, sort_keys=True, default=str))}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def scalar(value: Any) -> Any:
    """A JSON scalar: floats to nine digits, a long text as length and hash."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else str(value)
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return "(hash)"  # of settings and files: it changes with any word of them
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return {"length": len(value), "sha": sha(value)}
    return value


def table_digest(path: Path) -> dict[str, Any]:
    """Rows of a Parquet table; type, nulls and content of its columns."""
    import pandas as pd

    table = pd.read_parquet(path)
    columns = {str(name): column_digest(table[name]) for name in table if name not in VOLATILE}
    return {"rows": len(table), "order": list(columns), "columns": columns}


def column_digest(column: Any) -> dict[str, Any]:
    said = {"dtype": str(column.dtype), "nulls": int(column.isna().sum())}
    known = column.dropna()
    if column.dtype.kind not in "iuf" or known.empty:
        return said | {"sha": text_digest(map(cell, column))["sha"]}
    numbers = known.to_numpy(dtype=np.float64)
    found = (numbers.mean(), numbers.std(), numbers.min(), numbers.max())
    return said | dict(zip(("mean", "std", "min", "max"), map(scalar, found), strict=True))


def cell(value: Any) -> str:
    """A cell as text: None, NaN and pandas' NA are the same."""
    if isinstance(value, np.ndarray):
        return str(value.tolist())
    return "null" if str(value) in ("None", "nan", "<NA>") else str(value)


# Files


def fingerprint() -> dict[str, Any]:
    """Return what changes the last digits of a number, and through them more."""
    import platform
    from importlib.metadata import version

    from threadpoolctl import threadpool_info

    named = ("numpy", "scipy", "pandas", "scikit-learn", "torch")
    # Which libraries are loaded by now depends on what ran before; their kernels do not.
    kernels = {library.get("architecture") for library in threadpool_info()} - {None}
    return {
        "machine": platform.machine(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "versions": {name: version(name) for name in named},
        "kernels": sorted(kernels),
    }


def take(name: str, folder: Path) -> dict[str, Any]:
    """Make a run below `folder`; gives the content of its file."""
    with one_thread():
        said = digest(RUNS[name](folder))
        return {"fingerprint": fingerprint(), "said": said}


def laid_out(value: Any) -> str:
    """JSON with what fits on a line on one, so that a change is a line or two."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) <= LINE or not isinstance(value, Mapping | list) or not value:
        return line
    if isinstance(value, list):
        inner = [laid_out(part) for part in value]
    else:
        inner = [
            f"{json.dumps(key, ensure_ascii=False)}: {laid_out(part)}"
            for key, part in value.items()
        ]
    first, last = "[]" if isinstance(value, list) else "{}"
    lines = ",\n".join(inner)
    return f"{first}\n{lines}\n{last}"


def record(names: Sequence[str]) -> None:
    """Write the files of the named runs, or of all."""
    for name in names or RUNS:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            text = laid_out(take(name, Path(folder))) + "\n"
        (HERE / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")
        seconds = time.perf_counter() - started
        sys.stdout.write(f"{name}: {seconds:.1f} s, {len(text.encode()) / 1000:.0f} kB\n")


if __name__ == "__main__":
    # Record the copy beside this file, whichever one is installed; as pyproject.toml has it.
    sys.path[:0] = [str(HERE.parents[1] / part) for part in ("", "selectors", "reports")]
    record(sys.argv[1:])
