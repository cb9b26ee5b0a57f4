"""The files of a run, each believed only as its stage left it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import pandas as pd
import pyarrow.parquet as pq

from w2s_data.errors import RunError, listing
from w2s_data.utils.io import read_json, sha256_json
from w2s_data.utils.manifest import FileRecord, file_record, owner
from w2s_data.utils.reading import reading
from w2s_data.utils.stage import Stage, repair

Model = TypeVar("Model")


class RunFiles:
    """A folder with the manifest that vouches for its files.

    With `thorough` every file is hashed before it is believed; else those whose size or time is
    not the recorded one.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], thorough: bool = False) -> None:
        self.path = path
        self.manifest = manifest
        self.thorough = thorough

    def check_inputs(self, stage: Stage) -> None:
        """Refuse to compute from files that are not as their stages left them."""
        for name in stage.inputs:
            for file in self.manifest["stages"].get(name, {}).get("files", ()):
                self.file(file)

    def key(
        self,
        stage: Stage,
        settings: Mapping[str, Any],
        compared: Mapping[str, str | None] | None = None,
    ) -> str:
        """Return a hash of a stage's settings and of the stages it reads.

        `compared` are keys of stages that it only compares with, by default those they have now.
        """
        upstream = self._keys(stage.inputs) | dict(compared or {})
        return sha256_json({"schema": stage.schema, "settings": settings, "inputs": upstream})

    def _keys(self, names: Iterable[str]) -> dict[str, str | None]:
        stages = self.manifest["stages"]
        # A stage that has not run counts as None: when it does, those that use it run again.
        return {name: stages.get(name, {}).get("key") for name in names}

    def follows(self, stage: Stage) -> bool:
        """Whether a stage was finished, and from the inputs as they are now.

        Stages that it only compares with may have changed since.
        """
        record = self.manifest["stages"].get(stage.name)
        if record is None:
            return False
        return bool(record["key"] == self.key(stage, record["settings"], record.get("compared")))

    def file(self, name: str) -> Path:
        """Return the path of a file that is as its stage left it; RunError otherwise."""
        folder, stage = os.fspath(self.path), owner(self.manifest, name)
        if stage is None:
            raise RunError(f"the run {folder!r} has no {name} yet")
        if change := self.change_of(name):
            raise RunError(f"{os.fspath(self.path / name)!r} {change}: {self._repair(name)}")
        return self.path / name

    def change_of(self, name: str) -> str:
        """Say how a file differs from what its stage wrote; an empty text if it is whole."""
        if self.is_whole(name):
            return ""
        stage = owner(self.manifest, name)
        change = "has changed" if (self.path / name).exists() else "is missing"
        since = self.manifest["stages"][stage]["finished"]
        return f"{change} since stage {stage!r} wrote it ({since})"

    def _repair(self, name: str) -> str:
        stage = str(owner(self.manifest, name))
        return repair(stage, self.path, self.manifest["stages"])

    def is_whole(self, name: str, *, thorough: bool = False) -> bool:
        """Whether a file that a finished stage names is as that stage left it."""
        stage = owner(self.manifest, name)
        return stage is not None and file_record(self.manifest, stage, name).matches(
            self.path / name, thorough=thorough or self.thorough
        )

    def feature_file(self, role: str) -> tuple[Path, bool]:
        """Return the file that a role's ready-made features came from, and if it is the same."""
        known = dict(self.manifest.get("features", {}).get(role, {}))
        path = Path(known.pop("path", ""))
        return path, bool(known) and FileRecord(**known).matches(path, thorough=self.thorough)

    def read_table(
        self, name: str, columns: list[str] | None = None, *, per_item: bool = False
    ) -> pd.DataFrame:
        """Read one of the run's Parquet tables; `per_item` if it has a row for each item.

        Raise RunError if it was changed since its stage wrote it, or does not fit the run.
        """
        table = read_parquet(self.file(name), columns)
        n_items = self.manifest["data"]["n_items"]
        if per_item and len(table) != n_items:
            raise RunError(
                f"{os.fspath(self.path / name)!r} has {len(table):,} rows for {n_items:,} items: "
                f"{self._repair(name)}"
            )
        return table

    @overload
    def read_summary(self, name: str, schema: int | None = None) -> dict[str, Any]: ...

    @overload
    def read_summary(self, name: type[Model]) -> Model: ...

    def read_summary(
        self, name: str | type[Model], schema: int | None = None
    ) -> dict[str, Any] | Model:
        """Read one of the run's JSON summaries: the file of a name, or of a model.

        A model of `w2s_data.summaries`, such as `GainSummary`, gives the same dictionary with the
        types of its keys. With a `schema` the file must be of that version.

        Raises
        ------
        RunError
            If there is no such file, it has another schema, or its labels are values and the model
            is of classes, or the other way round.
        """
        if isinstance(name, str):
            return self._read_summary(name, schema)
        from w2s_data.summaries.files import model_of, name_of  # tens of types, rarely needed

        stem = name_of(name)
        content = self._read_summary(f"{stem}.json")
        if (model := model_of(stem, content)) is not name:
            raise RunError(
                f"{os.fspath(self.path / stem)}.json is not a {name.__name__}: its model is "
                f"{model.__name__}"
            )
        return cast(Model, content)

    def _read_summary(self, name: str, schema: int | None = None) -> dict[str, Any]:
        content = read_json(self.file(name))
        version = content.get("schema") if isinstance(content, dict) else None
        if version is None or (schema is not None and version != schema):
            raise RunError(
                f"{os.fspath(self.path / name)!r} is not a summary of schema {schema or 1}: "
                f"{self._repair(name)} with this version"
            )
        return dict(content)


def read_parquet(path: Path, columns: list[str] | None) -> pd.DataFrame:
    """Read a table, or some columns of it; RunError if it is damaged or lacks one."""
    with reading(path, "Parquet", error=RunError):
        missing = [name for name in columns or () if name not in pq.read_schema(path).names]
        if missing:
            raise RunError(f"{os.fspath(path)!r} lacks the columns {listing(missing)}")
        table: pd.DataFrame = pq.read_table(path, columns=columns).to_pandas()
    return table
