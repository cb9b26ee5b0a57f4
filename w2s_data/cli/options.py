"""The options of `w2s` that several commands share, each said once.

A command names a group of options by its dataclass; `spread` gives it the options themselves. The
same signatures say what a configuration may hold, see `w2s_data.cli.config`; how a value is spelt
there follows from the option's type and metavar.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from w2s_data.compute.base import Engine

DATA = "Data"
MODELS = "Models"
COMPUTING = "Computing"

# Metavars: how the text of an option is made up.
NAMES = "NAME,..."
COLUMNS = "COLUMN,..."  # or, by model, several such lists
NUMBERS = "NAME=NUMBER,..."
NUMBER_OR = "NUMBER|"  # and the word that may stand for one
PLACE = "PATH|NAME"

Data = Annotated[
    str,
    typer.Argument(
        help="A CSV, TSV, JSONL, Parquet or Arrow file or URL, a folder of images, 'example:NAME', "
        "a hub data set, or an existing run directory."
    ),
]
RunFolder = Annotated[Path, typer.Argument(help="A run directory, as `w2s score` leaves it.")]
StrongFeatures = Annotated[
    Path | None,
    typer.Option(
        help="Ready-made strong features, a .npy file (N, D); of pairs, chosen minus rejected.",
        rich_help_panel=MODELS,
    ),
]
TeacherPenalty = Annotated[
    str,
    typer.Option(
        help="The teacher's penalty: a number, or cv.",
        metavar=f"{NUMBER_OR}cv",
        rich_help_panel=MODELS,
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=MODELS)
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Memory that the command may take, e.g. 4GB or 500MB; by default half of what is "
        "free. It sets the size of blocks, and of samples where a note says so."
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Run directory; runs/NAME by default.")
]
Seed = Annotated[
    int | None, typer.Option(help="Seed of every random choice: 0, or what the run was made with.")
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace a run of another data set, or features of another encoder."
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Show the report in a browser.")]


@dataclass(frozen=True)
class Columns:
    """What the columns of a data set are, and how it is split."""

    item: Annotated[
        str | None,
        typer.Option(help="Column of the texts, images or vectors.", rich_help_panel=DATA),
    ] = None
    id: Annotated[str | None, typer.Option(help="Column of unique ids.", rich_help_panel=DATA)] = (
        None
    )
    label: Annotated[
        str | None, typer.Option(help="Column of gold labels.", rich_help_panel=DATA)
    ] = None
    chosen: Annotated[
        str | None,
        typer.Option(
            help="Preference data, instead of item and label: column of the preferred item.",
            rich_help_panel=DATA,
        ),
    ] = None
    rejected: Annotated[
        str | None,
        typer.Option(help="Column of the item it was preferred to.", rich_help_panel=DATA),
    ] = None
    split: Annotated[
        str | None,
        typer.Option(
            help="Column with labelled, pool, validation or test; dealt out if not given.",
            rich_help_panel=DATA,
        ),
    ] = None
    source: Annotated[
        str | None,
        typer.Option(help="Column that says where an item is from.", rich_help_panel=DATA),
    ] = None
    group: Annotated[str | None, typer.Option(help="Column of groups.", rich_help_panel=DATA)] = (
        None
    )
    weak_columns: Annotated[
        str | None,
        typer.Option(
            help="Ready-made weak probabilities: a column a class; of several weak models "
            "MODEL=COLUMN,...;MODEL=COLUMN,...",
            metavar=COLUMNS,
            rich_help_panel=DATA,
        ),
    ] = None
    weak_label: Annotated[
        str | None, typer.Option(help="Column of ready-made weak labels.", rich_help_panel=DATA)
    ] = None
    weak_confidence: Annotated[
        str | None,
        typer.Option(help="Column of the weak labels' confidence.", rich_help_panel=DATA),
    ] = None
    split_sizes: Annotated[
        str | None,
        typer.Option(
            help="Shares or counts of the splits to deal out, e.g. labelled=500,test=0.2; "
            "the pool is the rest.",
            metavar=NUMBERS,
            rich_help_panel=DATA,
        ),
    ] = None
    skip_unreadable: Annotated[
        bool,
        typer.Option(
            "--skip-unreadable",
            help="Leave out images that cannot be decoded.",
            rich_help_panel=DATA,
        ),
    ] = False


@dataclass(frozen=True)
class FeatureFiles:
    """Ready-made features."""

    weak_features: Annotated[
        Path | None,
        typer.Option(
            help="Ready-made weak features, a .npy file (N, D); of pairs, chosen minus rejected.",
            rich_help_panel=MODELS,
        ),
    ] = None
    strong_features: StrongFeatures = None


@dataclass(frozen=True)
class Models(FeatureFiles):
    """Where features come from: ready-made, or an encoder."""

    weak: Annotated[
        str | None,
        typer.Option(
            help="Weak encoder: tfidf[:COMPONENTS], pixels[:SIZE], MODEL or MODEL@LAYER.",
            metavar=PLACE,
            rich_help_panel=MODELS,
        ),
    ] = None
    strong: Annotated[
        str | None,
        typer.Option(
            help="Strong encoder: a transformers model (folder or hub name), MODEL or MODEL@LAYER.",
            metavar=PLACE,
            rich_help_panel=MODELS,
        ),
    ] = None


@dataclass(frozen=True)
class Components:
    """Principal components in the discrepancy of weak and strong features."""

    weak_components: Annotated[
        str | None,
        typer.Option(
            help="Principal components of the weak features in the discrepancy: a number, a share "
            "of their variance (0.99), or mp; all of them by default.",
            metavar=f"{NUMBER_OR}mp",
            rich_help_panel=MODELS,
        ),
    ] = None
    strong_components: Annotated[
        str | None,
        typer.Option(
            help="The same of the strong features.",
            metavar=f"{NUMBER_OR}mp",
            rich_help_panel=MODELS,
        ),
    ] = None


@dataclass(frozen=True)
class Computing:
    """Where blocks are computed."""

    engine: Annotated[
        str,
        typer.Option(
            help="Where blocks are computed: local (this process), or ray (a cluster).",
            rich_help_panel=COMPUTING,
        ),
    ] = "local"
    address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster that runs: auto, HOST:PORT or ray://HOST:PORT; without it one is "
            "started here and stopped at the end.",
            rich_help_panel=COMPUTING,
        ),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes of engine ray; by default one a GPU, or for as many CPUs as a process "
            "uses threads.",
            rich_help_panel=COMPUTING,
        ),
    ] = None

    def start(self) -> Engine:
        """The engine that was asked for; see `make_engine`."""
        from w2s_data.compute.engines import make_engine

        return make_engine(self.engine, address=self.address, workers=self.workers)


def spread(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the fields of each dataclass among its parameters as options of their own.

    Examples
    --------
    >>> @spread
    ... def show(name: str, files: FeatureFiles) -> None:
    ...     print(name, files.weak_features, files.strong_features)
    >>> show("digits", weak_features="weak.npy")
    digits weak.npy None
    >>> list(inspect.signature(show).parameters)
    ['name', 'weak_features', 'strong_features']
    """
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            parameters += _options(parameter.annotation)
        else:
            parameters.append(parameter)
    # Behind one with a default all are by name; nobody gives options by their position.
    first = next((i for i, p in enumerate(parameters) if p.default is not p.empty), len(parameters))
    parameters[first:] = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters[first:]]

    @functools.wraps(command)
    def spread_out(*given: Any, **options: Any) -> Any:
        grouped = {
            name: group(**{f.name: options.pop(f.name) for f in fields(group) if f.name in options})
            for name, group in groups.items()
        }
        return command(*given, **grouped, **options)

    spread_out.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread_out.__annotations__ = {p.name: p.annotation for p in parameters}
    return spread_out


def _options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
