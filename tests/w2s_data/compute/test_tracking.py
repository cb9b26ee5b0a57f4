"""Trackers: started by accelerate's own classes, here on a module that stands for wandb."""

from __future__ import annotations

import logging
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from w2s_data import audit
from w2s_data.compute.tracking import start_trackers
from w2s_data.errors import InputError, MissingExtraError
from w2s_data.stages.tuning import loss_curves


@pytest.fixture
def wandb(monkeypatch):
    """Return what `wandb.init` was given, and the numbers that its run received."""
    pytest.importorskip("accelerate", reason="needs accelerate")
    seen = SimpleNamespace(started=[], logged=[], finished=0)

    def finish():
        seen.finished += 1

    def init(**given):
        seen.started.append(given)
        log = lambda values, step: seen.logged.append((step, values))  # noqa: E731
        return SimpleNamespace(log=log, finish=finish)

    module = ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None)
    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return seen


@pytest.mark.slow
def test_losses_and_results_of_an_audit_arrive(wandb, tmp_path):
    run = audit(
        "example:gaussian_overlap?n=300",
        output=tmp_path / "mine",
        run={"log_to": "wandb"},
        gain={"methods": ["naive"], "seeds": 1, "epochs": 3, "controls": False},
        progress=False,
        **dict.fromkeys(("forecast", "groups", "select", "report"), False),
    )
    assert wandb.started == [{"project": "w2s-data", "name": "mine"}]
    assert wandb.finished == 1
    steps = [step for step, _ in wandb.logged]
    assert steps == list(range(len(steps)))
    received = [(key, value) for _, values in wandb.logged for key, value in values.items()]
    losses = [value for key, value in received if key == "train/naive/student/loss"]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    found = dict(received)
    density = run.read_summary("overlap.json")["density"]
    assert found["score/density"] == density["value"]
    assert found["score/density_low"] == density["low"]
    (student,) = run.read_summary("gain.json")["students"]
    assert found["gain/naive/gains/accuracy"] == student["gains"]["accuracy"]["value"]


@pytest.mark.usefixtures("wandb")
def test_losses_of_other_processes_are_said_to_be_missing(tmp_path, caplog):
    engine = SimpleNamespace(name="ray")
    with start_trackers(["wandb"], tmp_path) as tracking, caplog.at_level(logging.WARNING):
        assert loss_curves(SimpleNamespace(tracking=tracking, engine=engine)) == ()
    (message,) = caplog.messages
    assert message.startswith("losses of trainings in other processes do not reach wandb")
    assert loss_curves(SimpleNamespace(tracking=None, engine=engine)) == ()


def test_names_are_those_that_every_tracker_takes(wandb, tmp_path):
    with start_trackers(["wandb"], tmp_path) as tracking:
        tracking.log("gain", {"enhanced:share=0.3/gain": 0.1, "plain name-2.b": 0.2})
    ((_, values),) = wandb.logged
    assert values == {"gain/enhanced_share_0.3/gain": 0.1, "gain/plain name-2.b": 0.2}


def test_a_tracker_that_fails_is_left_out_with_a_warning(wandb, tmp_path, caplog, capsys):
    def lost(*_, **__):
        sys.stdout.write("trying once more")
        raise ConnectionError("the server is gone\nsecond line")

    with caplog.at_level(logging.WARNING), start_trackers(["wandb"], tmp_path) as tracking:
        tracking.trackers["mlflow"] = SimpleNamespace(log=lost)
        tracking.log("score", {"density": 0.2})
        tracking.log("gain", {"gain": 0.1})
    assert [values for _, values in wandb.logged] == [{"score/density": 0.2}, {"gain/gain": 0.1}]
    assert caplog.messages == ["warning: mlflow no longer receives numbers: the server is gone"]
    assert capsys.readouterr().out == ""  # kept for what a command prints itself


@pytest.mark.usefixtures("wandb")
def test_one_that_cannot_be_had_is_named(tmp_path, monkeypatch):
    def refuse(**_):
        raise RuntimeError("no API key configured")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    with pytest.raises(InputError, match=r"wandb could not be started \(no API key configured\)"):
        start_trackers(["wandb"], tmp_path).__enter__()
    monkeypatch.setattr("w2s_data.compute.tracking.find_spec", lambda _: None)
    with pytest.raises(
        MissingExtraError, match="'wandb', which is not installed: pip install wand"
    ):
        start_trackers(["wandb"], tmp_path).__enter__()
