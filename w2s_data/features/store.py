"""Features on disk: computed once per item, resumed after a kill, read block by block.

A store is a folder of Parquet shards and a manifest. Rows are keyed by a hash of the item's
content, so that a data set that has grown or been reordered costs only its new items.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np

from w2s_data.compute.base import Engine, LocalEngine
from w2s_data.data.images import image_bytes
from w2s_data.encoders.base import Encoder, ItemError, Kind, as_items, describe
from w2s_data.encoders.shards import encode_shards, resolved_encoder
from w2s_data.errors import EmptyDataError, StoreError, listing, rows
from w2s_data.features.matrix import DEFAULT_BLOCK_BYTES, row_blocks
from w2s_data.features.shards import KEY_BYTES, KEY_DTYPE, MANIFEST, Manifest, Shards, is_shard_name
from w2s_data.utils.io import jsonable
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.storage import DiskFolder, Storage, storage_at
from w2s_data.utils.typing import AnyArray, FloatArray
from w2s_data.utils.validation import check_parameters, whole

logger = logging.getLogger("w2s_data")

_MANY_FLAT = 0.25  # share of images without content from which it is worth a note


class FeatureStore:
    """Features in a folder, or a view of some of them in any order.

    A store is a `FeatureMatrix`: `shape`, `blocks` and `take` keep no more than one shard and
    one block in memory. Make one with `embed`, and open a finished one with `FeatureStore.open`.
    The checksum of a shard is verified when it is first read.

    Examples
    --------
    >>> import tempfile
    >>> from w2s_data import TfidfEncoder, embed
    >>> texts = ["a good film", "a bad film", "a good day", "a bad day"]
    >>> encoder = TfidfEncoder(n_components=2).fit(texts)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = embed(texts, encoder, folder)
    ...     store = FeatureStore.open(folder)
    ...     store.shape, store.select(["a bad day"]).array().shape, store.verify()
    ((4, 2), (1, 2), [])
    """

    def __init__(self, shards: Shards, stored_rows: AnyArray) -> None:
        self._shards = shards
        self._rows = stored_rows

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the store of a folder, in stored order.

        Raise StoreError if the folder is not a feature store, or its manifest is damaged.
        """
        folder = storage_at(path)
        shards = Shards(folder, Manifest.read(folder))
        return cls(shards, np.arange(shards.starts[-1]))

    @property
    def path(self) -> Path | str:
        """Folder of the store; a string where it is a URL."""
        folder = self._shards.folder
        return folder.path if isinstance(folder, DiskFolder) else str(folder)

    @property
    def encoder(self) -> dict[str, Any]:
        """Spec of the encoder that made the features."""
        return self._shards.manifest.encoder

    @property
    def kind(self) -> Kind:
        """Kind of the items, "text" or "image"."""
        return self._shards.manifest.kind

    @property
    def shape(self) -> tuple[int, int]:
        """Items N and feature dimensions D."""
        return len(self._rows), self._shards.manifest.dim or 0

    @property
    def keys(self) -> AnyArray:
        """Content hashes of the items, 16 bytes each, in the order of this view."""
        return self._shards.keys[self._rows]

    @property
    def notes(self) -> list[str]:
        """Say how many of all stored items were not read in full, or show nothing."""
        shards = self._shards.manifest.shards
        n, cut, flat = (sum(getattr(s, name) for s in shards) for name in ("rows", "cut", "flat"))
        notes = []
        if cut:
            limit = next(shard.limit for shard in shards if shard.cut)
            notes.append(
                f"{cut:,} of {n:,} texts were cut to {limit:,} tokens; pass max_length to change it"
            )
        if flat >= _MANY_FLAT * n > 0:
            notes.append(f"{flat:,} of {n:,} images are almost black, or of one colour")
        return notes

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        encoder = self.encoder.get("encoder")
        return f"FeatureStore({str(self.path)!r}, shape={self.shape}, encoder={encoder!r})"

    def select(self, items: Iterable[Any]) -> FeatureStore:
        """View the features of some items, or keys of a store, in their order.

        Duplicates are allowed. Raise StoreError naming the rows of items that are not in the store.
        """
        if isinstance(items, np.ndarray) and items.dtype == KEY_DTYPE:
            wanted = items
        else:
            wanted = item_keys(as_items(items, self.kind), self.kind)
        stored = self._shards.keys
        order = np.argsort(stored)
        place = np.searchsorted(stored, wanted, sorter=order)
        present = place < len(stored)  # searchsorted places larger keys behind the last one
        present[present] = stored[order[place[present]]] == wanted[present]
        if not present.all():
            raise StoreError(
                f"feature store {str(self.path)!r} has no features of "
                f"{rows(np.flatnonzero(~present))}; embed() adds them"
            )
        return FeatureStore(self._shards, order[place])

    def take(self, rows: Any) -> FloatArray:
        """Return the given rows of this view as a float32 array.

        Raise StoreError if a shard that holds one of them is missing or damaged.
        """
        wanted = np.atleast_1d(self._rows[rows])  # a single row number gives one row
        starts = self._shards.starts
        shard_of = np.searchsorted(starts, wanted, side="right") - 1
        out = np.empty((len(wanted), self.shape[1]), dtype=np.float32)
        for index in np.unique(shard_of):  # each shard is read once, whatever the order
            here = np.flatnonzero(shard_of == index)
            out[here] = self._shards.vectors(index)[wanted[here] - starts[index]]
        return out

    def blocks(self, max_bytes: int = DEFAULT_BLOCK_BYTES) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows, float32 block) in order, each block within `max_bytes`.

        A view in stored order reads each shard once, a shuffled one once per block.
        """
        for block in row_blocks(self.shape, max_bytes):
            yield block, self.take(block)

    def array(self) -> FloatArray:
        """Return all features of this view as one float32 array (N, D)."""
        return self.take(slice(None))

    def verify(self) -> list[str]:
        """Read every shard of the folder; return the files that are missing or damaged."""
        shards = self._shards
        return [shard.file for shard in shards.manifest.shards if not shards.is_sound(shard)]


def embed(
    items: Iterable[Any],
    encoder: Encoder,
    path: str | os.PathLike[str],
    *,
    shard_rows: int = 4096,
    overwrite: bool = False,
    progress: bool | None = None,
    engine: Engine | None = None,
) -> FeatureStore:
    """Encode the items that a store does not hold yet, each distinct item once.

    Return a view (N, D) in the order of the items. A killed run continues after its last shard, and
    ends with the same files. A damaged shard is dropped with a warning in the log, and its items
    are encoded again.

    Parameters
    ----------
    items : sequence of N items
        Strings, or images as paths, encoded bytes or PIL images.
    encoder : Encoder
        Fitted, if it learns.
    path : path or URL
        Folder of the store, on a disk or at a URL that fsspec writes (s3://, gs://, ...), made if
        it is missing. Another process that writes to it is waited for; at a URL, which has no
        locks, there must be none.
    shard_rows : int
        Items in a shard. By a kill those of the last two can be lost, as many are held in memory.
    overwrite : bool
        Discard features of another encoder.
    progress : bool, optional
        Show a bar; by default on a terminal.
    engine : Engine, optional
        Where items are encoded; by default in this process. See `w2s_data.compute`.

    Raises
    ------
    StoreError
        If the folder holds features of another encoder, or other files.
    EncoderError
        Naming the items that cannot be encoded. Shards already written are kept.

    Examples
    --------
    >>> import tempfile
    >>> from w2s_data import PixelEncoder, embed
    >>> from PIL import Image
    >>> images = [Image.new("L", (8, 8), grey) for grey in (0, 255, 0)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     embed(images, PixelEncoder(size=1), folder).array().tolist()
    [[0.0], [1.0], [0.0]]
    """
    check_parameters({"shard_rows": shard_rows}, {"shard_rows": whole(1)})
    listed = as_items(items, encoder.kind)
    if not listed:
        raise EmptyDataError("embed got no items")
    keys = item_keys(listed, encoder.kind)  # before the folder is touched: bad items raise
    engine = engine or LocalEngine()
    encoder = resolved_encoder(encoder, engine)
    folder = storage_at(path)
    _check_place(folder)
    with folder.writing():
        shards = open_store(folder, encoder, overwrite)
        # The first row of each distinct item, in the order of the items.
        first = np.sort(np.unique(keys, return_index=True)[1])
        todo = first[~np.isin(keys[first], shards.keys)]
        if len(shards.keys):
            reused = len(first) - len(todo)
            logger.info("%s: %d of %d items are stored already", path, reused, len(first))
        parts = [todo[start : start + shard_rows] for start in range(0, len(todo), shard_rows)]
        with (
            progress_bar("embed", total=len(todo), enabled=progress) as advance,
            ThreadPoolExecutor(max_workers=1) as writer,
        ):
            encoded = encode_shards(encoder, listed, parts, engine, advance)
            written: Future[None] | None = None
            for part, made in zip(parts, encoded, strict=True):
                if written is not None:  # one shard waits for the disk at most
                    written.result()
                odd = {"cut": made.n_cut, "limit": made.limit, "flat": made.n_flat}
                # While the next shard is encoded; what fails there is raised by the next one.
                written = writer.submit(shards.append, keys[part], made.vectors, **odd)
            if written is not None:
                written.result()
    store = FeatureStore(shards, np.empty(0, np.int64)).select(keys)
    for note in store.notes:
        logger.info("%s", note)
    return store


def item_keys(items: list[Any], kind: Kind) -> AnyArray:
    """Hash the content of N items: texts in UTF-8, bytes of image files; 16 bytes each.

    Raise ItemError naming the items that cannot be read.
    """
    digests = bytearray()
    for row, item in enumerate(items):
        try:
            content = item.encode() if kind == "text" else image_bytes(item)
        except UnicodeEncodeError as error:
            reason = "not valid Unicode (a lone surrogate)"
            raise ItemError([row], [describe(item)], reason) from error
        except OSError as error:
            raise ItemError([row], [describe(item)], error.strerror or str(error)) from error
        digests += hashlib.blake2b(content, digest_size=KEY_BYTES).digest()
    return np.frombuffer(bytes(digests), dtype=KEY_DTYPE)


def open_store(folder: Storage, encoder: Encoder, overwrite: bool) -> Shards:
    """Open or start the store of an encoder, and drop its damaged shards."""
    spec = jsonable(encoder.spec())
    _check_place(folder)
    if MANIFEST in folder.names() and not overwrite:
        manifest = Manifest.read(folder)
        _check_same_encoder(folder, manifest, encoder.kind, spec)
    else:
        manifest = Manifest(encoder.kind, spec)
        manifest.write(folder)
    shards = Shards(folder, manifest)
    shards.clean()  # damaged shards count as missing, and are computed again
    return shards


def _check_place(folder: Storage) -> None:
    """Raise StoreError if a folder is a file, or holds other files than a store's."""
    if folder.is_file:
        raise StoreError(f"{str(folder)!r} is a file; a feature store is a folder")
    visible = folder.names()
    foreign = [name for name in visible if name != MANIFEST and not is_shard_name(name)]
    if visible and (foreign or MANIFEST not in visible):
        raise StoreError(
            f"{str(folder)!r} holds other files ({listing(foreign or visible, 3)}) and is not a "
            f"feature store; choose another folder"
        )


def _check_same_encoder(
    folder: Storage, manifest: Manifest, kind: Kind, spec: dict[str, Any]
) -> None:
    """Raise if the specs differ; labels for people do not count."""
    labels = dict.fromkeys(("name", "pooling_reason"))
    there = {"items": manifest.kind, **manifest.encoder, **labels}
    here = {"items": kind, **spec, **labels}
    different = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if different:
        settings = ", ".join(f"{n}={there.get(n)!r} (not {here.get(n)!r})" for n in different)
        raise StoreError(
            f"the features in {str(folder)!r} were made with {settings}; "
            f"choose another folder, or discard them with overwrite=True"
        )
