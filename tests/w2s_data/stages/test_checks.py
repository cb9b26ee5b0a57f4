"""Checks of a stage before anything long is computed, and before the data are read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from w2s_data import load_dataset
from w2s_data.encoders.classical import TfidfEncoder
from w2s_data.errors import InputError, MissingExtraError, NotApplicableError, SplitError
from w2s_data.stages.checks import Known, check_compute, check_stages, check_writable
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.graph import PIPELINE, STAGES, check_of, function_of
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.settings import (
    ComputeSettings,
    ForecastSettings,
    GroupSettings,
    ReportSettings,
    ScoreSettings,
    SelectSettings,
)
from w2s_data.stages.teacher_settings import TeachSettings
from w2s_data.utils.stage import ITEMS

CLASSES = np.array(["arts", "law", "sports"], dtype=object)


def texts(n: int = 120, **columns: object) -> Known:
    """A data set of texts from three sources, all roles given."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "text": [f"text {i}" for i in range(n)],
            "label": CLASSES[rng.integers(3, size=n)],
            "split": np.resize(["labelled", "pool", "pool", "test"], n),
            "site": rng.choice(["forum", "press", "web"], n),
            **columns,
        }
    )
    data = load_dataset(table, item="text", label="label", split="split", source="site")
    return Known(data, frozenset({"weak", "strong"}))


def test_every_stage_of_the_pipeline_has_a_check():
    for stage in PIPELINE:
        assert callable(check_of(stage))


def test_stages_of_values_are_declared_or_refused_in_a_line():
    for stage in STAGES.values():
        if stage.no_values:
            with pytest.raises(NotApplicableError, match=r"^the labels are values, and [^\n]+$"):
                function_of(stage, "regression")
            assert not stage.values
        elif stage is not ITEMS:
            assert callable(function_of(stage, "regression"))
            assert not stage.check or callable(check_of(stage, "regression"))


def test_the_check_follows_the_task():
    table = pd.DataFrame({"text": [f"text {i}" for i in range(40)], "label": np.arange(40) / 8})
    known = Known(load_dataset(table, label="label"), frozenset({"weak", "strong"}))
    refused = next(stage.name for stage in PIPELINE if stage.no_values)
    with pytest.raises(NotApplicableError, match="the labels are values"):
        check_stages({refused: None}, known)
    with pytest.raises(InputError, match="teacher of values has one"):
        check_stages({"teach": TeachSettings(teacher=["small=columns:a+b"])}, known)


def test_the_defaults_are_accepted_with_and_without_data():
    planned = {
        "embed": EmbedSettings(weak="tfidf:8", strong=TfidfEncoder(16)),
        "score": ScoreSettings(),
        "forecast": ForecastSettings(),
        "select": SelectSettings(batch_size=5),
        "gain": GainSettings(),
        "groups": GroupSettings(),
        "report": ReportSettings(),
    }
    check_stages(planned)
    check_stages(planned, texts())
    check_compute(ComputeSettings())


@pytest.mark.parametrize(
    ("stage", "settings", "words"),
    [
        ("embed", EmbedSettings(weak="tfdf"), "weak: there is no encoder 'tfdf'; did you mean"),
        ("embed", EmbedSettings(weak="tfidf:0"), "weak: n_components must be an integer >= 1"),
        ("embed", EmbedSettings(strong="./nowhere/model"), "strong: there is no model folder"),
        ("embed", EmbedSettings(weak_features="nowhere.npy"), "weak: cannot read 'nowhere.npy'"),
        ("select", SelectSettings(unit="money"), "unit 'money' requires budget"),
        ("gain", GainSettings(methods=("naiv",)), "there is no method 'naiv'; did you mean"),
        ("gain", GainSettings(methods=("naive:hard",)), "a method is NAME or NAME:PARAMETER=VALUE"),
        ("gain", GainSettings(methods=("naive:soft=1",)), "naive has no parameter 'soft'"),
        ("gain", GainSettings(methods=("enhanced:share=3",)), "share must be a number in (0, 1]"),
        ("gain", GainSettings(tuning="lora"), "pass model (folder or hub name)"),
        ("gain", GainSettings(tuning="full", model="./no/m"), "there is no model folder './no/m'"),
        ("report", ReportSettings(fail_on=("densty<1",)), "there is no metric 'densty'"),
        ("report", ReportSettings(fail_on=("density",)), "a condition reads METRIC<NUMBER"),
        ("report", ReportSettings(baseline="nowhere"), "'nowhere' is not a run directory"),
        ("report", ReportSettings(to="-"), "standard output takes JSON or Markdown"),
        ("report", ReportSettings(to="."), "'.' is a folder; name a file"),
    ],
)
def test_settings_are_refused_before_the_data_are_read(stage, settings, words):
    with pytest.raises(InputError) as refused:
        check_stages({stage: settings})
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("stage", "settings", "words"),
    [
        ("embed", EmbedSettings(weak="pixels"), "weak: encoder 'pixels' reads image items, but"),
        ("select", SelectSettings(costs={"fourm": 2}), "no source 'fourm'; did you mean 'forum'?"),
        ("select", SelectSettings(keep=("wbe",)), "keep: there is no source 'wbe'; did you mean"),
        ("select", SelectSettings(stop=("pres",)), "stop: there is no source 'pres'; did you mean"),
        ("select", SelectSettings(budget=10.0), "a budget of 10 items does not pay one batch of"),
        ("select", SelectSettings(target="test"), "a target needs 200 items or more; the test"),
        ("groups", GroupSettings(n_groups=121), "n_groups is 121, more than the 120 items"),
        ("report", ReportSettings(fail_on=("density.fourm<1",)), "did you mean 'forum'?"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused_before_embedding(stage, settings, words):
    with pytest.raises(InputError) as refused:
        check_stages({stage: settings}, texts())
    assert words in str(refused.value)


def test_features_of_another_length_are_refused(tmp_path):
    np.save(tmp_path / "weak.npy", np.ones((3, 2), dtype=np.float32))
    with pytest.raises(InputError, match=r"weak: row counts disagree: .* has 3 rows"):
        check_stages({"embed": EmbedSettings(weak_features=tmp_path / "weak.npy")}, texts())


@pytest.mark.parametrize("stage", ["score", "forecast"])
def test_a_stage_says_which_features_it_lacks(stage):
    settings = {"score": ScoreSettings(), "forecast": ForecastSettings()}[stage]
    known = texts()
    with pytest.raises(NotApplicableError, match="weak features are missing"):
        check_stages({stage: settings}, Known(known.dataset, frozenset({"strong"})))


def test_classes_that_are_too_small_are_refused():
    label = np.array(["arts", "law"], dtype=object)[np.arange(120) % 8 // 4]
    label[0] = "sports"  # the only one, and labelled
    known = texts(label=label)
    with pytest.raises(SplitError, match="class 'sports' has a single labelled row"):
        check_stages({"forecast": ForecastSettings()}, known)


def test_test_items_without_labels_are_refused_by_the_gain():
    label = CLASSES[np.arange(120) % 3]
    label[3] = None
    known = texts(label=label)
    with pytest.raises(SplitError, match="row 3 of the test split have no label to measure by"):
        check_stages({"gain": GainSettings()}, known)


def test_whole_models_of_texts_read_no_images(minilm_path):
    known = texts()
    lora = GainSettings(tuning="full", model=str(minilm_path))
    check_stages({"gain": lora}, known)
    object.__setattr__(known.dataset, "kind", "image")
    with pytest.raises(InputError, match="reads text items, but these are image items"):
        check_stages({"gain": lora}, known)


def test_a_model_of_texts_reads_no_images(minilm_path):
    known = texts()
    object.__setattr__(known.dataset, "kind", "image")
    with pytest.raises(InputError, match="reads text items, but these are image items"):
        check_stages({"embed": EmbedSettings(strong=str(minilm_path))}, known)


def test_a_folder_without_weights_is_refused(minilm_path, tmp_path):
    (tmp_path / "config.json").write_bytes((minilm_path / "config.json").read_bytes())
    with pytest.raises(InputError, match=r"strong: the folder of model .* holds no weights"):
        check_stages({"embed": EmbedSettings(strong=str(tmp_path))})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": "cuda:99"}, "device 'cuda:99' was asked for"),
        ({"workers": 2}, "engine 'local' takes no workers"),
    ],
)
def test_computing_is_checked_first(settings, words):
    with pytest.raises(InputError, match=words):
        check_compute(ComputeSettings(**settings))


def test_a_missing_extra_is_named_first(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("w2s_data.encoders.backbone.Source.configuration", lambda *_: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'w2s-data\[train\]'"):
        check_stages({"gain": GainSettings(tuning="lora", model="any")})


def test_a_place_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "folder")
    with pytest.raises(InputError, match="is a file, not a folder"):
        check_writable(tmp_path / "file" / "run")
