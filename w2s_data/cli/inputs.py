"""From the words of a command line to a run, its data set and its features, and to its end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from w2s_data.errors import InputError

if TYPE_CHECKING:
    from w2s_data._blocks import FeatureMatrix
    from w2s_data.dataset import W2SDataset
    from w2s_data.run import Run
    from w2s_data.stages import FeatureInput, Role


def open_run(
    data: str,
    roles: dict[str, Any],
    output: Path | None,
    seed: int | None,
    overwrite: bool,
    split_sizes: str | None,
    skip_unreadable: bool,
) -> tuple[Run, W2SDataset]:
    """Open the run that DATA is, or load DATA and make a run of it."""
    from w2s_data.dataset import load_dataset
    from w2s_data.run import Run

    given = {name: value for name, value in roles.items() if value is not None}
    if Run.exists(data):
        if given or output is not None or split_sizes is not None:
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
    dataset = load_dataset(
        data,
        **given,
        split_sizes=split_sizes_from(split_sizes),
        unreadable="skip" if skip_unreadable else "error",
        random_state=seed,
    )
    for note in dataset.notes:
        typer.echo(f"note: {note}", err=True)
    folder = output if output is not None else Path("runs") / dataset.name
    source = data if data.startswith("example:") else Path(data).name
    return Run.create(folder, dataset, source=source, seed=seed, overwrite=overwrite), dataset


def feature_inputs(
    dataset: W2SDataset,
    weak: str | None,
    strong: str | None,
    weak_file: Path | None,
    strong_file: Path | None,
    device: str,
) -> dict[Role, FeatureInput]:
    """Where the features of each role come from, an encoder or a file, with no default."""
    from w2s_data.encoders import ImageEncoder, TextEncoder, encoder_from_spec
    from w2s_data.stages import FeatureInput

    inputs: dict[Role, FeatureInput] = {}
    named: tuple[tuple[Role, str | None, Path | None], ...] = (
        ("weak", weak, weak_file),
        ("strong", strong, strong_file),
    )
    for role, spec, file in named:
        if spec is not None and file is not None:
            raise InputError(f"--{role} and --{role}-features exclude each other")
        if spec is not None:
            encoder = encoder_from_spec(spec, dataset.kind)
            if isinstance(encoder, TextEncoder | ImageEncoder):
                encoder.set_params(device=device)
            inputs[role] = FeatureInput(encoder=encoder)
        elif file is not None:
            inputs[role] = FeatureInput(file=file)
    return inputs


def reopen(
    folder: Path,
    weak_file: Path | None,
    strong_file: Path | None,
    seed: int | None,
    show_progress: bool | None,
) -> tuple[Run, W2SDataset, dict[Role, FeatureMatrix]]:
    """Open a run that an analysis is added to, with its features."""
    from w2s_data.stages import embed_stage

    run, dataset = open_run(str(folder), {}, None, seed, False, None, False)
    inputs = feature_inputs(dataset, None, None, weak_file, strong_file, "auto")
    return run, dataset, embed_stage(run, dataset, inputs, show_progress)


def listed(text: str | None) -> list[str] | None:
    """Read a comma-separated list."""
    return None if text is None else [part.strip() for part in text.split(",")]


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
            numbers[name.strip()] = float(number) if "." in number else int(number)
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
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError as error:
        raise InputError(f"{option} must be a number or {word!r}; got {text!r}") from error


def finish(run: Run) -> None:
    """Write the report of a run that was scored, and say where both are."""
    from w2s_data.stages import is_scored

    said = f"run: {run.path}"
    if is_scored(run):
        from w2s_reports import build_report

        build_report(run.path)
        said += f"   report: {run.path / 'report.html'}"
    typer.echo(said)
