"""The options that several commands of `w2s` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DATA = "Data"
MODELS = "Models"
COMPUTING = "Computing"
Data = Annotated[
    str,
    typer.Argument(
        help="A CSV, TSV, JSONL, Parquet or Arrow file or URL, a folder of images, 'example:NAME', "
        "a hub data set, or an existing run directory."
    ),
]
RunFolder = Annotated[Path, typer.Argument(help="A run directory, as `w2s score` leaves it.")]
Item = Annotated[
    str | None, typer.Option(help="Column of the texts, images or vectors.", rich_help_panel=DATA)
]
Id = Annotated[str | None, typer.Option(help="Column of unique ids.", rich_help_panel=DATA)]
Label = Annotated[str | None, typer.Option(help="Column of gold labels.", rich_help_panel=DATA)]
Chosen = Annotated[
    str | None,
    typer.Option(
        help="Preference data, instead of item and label: column of the preferred item.",
        rich_help_panel=DATA,
    ),
]
Rejected = Annotated[
    str | None,
    typer.Option(help="Column of the item it was preferred to.", rich_help_panel=DATA),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="Column with labelled, pool, validation or test; dealt out if not given.",
        rich_help_panel=DATA,
    ),
]
Source = Annotated[
    str | None, typer.Option(help="Column that says where an item is from.", rich_help_panel=DATA)
]
Group = Annotated[str | None, typer.Option(help="Column of groups.", rich_help_panel=DATA)]
WeakColumns = Annotated[
    str | None,
    typer.Option(
        help="Ready-made weak probabilities: a column a class, comma-separated.",
        rich_help_panel=DATA,
    ),
]
WeakLabel = Annotated[
    str | None, typer.Option(help="Column of ready-made weak labels.", rich_help_panel=DATA)
]
WeakConfidence = Annotated[
    str | None,
    typer.Option(help="Column of the weak labels' confidence.", rich_help_panel=DATA),
]
SplitSizes = Annotated[
    str | None,
    typer.Option(
        help="Shares or counts of the splits to deal out, e.g. labelled=500,test=0.2; "
        "the pool is the rest.",
        rich_help_panel=DATA,
    ),
]
SkipUnreadable = Annotated[
    bool,
    typer.Option(
        "--skip-unreadable", help="Leave out images that cannot be decoded.", rich_help_panel=DATA
    ),
]
Weak = Annotated[
    str | None,
    typer.Option(
        help="Weak encoder: tfidf[:COMPONENTS], pixels[:SIZE], or MODEL[@LAYER].",
        rich_help_panel=MODELS,
    ),
]
Strong = Annotated[
    str | None,
    typer.Option(
        help="Strong encoder: a transformers model, MODEL[@LAYER] (folder or hub name).",
        rich_help_panel=MODELS,
    ),
]
WeakFeatures = Annotated[
    Path | None,
    typer.Option(
        help="Ready-made weak features, a .npy file (N, D); of pairs, chosen minus rejected.",
        rich_help_panel=MODELS,
    ),
]
StrongFeatures = Annotated[
    Path | None,
    typer.Option(help="The same for strong features.", rich_help_panel=MODELS),
]
TeacherPenalty = Annotated[
    str, typer.Option(help="The teacher's penalty: a number, or cv.", rich_help_panel=MODELS)
]
WeakComponents = Annotated[
    str | None,
    typer.Option(
        help="Principal components of the weak features in the discrepancy: a number, a share of "
        "their variance (0.99), or mp; all of them by default.",
        rich_help_panel=MODELS,
    ),
]
StrongComponents = Annotated[
    str | None, typer.Option(help="The same of the strong features.", rich_help_panel=MODELS)
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=MODELS)
]
Engine = Annotated[
    str,
    typer.Option(
        help="Where blocks are computed: local (this process), or ray (a cluster).",
        rich_help_panel=COMPUTING,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster that runs: auto, HOST:PORT or ray://HOST:PORT; without it one is "
        "started here and stopped at the end.",
        rich_help_panel=COMPUTING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Processes of engine ray; by default one a GPU, or for as many CPUs as a process "
        "uses threads.",
        rich_help_panel=COMPUTING,
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
