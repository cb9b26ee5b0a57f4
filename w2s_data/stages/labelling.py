"""Choosing the rows that a person should label next, as a table to fill in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.filled import AT_RANDOM, read_filled
from w2s_data.data.tables import check_table_name, write_table
from w2s_data.errors import InputError, SplitError, UnfilledError, WriteError
from w2s_data.features.matrix import FeatureView
from w2s_data.posterior.query import MOST_ROWS, Choice, choose_rows
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import load_features, require_role, required
from w2s_data.stages.graph import NEXT, NEXT_SUMMARY, NEXT_TABLE, check_scored
from w2s_data.stages.posterior import DOUBTFUL, posterior_of
from w2s_data.stages.rounds import labels_of
from w2s_data.stages.settings import NextSettings
from w2s_data.stages.shift_labels import choose_shifted
from w2s_data.stages.weak_labels import weak_proba_of
from w2s_data.utils.io import atomic_path, make_folder
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.votes import chance, votes

Choosing = tuple[pd.DataFrame, dict[str, Any]]  # the rows of `next.parquet`, and `next.json`

SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp"}


@writes
def next_stage(
    run: Run, settings: NextSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Choose the pool rows to label next, and write them as a table to fill in.

    By the label posterior, see `choose_rows`; a run without gold labels gets a random sample, which
    also measures its weak labels.

    Returns
    -------
    StageResult
        The content of `next.json`, the `path` of the table, and `class_names`, its labels.

    Raises
    ------
    SplitError
        If the pool is empty.
    WriteError
        If labels of a table of this name would be lost.
    """
    return write_choice(run, settings, compute, check_next, _chosen)


def write_choice(
    run: Run,
    settings: NextSettings | None,
    compute: Compute | None,
    check: Callable[[NextSettings, Known], None],
    choose: Callable[[Run, W2SDataset, NextSettings, int, Compute], Choosing],
) -> StageResult:
    """Run the stage by functions that check its settings, and choose the rows of a round."""
    settings, compute = settings or NextSettings(), compute or Compute(seed=run.seed)
    dataset = run.dataset()
    check_scored(run)
    check(settings, Known(dataset, frozenset(load_features(run, compute))))
    number = max(1, len(run.labelling().rounds))
    path = Path(settings.to or run.path / f"next-{number}.csv")
    _check_unfilled(path, run, dataset)
    recorded = {"budget": settings.budget, "purpose": settings.purpose, "seed": compute.seed}
    result = run.earlier(NEXT, recorded)
    if result is None:
        with run.stage(NEXT, recorded) as stage:
            table, summary = choose(run, dataset, settings, number, compute)
            stage.write_table(NEXT_TABLE, table)
            stage.write_summary(NEXT_SUMMARY, summary)
        result = StageResult(run.read(NEXT))
    added = {"path": str(path), "class_names": list(dataset.class_names)}
    if result.summary["n"]:
        write_table(_to_fill_in(dataset, run.read_table(NEXT_TABLE), path), path)
    else:
        added["path"] = ""
    return StageResult(result.summary | added, fresh=result.fresh)


def check_next(settings: NextSettings, known: Known) -> None:
    """Raise unless there is a pool to choose from, and a place for the table."""
    if settings.to is not None:
        check_table_name(Path(settings.to))
    if known.dataset is None:
        return
    require_role(known.roles, "strong")
    if not len(known.dataset.rows("pool")):
        raise SplitError("the pool is empty, so there are no rows to label")


def _chosen(
    run: Run, dataset: W2SDataset, settings: NextSettings, number: int, compute: Compute
) -> Choosing:
    budget, pool = settings.budget, dataset.rows("pool")
    if settings.purpose == "shift":
        return _against_shift(run, dataset, budget, number, compute)
    n = min(budget, len(pool))
    weak = votes(weak_proba_of(run, dataset)[pool])
    proba = posterior_of(run, dataset)
    rng = np.random.default_rng([compute.seed, number])  # other rows in each round
    notes = [] if n == budget else [f"the pool has {n:,} rows: all of them are in the table"]
    if proba is None:
        rows = rng.choice(len(pool), n, replace=False)
        table = _described(dataset, pool[rows], weak[rows], None, None)
    else:
        proba = proba[pool]
        strong = FeatureView(required(load_features(run, compute), "strong"), pool)
        most = max(n, min(MOST_ROWS, compute.memory.rows(strong.shape[1], 4)))
        choice = choose_rows(strong, proba, n, max_rows=most, random_state=rng)
        table = _described(
            dataset, pool[choice.rows], weak[choice.rows], proba[choice.rows], choice
        )
    known = int((dataset.labels[pool] >= 0).sum())
    if known:
        notes.append(f"{known:,} pool rows have a gold label in the data, which is not used here")
    return table, _summary(dataset, table, proba, pool, number, notes)


def _against_shift(
    run: Run, dataset: W2SDataset, budget: int, number: int, compute: Compute
) -> Choosing:
    """Choose by the density ratio of the pool to the labelled rows."""
    batch = choose_shifted(run, dataset, budget, compute)
    rows, pool = batch.rows, dataset.rows("pool")
    proba, weak = posterior_of(run, dataset), votes(weak_proba_of(run, dataset)[rows])
    choice = own = None
    if proba is not None:
        own, proba = proba[rows], proba[pool]
        choice = Choice(rows, 1 - own.max(axis=1), batch.similar)
    table = _described(dataset, rows, weak, own, choice).assign(why=batch.reasons())
    summary = _summary(dataset, table, proba, pool, number, [])
    return table, summary | {"purpose": "shift", "shift": batch.summary}


def _described(
    dataset: W2SDataset,
    rows: IntArray,
    weak: IntArray,
    proba: FloatArray | None,
    choice: Choice | None,
) -> pd.DataFrame:
    """Return `next.parquet`: the chosen rows, what is thought of them, and why they were chosen."""
    names = np.array([*dataset.class_names, None], dtype=object)
    table = pd.DataFrame({"row": rows, "id": dataset.ids[rows]})
    if dataset.sources is not None:
        table["source"] = dataset.sources[rows]
    table["weak_label"] = names[weak]
    if proba is None or choice is None:
        return table.assign(guess=None, doubt=np.nan, trust=np.nan, why=AT_RANDOM)
    order = np.argsort(-proba, axis=1, kind="stable")
    table["guess"], table["doubt"] = names[order[:, 0]], choice.doubt
    table["trust"] = chance(proba, weak)
    table["why"] = [
        _reason(names, proba[k], order[k], weak[k], int(choice.similar[k]))
        for k in range(len(rows))
    ]
    return table


def _reason(names: Any, proba: FloatArray, order: IntArray, weak: int, similar: int) -> str:
    first, second = order[0], order[1]
    parts = [f"{names[first]} {proba[first]:.0%} or {names[second]} {proba[second]:.0%}"]
    if weak >= 0 and proba[weak] < DOUBTFUL and weak not in (first, second):
        parts.append(f"weak label {names[weak]} probably wrong")
    elif weak >= 0 and weak != first:
        parts.append(f"weak label {names[weak]} doubtful")
    if similar > 1:
        parts.append(f"stands for {similar:,} rows")
    return "; ".join(parts)


def _summary(
    dataset: W2SDataset,
    table: pd.DataFrame,
    proba: FloatArray | None,
    pool: IntArray,
    number: int,
    notes: list[str],
) -> dict[str, Any]:
    by_source = [] if dataset.sources is None else counts_of(table["source"], dataset.sources[pool])
    by_class = []
    if proba is not None:
        names = np.array(dataset.class_names, dtype=object)
        by_class = counts_of(table["guess"], names[proba.argmax(axis=1)])
    return {
        "round": number,
        "purpose": "student",
        "n": len(table),
        "n_pool": len(pool),
        "n_labelled": len(dataset.rows("labelled")),
        "by_posterior": proba is not None,
        "doubt": None if proba is None else float(table["doubt"].mean()),
        "pool_doubt": None if proba is None else float(1 - proba.max(axis=1).mean()),
        "by_class": by_class,
        "by_source": by_source,
        "warnings": notes,
    }


def counts_of(chosen: Any, pool: Any) -> list[dict[str, Any]]:
    """Count chosen rows and pool rows by name, the most chosen first."""
    counts = pd.Series(pool).value_counts().rename("pool").to_frame()
    counts["chosen"] = pd.Series(chosen).value_counts().reindex(counts.index, fill_value=0)
    counts = counts.sort_values("chosen", ascending=False, kind="stable")
    return [
        {"name": str(name), "chosen": int(row.chosen), "pool": int(row.pool)}
        for name, row in counts.iterrows()
    ]


def _to_fill_in(dataset: W2SDataset, chosen: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the table that a person fills in; images without a path are written beside it."""
    rows = chosen["row"].to_numpy()
    table = pd.DataFrame({"id": chosen["id"]})
    # In a pair, names are like those of the classes, "first preferred" and "second preferred".
    shown = {"item": "first", "other": "second"} if dataset.is_paired else {"item": "item"}
    for name, title in shown.items():
        if name in dataset.table:
            table[title] = dataset.table[name].to_numpy(dtype=object)[rows]
    if "item" in table and any(isinstance(item, bytes) for item in table["item"]):
        table["item"] = _written_images(list(table["item"]), path.with_suffix(""))
    # The label first: what the models say should not be read before the item is.
    table["label"] = None
    said = ("source", "weak_label", "weak_value", "guess", "error", "trust", "why")
    return table.join(chosen[[name for name in said if name in chosen]].round({"trust": 3}))


def _written_images(images: list[bytes], folder: Path) -> list[str]:
    make_folder(folder)
    paths = []
    for number, content in enumerate(images, start=1):
        known = (suffix for start, suffix in SUFFIXES.items() if content.startswith(start))
        path = folder / f"{number:04d}{next(known, '.img')}"
        with atomic_path(path, durable=False) as partial:
            partial.write_bytes(content)
        paths.append(f"{folder.name}/{path.name}")
    return paths


def _check_unfilled(path: Path, run: Run, dataset: W2SDataset) -> None:
    """Raise WriteError if a file there has labels that the run has not taken in."""
    if not path.exists():
        return
    try:
        filled = read_filled(path, labels_of(dataset)).labels
    except UnfilledError:
        return
    except InputError as error:
        raise WriteError(
            f"{str(path)!r} exists and is not an empty table of labels ({error}): choose another "
            "file"
        ) from error
    new = len(filled.keys() - run.labelling().labels.keys())
    if new:
        raise WriteError(
            f"{str(path)!r} has {new:,} labels that the run does not know: pass it as labels to "
            f"`w2s score {run.path}` first, or choose another file"
        )
