"""The reference of the JSON summaries on the site, made from their models.

A hook of mkdocs that runs before `site.py`, which leads links to the right pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from w2s_data.summaries import summary_schema
from w2s_data.summaries.files import MODELS

INTRODUCTION = Path(__file__).with_suffix(".md")
# One, and several.
NAMES = {
    "integer": ("whole number", "whole numbers"),
    "number": ("number", "numbers"),
    "string": ("text", "texts"),
    "boolean": ("true or false", "true or false"),
    "object": ("object", "objects"),
    "null": ("null", "null"),
}
WHOLE = '{: style="white-space: nowrap"}'  # a key in a narrow column
OF_VALUES = "regression"  # the task of runs whose labels are values


def on_files(files: Files, config: Any) -> Files:
    """Add the page."""
    files.append(File.generated(config, "reference/json.md", content=page()))
    return files


def page() -> str:
    """Return the page: a table of keys per file, with one below it per kind of record in it."""
    schemas = {name: summary_schema(name) for name in MODELS}
    uses = Counter(model for schema in schemas.values() for model in schema["$defs"])
    placed = {model for model, n in uses.items() if n > 1}
    parts, shared = [INTRODUCTION.read_text().strip()], {}
    for name, schema in schemas.items():
        models = schema["$defs"]
        shared |= {model: models[model] for model in models if uses[model] > 1}
        for place in schema.get("anyOf", [schema]):
            summary, *records = reachable(place, models)
            parts += file_of(name, models[summary])
            own = [model for model in records if model not in placed]
            parts += [text for model in own for text in record_of(models[model])]
            placed.update(own)  # the model of values may have them too
    parts.append("## Records of several files")
    parts += [text for model in sorted(shared) for text in record_of(shared[model])]
    return "\n\n".join(parts) + "\n"


def file_of(name: str, model: dict[str, Any]) -> list[str]:
    """Return the texts about a file; of values, where these have a model of their own."""
    task = model["properties"].get("task", {})
    only_values = "task" in model["required"] and task["const"] == OF_VALUES
    title = f"## {name}.json" + (" where labels are values" if only_values else "")
    read = f"In Python, `run.read_summary({model['title']})` reads it."
    return [title, model["description"], read, table(model)]


def record_of(model: dict[str, Any]) -> list[str]:
    """Return the texts about a record in files."""
    return [f"### {model['title']}", model["description"], table(model)]


def reachable(place: Any, models: dict[str, Any]) -> list[str]:
    """Return the models that a part of a schema leads to, in the order of their first mention."""
    found: dict[str, None] = {}
    open_parts = [place]
    while open_parts:
        for model in references(open_parts.pop(0)):
            if model not in found:
                found[model] = None
                open_parts.append(models[model]["properties"])
    return list(found)


def references(part: Any) -> Iterator[str]:
    """Yield the models that a part of a schema names."""
    if isinstance(part, dict) and "$ref" in part:
        yield model_of(part)
    elif isinstance(part, dict | list):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from references(inner)


def table(model: dict[str, Any]) -> str:
    """Return the keys of a model with their types and meanings."""
    rows = []
    for key, field in model["properties"].items():
        kinds = [kind(one) for one in field.get("anyOf", [field])]
        kinds += [] if key in model.get("required", ()) else ["missing"]
        meaning = " ".join(field["description"].split())
        rows.append(f"| `{key}`{WHOLE} | {either(kinds)} | {meaning} |")
    return "\n".join(["| key | type | meaning |", "|---|---|---|", *rows])


def kind(field: dict[str, Any], some: bool = False) -> str:
    """Name the type of a field in words, or of `some` of them."""
    if "anyOf" in field:
        return either([kind(one, some) for one in field["anyOf"]])
    if "$ref" in field:
        return f"[{model_of(field)}](#{model_of(field).lower()})"
    if "const" in field or "enum" in field:
        values = field.get("enum", [field.get("const")])
        return either([f"`{value}`" if value else "empty" for value in values])
    if field["type"] == "array":
        return f"{'lists' if some else 'list'} of {kind(field['items'], True)}"
    inner = field.get("additionalProperties")
    if isinstance(inner, dict) and not some:
        return f"{kind(inner, True)} by name"
    return NAMES[field["type"]][some]


def either(kinds: list[str]) -> str:
    """Join alternatives.

    >>> either(["list of numbers", "null"]), either(["number", "null", "missing"])
    ('list of numbers, or null', 'number, null or missing')
    """
    *others, last = kinds
    if not others:
        return last
    comma = "," if len(others) == 1 and " " in others[0] else ""
    return f"{', '.join(others)}{comma} or {last}"


def model_of(field: dict[str, Any]) -> str:
    """Return the name of the model that a field refers to."""
    return str(field["$ref"]).rpartition("/")[2]
