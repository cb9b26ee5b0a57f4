"""JSON schemas of the summaries, from their models."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import cache, reduce
from types import GenericAlias
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from typing_extensions import get_original_bases, is_typeddict

from w2s_data.summaries.files import models_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def summary_schema(name: str) -> dict[str, Any]:
    """Return the JSON schema of a summary: its keys with their types and meanings.

    Parameters
    ----------
    name : str
        The file without its suffix, such as "gain".

    Raises
    ------
    KeyError
        If no stage writes such a file.

    Examples
    --------
    >>> schema = summary_schema("forecast")
    >>> schema["anyOf"]  # of classes, and of values
    [{'$ref': '#/$defs/ForecastSummary'}, {'$ref': '#/$defs/ValueForecastSummary'}]
    >>> schema["$defs"]["ForecastSummary"]["properties"]["n"]
    {'description': 'Labelled rows.', 'title': 'N', 'type': 'integer'}
    """
    models = models_of(name)
    schema = _adapter(models).json_schema()
    for part in {part for model in models for part in _parts(model)}:
        _explain(schema["$defs"][part.__name__], part)
    return {**schema["items"], "$defs": schema["$defs"]}


def check_summary(model: type[Any], content: Any) -> None:
    """Raise pydantic's ValidationError unless a summary has the keys and types of its model."""
    _adapter((model,)).validate_python([content])


@cache
def _adapter(models: tuple[type[Any], ...]) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    config = ConfigDict(use_attribute_docstrings=True, extra="forbid", strict=True)
    # A list, since pydantic takes no configuration beside a bare TypedDict.
    listed: Any = GenericAlias(list, reduce(operator.or_, models))
    return TypeAdapter(listed, config=config)


def _parts(kind: Any) -> Iterator[type[Any]]:
    """Yield every model that a type consists of, itself first."""
    if is_typeddict(kind):
        yield kind
        inner = tuple(get_type_hints(kind).values())
    else:
        inner = get_args(kind)
    for part in inner:
        yield from _parts(part)


def _explain(definition: dict[str, Any], model: type[Any]) -> None:
    """Add the meaning of inherited keys; pydantic reads those of a model's own keys only."""
    for base in filter(is_typeddict, get_original_bases(model)):
        inherited = _adapter((base,)).json_schema()["$defs"][base.__name__]
        _explain(inherited, base)
        for key, field in inherited["properties"].items():
            definition["properties"][key].setdefault("description", field["description"])
