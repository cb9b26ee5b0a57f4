"""Features of all items of a data set by one encoder, in a store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.prompts import embedded_prompts
from w2s_data.encoders.base import Encoder, ItemError
from w2s_data.errors import DegenerateDataWarning, EncoderError, FeatureError
from w2s_data.errors import rows as rows_text
from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.features.pairs import embed_pairs
from w2s_data.features.store import FeatureStore, embed
from w2s_data.utils.io import jsonable
from w2s_data.utils.manifest import MANIFEST
from w2s_data.utils.typing import IntArray
from w2s_data.utils.warnings import collect_warnings

logger = logging.getLogger("w2s_data")


def encode(
    dataset: W2SDataset,
    encoder: Encoder,
    folder: Path,
    compute: Compute,
    role: str,
    overwrite: bool = False,
    rows: IntArray | None = None,
) -> list[str]:
    """Compute the features of all items; return what was decided, and what is odd about them.

    An encoder that learns does so from some `rows` alone, if given.
    """
    with collect_warnings(DegenerateDataWarning) as notes:
        # A pretrained encoder is loaded by the workers themselves where there are any.
        if encoder.learns or compute.engine.name == "local":
            _fit(encoder, dataset, rows)
    for note in notes:
        logger.warning("%s encoder: %s", role, note)
    replaced = (
        (folder / MANIFEST).is_file()
        and (overwrite or encoder.learns)
        and FeatureStore.open(folder).encoder != jsonable(encoder.spec())
    )
    options: dict[str, Any] = {
        "overwrite": replaced,
        "progress": compute.progress,
        "engine": compute.engine,
    }
    items = [*dataset.pairs[0], *dataset.pairs[1]] if dataset.is_paired else dataset.items
    if dataset.is_paired:
        prompts = embedded_prompts(dataset.table) or ()
        embed_pairs(*dataset.pairs, encoder, folder, prompts=prompts, **options)
        store = FeatureStore.open(folder).select(items)
    else:  # the store it returns has found the items already, which takes a hash of each
        store = embed(items, encoder, folder, **options)
    zero = _zero_note(store, items, role, encoder)
    return [*encoder.notes(), *notes, *store.notes, *([zero] if zero else [])]


def stored_features(dataset: W2SDataset, folder: Path) -> FeatureMatrix:
    """Return the features of all items in a store; of pairs the differences."""
    store = FeatureStore.open(folder)
    if dataset.is_paired:
        first, second = dataset.pairs
        return FeatureView(store.select(first), minus=store.select(second))
    return store.select(dataset.items)


def recorded_encoder(encoder: Encoder) -> dict[str, Any]:
    """Return what features depend on besides the items.

    The state of an encoder that learns follows from the items, so that its settings are enough.
    """
    learnt = {"encoder": type(encoder).__name__, **encoder.get_params()}
    return learnt if encoder.learns else encoder.spec()


def _fit(encoder: Encoder, dataset: W2SDataset, rows: IntArray | None) -> None:
    """Fit an encoder; name the remedies where it learns from the rows of one teacher alone."""
    try:
        encoder.fit(fitting_items(dataset, rows), _fitting_labels(dataset, rows))
    except ItemError:  # an item that cannot be read is no matter of how many there are
        raise
    except EncoderError as error:
        if rows is None:
            raise
        raise EncoderError(
            f"its encoder cannot learn from its {len(rows):,} gold rows alone ({error}): widen "
            "train_on, or pass fit_encoder='all'"
        ) from error


def _zero_note(
    features: FeatureStore, items: Sequence[Any], role: str, encoder: Encoder
) -> str | None:
    """Say which features are all zero, and why.

    Raise FeatureError if all are, and for strong features if any are: the overlap needs directions.
    """
    blocks = features.blocks()
    empty = [rows.start + np.flatnonzero(~block.any(axis=1)) for rows, block in blocks]
    zero = np.concatenate(empty) if empty else np.empty(0, np.int64)
    if not len(zero):
        return None
    reasons = dict.fromkeys(encoder.zero_reason(items[row]) for row in zero[:1000])
    everything = len(zero) == len(items)
    where = "every row" if everything else rows_text(zero)
    said = f"features are all zero in {where}: {'; '.join(list(reasons)[:3])}"
    if everything or role == "strong":
        raise FeatureError(
            f"{role} {said}. Leave these items out, or use another encoder as {role}"
        )
    logger.warning("%s %s", role, said)
    return said


def fitting_items(dataset: W2SDataset, rows: IntArray | None = None) -> list[Any]:
    """Return the items that an encoder learns from: some rows, or all outside the test split."""
    wanted = _fitting_rows(dataset, rows)
    columns = dataset.pairs if dataset.is_paired else (dataset.items,)
    return [column[row] for column in columns for row in wanted]


def _fitting_labels(dataset: W2SDataset, rows: IntArray | None) -> IntArray | None:
    """Return the classes of those items, -1 where they are not known; None where there are none."""
    if dataset.is_paired or dataset.is_regression:
        return None
    return dataset.labels[_fitting_rows(dataset, rows)]


def _fitting_rows(dataset: W2SDataset, rows: IntArray | None) -> IntArray:
    return np.flatnonzero(np.isin(dataset.splits, ("labelled", "pool"))) if rows is None else rows
