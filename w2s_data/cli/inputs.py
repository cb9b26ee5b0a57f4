"""From the words of a command line to a run, its data set and its features, and to its end."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from w2s_data.cli.options import Columns, FeatureFiles
from w2s_data.errors import InputError

if TYPE_CHECKING:
    from w2s_data.compute.memory import MemoryLimit
    from w2s_data.data.load import W2SDataset
    from w2s_data.features.matrix import FeatureMatrix
    from w2s_data.run import Run
    from w2s_data.stages import FeatureInput, Role


def open_run(
    data: str,
    columns: Columns,
    output: Path | None = None,
    seed: int | None = None,
    overwrite: bool = False,
) -> tuple[Run, W2SDataset]:
    """Open the run that DATA is, or load DATA and make a run of it."""
    from w2s_data.data.load import load_dataset
    from w2s_data.run import Run

    given = {name: value for name, value in asdict(columns).items() if value not in (None, False)}
    if Run.exists(data):
        if given or output is not None:
            named = ", ".join(f"--{name.replace('_', '-')}" for name in given) or "--output"
            raise InputError(
                f"{data!r} is a run whose columns and splits are settled: {named} needs the data "
                "file instead"
            )
        run = Run.open(data)
        if seed is not None:
            run.manifest["seed"] = seed
        return run, run.dataset()
    if output is not None and output.parts and re.fullmatch(r"\w{2,}:", output.parts[0]):
        raise InputError(
            f"a run directory is a folder on this machine's disk; got {str(output)!r}. Data may be "
            "read from URLs"
        )
    seed = 0 if seed is None else seed
    skip = given.pop("skip_unreadable", False)
    given["weak_columns"] = weak_columns_from(columns.weak_columns)
    given["split_sizes"] = split_sizes_from(columns.split_sizes)
    dataset = load_dataset(
        data,
        **given,
        unreadable="skip" if skip else "error",
        random_state=seed,
    )
    for note in dataset.notes:
        typer.echo(f"note: {note}", err=True)
    folder = output if output is not None else Path("runs") / dataset.name
    source = data if data.startswith("example:") else Path(data).name
    return Run.create(folder, dataset, source=source, seed=seed, overwrite=overwrite), dataset


def feature_inputs(
    dataset: W2SDataset, given: FeatureFiles, device: str = "auto"
) -> dict[Role, FeatureInput]:
    """Where the features of each role come from, an encoder or a file, with no default."""
    from w2s_data.encoders import ImageEncoder, TextEncoder, make_encoder
    from w2s_data.stages import ROLES, FeatureInput

    inputs: dict[Role, FeatureInput] = {}
    for role in ROLES:
        spec: str | None = getattr(given, role, None)  # of files alone there is none
        file: Path | None = getattr(given, f"{role}_features")
        if spec is not None and file is not None:
            raise InputError(f"--{role} and --{role}-features exclude each other")
        if spec is not None:
            encoder = make_encoder(spec, dataset.kind)
            if isinstance(encoder, TextEncoder | ImageEncoder):
                encoder.set_params(device=device)
            inputs[role] = FeatureInput(encoder=encoder)
        elif file is not None:
            inputs[role] = FeatureInput(file=file)
    return inputs


def reopen(
    folder: Path,
    files: FeatureFiles,
    seed: int | None,
    show_progress: bool | None,
    memory: MemoryLimit,
) -> tuple[Run, W2SDataset, dict[Role, FeatureMatrix]]:
    """Open a run that an analysis is added to, with its features; a data file is refused."""
    from w2s_data.run import Run
    from w2s_data.stages import embed_stage

    Run.open(folder)
    run, dataset = open_run(str(folder), Columns(), seed=seed)
    inputs = feature_inputs(dataset, files)
    return run, dataset, embed_stage(run, dataset, inputs, show_progress, memory=memory)


def listed(text: str | None) -> list[str] | None:
    """Read a comma-separated list."""
    return None if text is None else [part.strip() for part in text.split(",")]


def weak_columns_from(text: str | None) -> list[str] | dict[str, list[str]] | None:
    """Read "p0,p1" of one weak model, or "small=p0,p1;large=q0,q1" of several.

    >>> weak_columns_from("small=p0,p1; large=q0,q1")
    {'small': ['p0', 'p1'], 'large': ['q0', 'q1']}
    """
    if text is None or "=" not in text:
        return listed(text)
    models: dict[str, list[str]] = {}
    for part in text.split(";"):
        name, equals, columns = (piece.strip() for piece in part.partition("="))
        if not (name and equals and columns) or name in models:
            raise InputError(
                "--weak-columns reads COLUMN,... or MODEL=COLUMN,...;MODEL=COLUMN,... with a name "
                f"for each weak model; got {text!r}"
            )
        models[name] = [column.strip() for column in columns.split(",")]
    return models


def split_sizes_from(text: str | None) -> dict[str, float] | None:
    """Read "labelled=500,test=0.2": a whole number is a count, any other a share."""
    return _numbers_by_name(text, "--split-sizes", "labelled=500,test=0.2")


def costs_from(text: str | None) -> dict[str, float] | None:
    """Read "web=0.1,crowd=2"."""
    return _numbers_by_name(text, "--costs", "web=0.1,crowd=2")


def _numbers_by_name(text: str | None, option: str, example: str) -> dict[str, float] | None:
    if text is None:
        return None
    numbers: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        try:
            numbers[name.strip()] = _number(number)
        except ValueError as error:
            raise InputError(
                f"{option} reads NAME=NUMBER,..., e.g. {example}; got {part!r}"
            ) from error
    return numbers


def number_from(text: str | None, option: str, word: str) -> Any:
    """Read a number (whole where it has no point) or one word; None is the option left out."""
    if text is None or text == word:
        return text
    try:
        return _number(text)
    except ValueError as error:
        raise InputError(f"{option} must be a number or {word!r}; got {text!r}") from error


def _number(text: str) -> float:
    return int(text) if text.strip().lstrip("-").isdigit() else float(text)


def finish(run: Run) -> None:
    """Write the report of a run, and say where both are."""
    from w2s_reports import build_report

    build_report(run.path)
    typer.echo(f"run: {run.path}   report: {run.path / 'report.html'}")
