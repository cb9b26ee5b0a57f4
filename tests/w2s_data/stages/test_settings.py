"""Numbers have ranges and names stand once, alike in the shell, in TOML and in Python."""

import math

import numpy as np
import pytest

from w2s_data import DiscrepancyAnalyzer, GroupAnalyzer, LinearProbe
from w2s_data.errors import InputError
from w2s_data.finetune.settings import TrainingSettings
from w2s_data.stages.config import load_config
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.settings import (
    ComputeSettings,
    DataSettings,
    ForecastSettings,
    GroupSettings,
    OpenedSettings,
    ReportSettings,
    RunSettings,
    ScoreSettings,
    SelectSettings,
    read_settings,
)
from w2s_data.stages.training import methods_from
from w2s_data.utils.validation import check_generator, check_seeds
from w2s_selectors.settings import SelectionSettings

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("model", "name", "bad", "good"),
    [
        (
            ScoreSettings,
            "teacher_l2",
            (-1, NAN, INF, 1e30, "much", "", True),
            (0, 1e9, "cv", "0.5"),
        ),
        (ForecastSettings, "student_l2", (-0.1, NAN, "-inf"), (0.01, "cv")),
        (ForecastSettings, "level", (0, 1, 1.5, -1, NAN, INF, "0.9", True), (0.5, 0.999)),
        (ForecastSettings, "strong_components", (0, -1, 1.0, 1.5, NAN, 10**30), (1, 0.99, "mp")),
        (SelectSettings, "budget", (0, -5, NAN, INF, "all"), (0.5, 100)),
        (SelectSettings, "batch_size", (0, -1, 1.5, True, 10**12), (1, 50)),
        (SelectSettings, "separation", (0, -0.1, 1.1, NAN), (0.9, 1)),
        (SelectSettings, "max_seconds", (0, -1, NAN, INF), (0.1, 3600)),
        (
            SelectSettings,
            "costs",
            ({"web": NAN}, "web=inf", "web", "=1", 3),
            ({"web": 1}, "web=.5"),
        ),
        (GainSettings, "seeds", (0, -1, 10**9, 2.5, "5"), (1, 1000)),
        (GainSettings, "epochs", (0, -1, 10**9), (1, 100)),
        (GainSettings, "learning_rate", (0, -1e-3, 1e30, 1.5, NAN, INF), (1e-5, 1)),
        (GainSettings, "student_l2", (-1, NAN, INF, 1e30), (0, 1.0, "cv")),
        (GainSettings, "batch_size", (0, -8, 10**12), (1, 128)),
        (GainSettings, "methods", ("", ",", [], 3), ("naive", ["naive", "crossfit"])),
        (GroupSettings, "n_groups", (0, -1, 2.5, "many"), (1, "4", "auto")),
        (GroupSettings, "duplicates", (-1, 1.01, NAN, "most"), (1, 0.95, "auto")),
        (ComputeSettings, "workers", (0, -1, 10**9), (1, 8)),
        (ComputeSettings, "memory", ("", "4", "-4GB", "4XB", "1e9", "9" * 400), ("4GB", "2 GiB")),
        (ComputeSettings, "device", ("", "gpu", "cuda:x", "meta", "cpu\n"), ("cuda:1", "auto")),
        (OpenedSettings, "seed", (-1, 2**32, 1.5, True, "0"), (0, 2**32 - 1)),
        (DataSettings, "label", ("", 3, True), ("label",)),
        (DataSettings, "path", ("", " ", 3, True, ["a.csv"], {}), ("a.csv",)),
        (EmbedSettings, "strong", ("", 3, {}), ("tfidf",)),
        (EmbedSettings, "weak_features", ("", 3, ["a.npy"], {}), ("a.npy",)),
        (RunSettings, "output", ("", 3), ("run",)),
        (ReportSettings, "baseline", ("", 3), ("run",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_out_of_range_are_refused_by_name(model, name, bad, good):
    for value in bad:
        with pytest.raises(InputError, match=rf"^{name}\b") as caught:
            read_settings(model, {name: value})
        assert "\n" not in str(caught.value).replace("\\n", "")
    for value in good:
        read_settings(model, {name: value})


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        (GainSettings, "methods", "naive,naive"),
        (GainSettings, "methods", ["naive", "naive"]),
        (SelectSettings, "keep", "a,b,a"),
        (SelectSettings, "stop", ["a", "a"]),
        (SelectSettings, "costs", "web=1,web=2"),
        (DataSettings, "split_sizes", ["labelled=.5", "labelled=.1"]),
        (DataSettings, "weak_columns", "p,p"),
        (DataSettings, "weak_columns", ["small=p,q", "large=q,r"]),
        (DataSettings, "weak_columns", {"small": ["p", "p"]}),
    ],
)
def test_a_name_given_twice_is_refused(model, name, value):
    with pytest.raises(InputError, match=rf"^{name} must be .*twice"):
        read_settings(model, {name: value})


def test_the_same_method_twice_is_refused():
    with pytest.raises(InputError, match="are the same: Enhanced"):
        methods_from(["enhanced:share=0.3", "enhanced:share=.30"])
    with pytest.raises(InputError, match="are the same"):
        methods_from(["naive", "naive:hard=false"])
    with pytest.raises(InputError, match="sets 'share' twice"):
        methods_from(["enhanced:share=0.3:share=0.4"])
    assert len(methods_from(["enhanced:share=0.3", "enhanced:share=0.4"])) == 2


def test_an_override_given_twice_is_refused():
    data = {"data": {"path": "example:digits"}}
    with pytest.raises(InputError, match=r"gain\.seeds is set twice"):
        load_config(data, ["gain.seeds=1", "gain.seeds=2"])


NUMBERS = (
    10**400,
    -(10**400),
    -1,
    -1e-9,
    0,
    1e-9,
    0.1,
    0.5,
    1,
    1.0,
    1.5,
    2,
    3,
    1000,
    1001,
    1e9,
    2e9,
    NAN,
    INF,
    10**12,
)


def accepts(check, value):
    try:
        check(value)
    except InputError:
        return False
    return True


@pytest.mark.parametrize(
    ("model", "name", "check"),
    [
        (GainSettings, "epochs", lambda v: TrainingSettings(epochs=v)),
        (GainSettings, "learning_rate", lambda v: TrainingSettings(learning_rate=v)),
        (GainSettings, "batch_size", lambda v: TrainingSettings(batch_size=v)),
        (GainSettings, "student_l2", lambda v: TrainingSettings(l2=v)),
        (SelectSettings, "budget", lambda v: SelectionSettings(budget=v)),
        (SelectSettings, "separation", lambda v: SelectionSettings(budget=1, separation=v)),
        (SelectSettings, "max_seconds", lambda v: SelectionSettings(budget=1, max_seconds=v)),
    ],
)
def test_settings_accept_what_the_classes_accept(model, name, check):
    for value in NUMBERS:
        by_setting = accepts(lambda v: read_settings(model, {name: v}), value)
        assert by_setting == accepts(check, value), value


@pytest.mark.parametrize(
    ("model", "name", "estimator", "parameter"),
    [
        (ScoreSettings, "teacher_l2", LinearProbe, "l2"),
        (ForecastSettings, "level", DiscrepancyAnalyzer, "level"),
        (GroupSettings, "duplicates", GroupAnalyzer, "duplicate_threshold"),
    ],
)
def test_settings_accept_what_the_estimators_accept(rng, model, name, estimator, parameter):
    features, proba = rng.normal(size=(80, 4)), rng.dirichlet((1, 1), 80)
    second = {
        LinearProbe: ((features[:, 0] > 0).astype(int),),
        DiscrepancyAnalyzer: (features[:, :2],),
        GroupAnalyzer: (proba,),
    }[estimator]
    given = {"groups": np.tile(["a", "b"], 40)} if estimator is GroupAnalyzer else {}
    for value in (*NUMBERS, -0.5):
        by_setting = accepts(lambda v: read_settings(model, {name: v}), value)
        fit = estimator(**{parameter: value}).fit
        by_class = accepts(lambda _, fit=fit: fit(features, *second, **given), value)
        assert by_setting == by_class, value


def test_seeds_are_checked_in_python_too():
    for bad in (0, -1, 10**9, [1, 1], [-1]):
        with pytest.raises(InputError, match="seeds must be"):
            check_seeds(bad)
    for bad in (-1, 1.5, "0"):
        with pytest.raises(InputError, match="random_state must be an int >= 0"):
            check_generator(bad)
