"""Models of the summaries: complete, explained, and strict.

That stages write what the models say is checked wherever a test runs a stage (`tests/conftest.py`).
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from w2s_data.stages import graph
from w2s_data.summaries import check_summary, models_of, summary_schema
from w2s_data.summaries.files import MODELS, name_of

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
# Keys of classes that no recorded run has: it trains no whole models, teaches no teachers, and none
# of its weak models abstains.
UNRECORDED = {("gain", "kept_size"), ("gain", "teacher_names"), ("posterior", "voted_accuracy")}
NEXT = {
    "schema": 1,
    "round": 1,
    "purpose": "student",
    "n": 20,
    "n_pool": 300,
    "n_labelled": 100,
    "by_posterior": True,
    "doubt": 0.2,
    "pool_doubt": None,
    "by_source": [],
    "warnings": [],
    "by_class": [{"name": "neg", "chosen": 20, "pool": 300}],
}


def definitions(name):
    """Models of a file with their keys."""
    return summary_schema(name)["$defs"]


def test_every_summary_of_the_stages_has_a_model():
    stages = graph.STAGES.values()
    files = {name for stage in stages for name in (*stage.files, *stage.optional)}
    assert {f"{name}.json" for name in MODELS} == {name for name in files if name[-5:] == ".json"}
    assert all(name_of(model) == name for name, models in MODELS.items() for model in models)
    with pytest.raises(KeyError, match="did you mean 'gain'"):
        models_of("gains")


@pytest.mark.parametrize("name", MODELS)
def test_every_key_is_explained(name):
    for title, model in definitions(name).items():
        texts = {title: model["description"]}
        texts |= {key: field["description"] for key, field in model["properties"].items()}
        for key, text in texts.items():
            assert re.match(r"[A-Z`].*\.$", text, flags=re.DOTALL), (title, key)
            assert not re.search(r"(\A|[.?!]\s+)(What|Of)\b", text), (title, key)


def test_recorded_summaries_have_the_keys_of_their_models():
    seen = {}
    for recorded in GOLDEN.glob("*.json"):
        for file, summary in json.loads(recorded.read_text(encoding="utf-8"))["said"].items():
            if file.removesuffix(".json") in MODELS:
                seen.setdefault(file.removesuffix(".json"), set()).update(summary)
    assert len(seen) > 5
    for name, keys in seen.items():
        model = definitions(name)[MODELS[name][0].__name__]
        known = {
            key
            for key, field in model["properties"].items()
            if not field["description"].startswith("Only of values")
        }
        assert known - keys == {key for file, key in UNRECORDED if file == name}
        assert keys <= known


def test_other_keys_and_types_are_refused():
    (model,) = models_of("next")
    check_summary(model, NEXT)
    for change in ({"more": 1}, {"n": 2.5}, {"n": True}, {"purpose": "fun"}, {"by_class": [{}]}):
        with pytest.raises(ValidationError, match=next(iter(change))):
            check_summary(model, NEXT | change)
    for key in NEXT:
        less = copy.copy(NEXT)
        del less[key]
        with pytest.raises(ValidationError, match=f"{key}\n  Field required"):
            check_summary(model, less)
