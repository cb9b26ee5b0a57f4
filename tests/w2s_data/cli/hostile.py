"""Random inputs of the commands that somebody may give by mistake, or on purpose.

Each is made from its number alone, so that one that fails can be looked at again.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from PIL import Image

from tests.sealing import seal
from w2s_data.cli.app import app

N = 160
SOURCES = ("web", "crowd", "[/red] \x1b[31mbooks")
ROLES = ("--item", "text", "--id", "id", "--label", "label", "--source", "source")
WEAK = ("--weak-columns", "p0,p1")
MODELS = ("--strong", "tfidf:8")
COMMANDS = ("embed", "score", "forecast", "select", "gain", "groups", "report", "run", "doctor")
STAGES = ("forecast", "groups", "select", "gain")
FAST = {
    "gain": ["--seeds", "1", "--methods", "naive", "--epochs", "1"],
    "select": ["--budget", "30", "--batch-size", "10"],
}
WORDS = (
    "", " ", "-1", "0", "1", "1.5", "nan", "inf", "-inf", "1e309", "9" * 400, "1e-320", "true",
    "null", "auto", "a,a", "a=1,a=2", "=", "a=", ",", "x=nan", "../..", "/", "/dev/zero",
    "/dev/null", "/proc/self/mem", ".", "~", "x" * 300, "[/red]", "[link] b", "\x1b[31mred\x07",
    "a\nb", "a\rb", "\u202egnp", "\x00", "\udcff", "-o", "--", "--help", "é" * 40, "s3://", "hub/x",
    "example:digits?n=0", "example:none", "example:gaussian_overlap?n=-1", "label", "text", "p0",
    "tfidf:0", "tfidf:999999999", "pixels", "torch", "a" * 70_000,
)  # fmt: skip


def clean_table() -> pd.DataFrame:
    """Texts of two classes from three sources, with weak probabilities."""
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=N)
    words = (("bad", "awful", "dull", "poor"), ("good", "great", "fine", "rich"))
    filler = ("the", "film", "was", "a", "story", "of", "people", "who", "walk", "and", "talk")
    texts = [
        " ".join([*rng.choice(filler, 5), *rng.choice(words[y], 2), f"no{i}"])
        for i, y in enumerate(label)
    ]
    p = np.clip(np.where(label == 1, 0.7, 0.3) + rng.normal(0, 0.2, N), 0.01, 0.99).round(6)
    return pd.DataFrame(
        {
            "id": [f"row-{i}" for i in range(N)],
            "text": texts,
            "label": label,
            "source": rng.choice(SOURCES, N),
            "p0": (1 - p).round(6),
            "p1": p,
        }
    )


@dataclass(frozen=True)
class Case:
    """Arguments of a command; `same` where its numbers must be those of the clean data."""

    arguments: list[str]
    same: Path | None = None


def clean_commands(folder: Path) -> list[list[str]]:
    """Return the commands that make, of the clean data, a scored run and one of all stages."""
    clean_table().to_csv(folder / "data.csv", index=False)
    data, whole = str(folder / "data.csv"), str(folder / "whole")
    return [
        ["score", data, *ROLES, *WEAK, *MODELS, "-o", str(folder / "scored")],
        ["score", data, *ROLES, *MODELS, "--weak", "tfidf:4", "-o", whole],
        *([command, whole, *FAST.get(command, [])] for command in STAGES),
    ]


def make_case(number: int, folder: Path, whole: Path) -> Case:
    """Make a case in an empty folder; `whole` is a run of the clean data, which stays as it is."""
    rng = random.Random(number)
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    return kind(rng, folder, whole)


def _score(path: Path, folder: Path, *more: str) -> list[str]:
    return ["score", str(path), *ROLES, *WEAK, *MODELS, "-o", str(folder / "run"), *more]


# The same labels, as programs and people write them; the last gives the classes names.
SPELLINGS: tuple[Callable[[pd.Series], pd.Series], ...] = (
    lambda labels: labels,
    lambda labels: labels.astype(float),
    lambda labels: labels.astype(str),
    lambda labels: labels.map({0: "0.0", 1: "1.0"}),
    lambda labels: labels.map({0: " 0", 1: "1 "}),
    lambda labels: labels.map({0: "no", 1: "yes"}),
)


def _same_data(rng: random.Random, folder: Path, whole: Path) -> Case:
    """Write the clean data in another way."""
    del whole
    table = clean_table()
    spelled = rng.choice(SPELLINGS)
    table["label"] = spelled(table["label"])
    named = spelled is SPELLINGS[-1]
    if rng.random() < 0.2:
        table["further"] = rng.choice(["x", "", None, 'a "quoted", text\nof two lines'])
    if rng.random() < 0.5:
        table = table[rng.sample(list(table.columns), len(table.columns))]
    path = rng.choice([*WRITERS.values()])(rng, table, folder)
    arguments = _score(path, folder)
    if not named and rng.random() < 0.3:  # the names of the columns say which class each means
        arguments[arguments.index(WEAK[1])] = "p1,p0"
    return Case(arguments, same=folder / "run")


def _csv(rng: random.Random, table: pd.DataFrame, folder: Path) -> Path:
    tabs = rng.random() < 0.3
    separator = "\t" if tabs else rng.choice([",", ";", ",", "|"])
    text = table.to_csv(
        index=False,
        sep=separator,
        quoting=rng.choice([0, 1, 2]),
        lineterminator=rng.choice(["\n", "\r\n"]),
    )
    content = text.encode(rng.choice(["utf-8", "utf-8-sig", "utf-16"]))
    name = "data.tsv" if tabs else rng.choice(["data.csv", "DATA.CSV", "my data.csv"])
    packed = rng.random() < 0.3
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def _json(rng: random.Random, table: pd.DataFrame, folder: Path) -> Path:
    lines = rng.random() < 0.6
    content = table.to_json(orient="records", lines=lines, force_ascii=rng.random() < 0.5)
    encoded = content.encode(rng.choice(["utf-8", "utf-8-sig"]))
    path = folder / ("data.jsonl" if lines else "data.json")
    path.write_bytes(encoded)
    return path


def _columnar(rng: random.Random, table: pd.DataFrame, folder: Path) -> Path:
    if rng.random() < 0.3:
        path = folder / "data.feather"
        table.to_feather(path)
        return path
    path = folder / "data.parquet"
    (table.set_index("id") if rng.random() < 0.3 else table).to_parquet(path)
    return path


def _shards(rng: random.Random, table: pd.DataFrame, folder: Path) -> Path:
    parts = folder / "parts"
    parts.mkdir()
    cut = rng.randrange(1, N)
    for number, part in enumerate([table[:cut], table[cut:]]):
        name = parts / f"part-{number:05d}-of-00002.parquet"
        part.reset_index(drop=True).to_parquet(name)
    return parts


WRITERS = {"csv": _csv, "json": _json, "columnar": _columnar, "shards": _shards}


def _damaged_file(rng: random.Random, folder: Path, whole: Path) -> Case:
    """Cut or change the bytes of a table."""
    del whole
    path = WRITERS[rng.choice(["csv", "json", "columnar"])](rng, clean_table(), folder)
    path.write_bytes(damaged(rng, path.read_bytes()))
    return Case(_score(path, folder))


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Cut, change or replace bytes."""
    at = rng.randrange(max(1, len(content)))
    kind = rng.choice(["cut", "bits", "block", "other", "longer", "twice"])
    changed = bytearray(content)
    if kind == "bits":
        for _ in range(rng.choice([1, 3, 50])):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    elif kind == "block":
        changed[at : at + 20] = rng.randbytes(20)
    elif kind == "longer":
        changed += rng.randbytes(30)
    return {"cut": content[:at], "other": rng.randbytes(200), "twice": content * 2}.get(
        kind, bytes(changed)
    )


CELLS: tuple[Any, ...] = (
    None, "", " ", "nan", "NaN", "-1", -1, 0, 1, 2, 0.5, 1.0, 1e308, -1e308, float("inf"),
    float("nan"), "yes", "?", "N/A", True, "\x00", "\x1b[31m", "[/red]", "</script>", "1,5", "50%",
    "x" * 40_000, "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "\u202e",
)  # fmt: skip


def _damaged_cells(rng: random.Random, folder: Path, whole: Path) -> Case:
    """Change cells, columns or the number of rows."""
    del whole
    table = clean_table().astype(object)
    for _ in range(rng.choice([1, 1, 2, 3])):
        table = table.astype(object)  # a changed column may have another type
        column = rng.choice(list(table.columns))
        kind = rng.choice(["cells", "cells", "column", "drop", "rename", "rows", "nested", "same"])
        if kind == "cells":
            count = rng.choice([1, 3, 40, len(table)])
            rows = rng.sample(range(len(table)), min(count, len(table)))
            table.loc[table.index[rows], column] = rng.choice(CELLS)
        elif kind == "column":
            table[column] = rng.choice(CELLS)
        elif kind == "drop" and len(table.columns) > 1:
            table = table.drop(columns=column)
        elif kind == "rename":
            table = table.rename(columns={column: str(rng.choice(CELLS))[:50]})
        elif kind == "rows":
            table = table[: rng.choice([0, 1, 2, 5, 12, 30])]
        elif kind == "nested":
            table[column] = [rng.choice([[], [1, 2], {"a": 1}]) for _ in range(len(table))]
        elif kind == "same" and len(table):
            table[column] = table[column].iloc[0]
    path = folder / rng.choice(["data.csv", "data.jsonl", "data.parquet"])
    if path.suffix == ".parquet":
        try:
            table.to_parquet(path)
        except (ValueError, TypeError):  # Arrow has no type for such a mixture
            path = folder / "data.jsonl"
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        records = table.to_dict("records")
        path.write_text("".join(f"{json.dumps(r, default=str)}\n" for r in records))
    more = rng.choice([[], ["--group", "source"], ["--split", "source"], ["--weak", "tfidf:4"]])
    arguments = _score(path, folder, *more)
    return Case([a for a in arguments if a not in WEAK] if "--weak" in more else arguments)


def _other_data(rng: random.Random, folder: Path, whole: Path) -> Case:
    """Change cells of data of other kinds: hard weak labels, pairs, vectors, images, splits."""
    del whole
    kind = rng.choice(["labels", "pairs", "vectors", "images", "split", "several"])
    if kind == "images":
        return _damaged_images(rng, folder)
    table = clean_table().astype(object)
    arguments = ["--id", "id"]
    if kind == "pairs":
        table["a"], table["b"] = table["text"], np.roll(table["text"], 1)
        arguments += ["--chosen", "a", "--rejected", "b", "--strong", "tfidf:8", "--weak", "tfidf"]
        columns = ["a", "b"]
    elif kind == "vectors":
        numbers = np.random.default_rng(0).normal(size=(N, 4)).round(3).tolist()
        table["x"] = numbers
        arguments += ["--item", "x", "--label", "label", *WEAK]
        columns = ["x"]
    else:
        arguments += ["--item", "text", "--label", "label", *MODELS]
        columns = ["label", "w"]
        table["w"] = (table["p1"] > 0.5).astype(int).astype(object)
        if kind == "labels":
            arguments += ["--weak-label", "w"]
            arguments += rng.choice([[], ["--weak-confidence", "p1"]])
        elif kind == "several":
            table["q0"], table["q1"] = table["p0"], table["p1"]
            arguments += ["--weak-columns", "small=p0,p1", "--weak-columns", "large=q0,q1"]
            columns = ["q0", "q1"]
        else:
            names = ["labelled", "pool", "test", "train", "dev", "Test", "unlabeled", "x", None]
            table["w"] = rng.choices(names[: rng.choice([3, 5, 7, 9])], k=N)
            arguments += [*WEAK, "--split", "w"]
    odd = (*CELLS, [1.0, 2.0, 3.0, 4.0], [1.0, 2.0], [None] * 4, [0.0] * 4, {"a": 1})
    records = table.to_dict("records")
    for _ in range(rng.choice([0, 1, 2])):
        value, column = rng.choice(odd), rng.choice(columns)
        for row in rng.sample(range(N), rng.choice([1, 3, 100])):
            records[row][column] = value
    path = folder / "data.jsonl"
    path.write_text("".join(f"{json.dumps(r, default=str)}\n" for r in records))
    return Case(["score", str(path), *arguments, "-o", str(folder / "run")])


def _damaged_images(rng: random.Random, folder: Path) -> Case:
    """Write a folder of images of two classes, of which some are damaged."""
    pixels = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3)).astype(np.uint8)
    kept = rng.choice(["png", "jpg", "gif", "tif", "bmp", "webp", "ppm"])
    for number, image in enumerate(pixels):
        place = folder / "images" / ("dark" if number % 2 else "light")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image // 3 if number % 2 else image).save(place / f"{number}.{kept}")
    files = sorted((folder / "images").rglob("*.*"))
    for file in rng.sample(files, rng.choice([0, 1, 2, 80])):
        file.write_bytes(damaged(rng, file.read_bytes()))
    more = ["--skip-unreadable"] if rng.random() < 0.5 else []
    models = ["--weak", "pixels:2", "--strong", "pixels:4"]
    return Case(["score", str(folder / "images"), *models, "-o", str(folder / "run"), *more])


def _damaged_features(rng: random.Random, folder: Path, whole: Path) -> Case:
    """Give files of features that are wrong in shape, type or bytes."""
    del whole
    path = folder / "data.parquet"
    clean_table().to_parquet(path)
    features = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
    array: Any = rng.choice(
        [
            features[:, :0],
            features[:0],
            features[0],
            features[None],
            features[:-1],
            np.zeros_like(features),
            np.ones_like(features),
            np.where(features > 2, np.nan, features),
            np.where(features > 2, np.inf, features),
            np.where(features > 0, np.float32(3e38), features),
            features.astype(np.float16),
            features.astype(">f8"),
            np.asfortranarray(features),
            features > 0,
            (features * 100).astype(np.int8),
            features.astype(complex),
            features.astype(str),
            features.astype("m8[s]"),
            np.zeros((N, 4), [("a", "f4")]),
            features.astype(np.longdouble),
        ]
    )
    file = folder / "features.npy"
    kind = rng.choice(["array", "array", "bytes", "zip", "pickle", "folder", "missing"])
    if kind == "zip":
        np.savez(folder / "zip.npz", features)
        (folder / "zip.npz").rename(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "pickle":
        np.save(file, np.array([{"a": 1}] * N, dtype=object), allow_pickle=True)
    elif kind != "missing":
        np.save(file, features if kind == "bytes" else array)
        if kind == "bytes":
            file.write_bytes(damaged(rng, file.read_bytes()))
    role = rng.choice(["--weak-features", "--strong-features"])
    models = ["--strong", "tfidf:8"] if role == "--weak-features" else list(WEAK)
    arguments = ["score", str(path), *ROLES, *models, role, str(file), "-o", str(folder / "run")]
    return Case(arguments)


def _damaged_run(rng: random.Random, folder: Path, whole: Path) -> Case:
    """Change a file of a run, and go on with it."""
    run = folder / "run"
    shutil.copytree(whole, run)
    files = sorted(path for path in run.rglob("*") if path.is_file())
    for _ in range(rng.choice([1, 1, 2])):
        file = rng.choice(files)
        kind = rng.choice(["bytes", "bytes", "json", "json", "drop", "folder", "swap", "empty"])
        if kind == "json" and file.suffix == ".json" and file.is_file():
            file.write_bytes(_changed_json(rng, file.read_bytes()))
        elif kind == "swap" and file.is_file():
            shutil.copy(rng.choice(files), folder / "other")
            shutil.copy(folder / "other", file)
        elif file.is_file():
            content = file.read_bytes()
            file.unlink()
            if kind == "folder":
                file.mkdir()
            elif kind == "empty":
                file.touch()
            elif kind != "drop":
                file.write_bytes(damaged(rng, content) if content else b"x")
    if rng.random() < 0.4:  # as if a stage, or somebody who knows the format, had written it so
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            seal(run)
    command = rng.choice(["score", "forecast", "select", "gain", "groups", "report", "embed"])
    command = rng.choice([command, "report"])
    more = ["--fail-on", "density<0"] if command == "report" and rng.random() < 0.5 else []
    return Case([command, str(run), *FAST.get(command, []), *more])


def _changed_json(rng: random.Random, content: bytes) -> bytes:
    """Give one value of a JSON file another type, or drop it."""
    try:
        value = json.loads(content)
    except ValueError:  # changed before
        return b"{}"
    at = value
    while isinstance(at, dict | list) and at:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = rng.choice(keys)
        if not isinstance(at[key], dict | list) or not at[key] or rng.random() < 0.3:
            if rng.random() < 0.3:
                del at[key]
            else:
                at[key] = rng.choice([None, -1, 1.5, "x", "\x1b", [], {}, True, 10**30, [[1]]])
            break
        at = at[key]
    return json.dumps(value).encode()


# They open a browser, start a cluster or wait for one, or print what the test forbids.
NOT_TRIED = ("--open", "--help", "--address", "--engine", "--debug")


def options_of(command: str) -> list[tuple[str, bool]]:
    """List the options of a command, and whether each is a flag."""
    parameters = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    found = []
    for parameter in parameters:
        names = [name for name in parameter.opts if name.startswith("--")]
        if names and names[0] not in NOT_TRIED:
            found.append((names[0], bool(getattr(parameter, "is_flag", False))))
    return found


def _options(rng: random.Random, folder: Path, whole: Path) -> Case:
    """Give any option of any command a value that it may not have."""
    command = rng.choice([*COMMANDS, "demo"])
    arguments = [command]
    if command in ("embed", "score", "select") and rng.random() < 0.6:
        clean_table().to_parquet(folder / "data.parquet")
        arguments += [str(folder / "data.parquet"), *ROLES, *WEAK, *MODELS]
        arguments += ["-o", str(folder / "run")]
    elif command not in ("run", "demo", "doctor"):
        shutil.copytree(whole, folder / "run")
        arguments.append(str(folder / "run"))
    elif command == "run":
        (folder / "w2s.toml").write_text(CONFIG)
        arguments += [str(folder / "w2s.toml"), "--set", "gain.enabled=false"]
        arguments += ["-o", str(folder / "run")]
    arguments += FAST.get(command, [])
    if command == "demo":  # a whole pipeline: only what cannot start it
        arguments += rng.choice([["--seed", "-1"], ["--seed", "x"], ["--nothing"], ["x"]])
        return Case(arguments)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        name, flag = rng.choice(options_of(command))
        arguments.append(name)
        if not flag:
            arguments.append(rng.choice(WORDS))
    if rng.random() < 0.1:
        arguments.insert(rng.randrange(1, len(arguments) + 1), rng.choice(WORDS))
    return Case(_within(folder, arguments))


def _within(folder: Path, arguments: list[str]) -> list[str]:
    """Keep what a command writes in the folder of its case."""
    kept = list(arguments)
    for place, name in enumerate(kept[:-1]):
        value = kept[place + 1]
        if name in ("-o", "--output", "--to") and not value.startswith(str(folder)):
            good = value.strip("./~ ") and not value.startswith(("/", "-")) and "\x00" not in value
            kept[place + 1] = str(folder / value) if good and "/" not in value else ""
    return kept


CONFIG = """
[data]
path = "example:gaussian_overlap?n=200"
[run]
seed = 1
[score]
teacher_l2 = 0.1
[forecast]
level = 0.9
[select]
budget = 30
batch_size = 10
enabled = false
[gain]
seeds = 1
methods = ["naive"]
epochs = 1
enabled = false
[groups]
enabled = false
[report]
map = false
"""


def _configuration(rng: random.Random, folder: Path, whole: Path) -> Case:
    """Change bytes, keys or values of a configuration."""
    del whole
    path = folder / "w2s.toml"
    lines = CONFIG.splitlines()
    for _ in range(rng.choice([1, 2])):
        at = rng.randrange(len(lines))
        key, equals, _ = lines[at].partition(" = ")
        value = rng.choice(WORDS)
        quoted = rng.choice([value, json.dumps(value), "[" * 3000, f"[{value}]"])
        lines[at] = f"{key}{equals}{quoted}" if equals else f"{lines[at]}{rng.choice(WORDS)}"
        if rng.random() < 0.2:
            lines.insert(rng.randrange(len(lines)), lines[at])
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    path.write_bytes(damaged(rng, content) if rng.random() < 0.2 else content)
    return Case(["run", str(path), "-o", str(folder / "run")])


# Inputs of each kind, of a hundred or so.
KINDS = {
    _same_data: 20,
    _damaged_file: 10,
    _damaged_cells: 20,
    _other_data: 20,
    _damaged_features: 10,
    _damaged_run: 20,
    _options: 20,
    _configuration: 10,
}
