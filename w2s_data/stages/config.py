"""A configuration of the whole pipeline: a TOML file with one section per stage.

Sections are the settings models of `w2s_data.stages.settings`; nothing is listed twice.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from w2s_data.errors import InputError, unknown
from w2s_data.run import Run
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.graph import PIPELINE, TEACH
from w2s_data.stages.models import EmbedSettings, ModelSettings, embed_settings
from w2s_data.stages.settings import (
    DataSettings,
    ForecastSettings,
    GroupSettings,
    ReportSettings,
    RunSettings,
    ScoreSettings,
    SelectSettings,
    Settings,
    read_settings,
)
from w2s_data.stages.teacher_settings import TeachSettings, read_teachers
from w2s_data.utils.encoding import decode
from w2s_data.utils.reading import reading
from w2s_data.utils.stage import Stage


class Config(Settings):
    """Settings of the whole pipeline; a stage is switched off by `enabled = false`.

    Examples
    --------
    >>> config = load_config({"data": {"path": "example:digits"}, "gain": {"enabled": False}})
    >>> config.data.path, config.off
    ('example:digits', ('gain',))
    """

    data: DataSettings
    run: RunSettings = RunSettings()
    strong: ModelSettings = ModelSettings()
    weak: ModelSettings = ModelSettings()
    teachers: dict[str, Any] = Field({}, description="Teachers by name, [teachers.NAME].")
    score: ScoreSettings = ScoreSettings()
    forecast: ForecastSettings = ForecastSettings()
    select: SelectSettings = SelectSettings()
    gain: GainSettings = GainSettings()
    groups: GroupSettings = GroupSettings()
    report: ReportSettings = ReportSettings()
    off: tuple[str, ...] = Field((), description="Stages that are switched off.")

    @property
    def embed(self) -> EmbedSettings:
        """The models of both roles, as the embedding stage takes them."""
        return embed_settings(self.strong, self.weak)

    @property
    def teach(self) -> TeachSettings:
        """The teachers as their stage takes them: no others, but for a run that has its own."""
        path = self.data.path
        is_run = isinstance(path, str | os.PathLike) and Run.exists(path)
        return TeachSettings.model_construct(teacher=self.teachers, only=not is_run)

    @property
    def stages(self) -> list[Stage]:
        """Stages that run, in their order; teachers where there are any."""
        left_out = {*self.off, *(() if self.teachers else (TEACH.name,))}
        return [stage for stage in PIPELINE if stage.name not in left_out]


SECTIONS = tuple(name for name in Config.model_fields if name != "off")
_OPTIONAL = {stage.name for stage in PIPELINE if stage.name in SECTIONS}


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any], overrides: Sequence[str] = ()
) -> Config:
    """Read and check a configuration.

    Parameters
    ----------
    source : path of a TOML file, or mapping from section to mapping
        Paths in a file are relative to its folder.
    overrides : sequence of "SECTION.KEY=VALUE"

    Raises
    ------
    FileFormatError
        If the file is missing or not TOML.
    InputError
        For an unknown section or key, and for a value of the wrong type.
    """
    if isinstance(source, Mapping):
        sections, where, base = dict(source), "configuration", None
    else:
        sections, where, base = _parse(Path(source)), os.fspath(source), Path(source).parent
    places: dict[tuple[str, str], str] = {}
    for text in overrides:
        section, key, value = _override(text)
        if (section, key) in places:
            raise InputError(f"override: {section}.{key} is set twice")
        places[section, key] = "override"
        table = sections.get(section, {})
        if isinstance(table, Mapping):
            sections[section] = _with_key(table, key.split("."), value)
    read: dict[str, Any] = {}
    off = []
    for name, table in sections.items():
        if name not in SECTIONS:
            raise InputError(f"{where}: {unknown('section', name, SECTIONS)}")
        if not isinstance(table, Mapping):
            raise InputError(f"{where}: {name} is a section, [{name}]; got {table!r}")
        if name == "teachers":
            read[name] = _teachers(table, where, base)
            continue
        values = {key.replace("-", "_"): value for key, value in table.items()}
        if name in _OPTIONAL and not _enabled(values.pop("enabled", True), name, where):
            off.append(name)
        at = {key: places.get((name, key), where) for key in values}
        read[name] = _section(name, values, at, base)
    if read.get("data") is None or read["data"].path is None:
        raise InputError(
            f"{where}, [data]: path is missing: a file, a folder, example:NAME or a hub data set"
        )
    return Config(**read, off=tuple(off))


def _with_key(table: Mapping[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    """Return a table with the value of a key, of an inner table where there are several."""
    key, *inner = keys
    below = table.get(key)
    if inner:
        value = _with_key(below if isinstance(below, Mapping) else {}, inner, value)
    return {**table, key: value}


def _teachers(table: Mapping[str, Any], where: str, base: Path | None) -> dict[str, Any]:
    try:
        return dict(read_teachers(table, base))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _section(
    name: str, values: Mapping[str, Any], at: Mapping[str, str], base: Path | None
) -> Settings:
    model: type[Settings] = Config.model_fields[name].annotation  # type: ignore[assignment]
    for key in values:
        if key not in model.model_fields:
            raise InputError(f"{at[key]}, [{name}]: {_unknown_key(name, key, model)}")
    # One by one, so that an error names the place of its own key: the file or an override.
    for key, value in values.items():
        try:
            read_settings(model, {key: value}, base)
        except InputError as error:
            raise InputError(f"{at[key]}, [{name}]: {error}") from error
    settings: Settings = read_settings(model, values, base)
    return settings


def _unknown_key(section: str, key: str, model: type[Settings]) -> str:
    known = [*model.model_fields, *(("enabled",) if section in _OPTIONAL else ())]
    # A key of another section is more often misplaced than misspelled.
    models = {s: Config.model_fields[s].annotation for s in SECTIONS if s != "teachers"}
    homes = [s for s, own in models.items() if key in own.model_fields]  # type: ignore[union-attr]
    if homes and not difflib.get_close_matches(key, known, n=1, cutoff=0.8):
        return f"there is no key {key!r} here; it belongs to [{homes[0]}]"
    return unknown("key", key, known)


def _enabled(value: Any, section: str, where: str) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{where}, [{section}]: enabled must be true or false; got {value!r}")
    return value


def _parse(path: Path) -> dict[str, Any]:
    with reading(path, "a configuration in TOML"):
        # With a byte order mark, as some editors and shells write it; TOML itself knows none.
        return tomllib.loads(decode(path.read_bytes()))


def _override(text: str) -> tuple[str, str, Any]:
    name, equals, value = text.partition("=")
    section, dot, key = (part.strip() for part in name.partition("."))
    section = section.replace("-", "_")
    if section != "teachers":  # whose names may have hyphens
        key = key.replace("-", "_")
    if not (equals and dot and key):
        raise InputError(f"an override is SECTION.KEY=VALUE, e.g. gain.seeds=2; got {text!r}")
    if section not in SECTIONS:
        raise InputError(f"override: {unknown('section', section, SECTIONS)}")
    try:
        return section, key, tomllib.loads(f"value = {value}")["value"]
    except (
        tomllib.TOMLDecodeError,
        RecursionError,
    ):  # a text without quotes, as one writes it in a shell
        return section, key, value
