"""Sweeps of a run: stored, resumed, added to, and refused."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from w2s_data import Run, audit, load_dataset
from w2s_data.cli import main
from w2s_data.compute.context import Compute
from w2s_data.errors import EncoderError, InputError, NotApplicableError, RunError, UnscoredError
from w2s_data.stages import sweep_stage
from w2s_data.stages.checks import Known
from w2s_data.stages.graph import SWEEP
from w2s_data.stages.settings import read_settings
from w2s_data.stages.sweep_settings import SweepSettings
from w2s_data.stages.sweeping import check_sweep
from w2s_data.sweep import DESIGNS, noise

COMPUTE = Compute(device="cpu", progress=False)
OFF = dict.fromkeys(("forecast", "select", "gain", "groups"), False)
NOISE = SweepSettings(over="noise", seeds=2, draws=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A scored run of texts in two groups; its tests do not change it."""
    rng = np.random.default_rng(0)
    words = {"pos": ["good", "great", "fine"], "neg": ["bad", "poor", "dull"]}
    labels = rng.choice(["pos", "neg"], 500)
    table = pd.DataFrame(
        {
            "text": [
                " ".join([*rng.choice(words[label], 2), *rng.choice(list("abcdefgh"), 4)])
                for label in labels
            ],
            "label": np.where(rng.random(500) < 0.1, "pos", labels),
            "split": np.repeat(["labelled", "pool", "test"], [80, 300, 120]),
            "group": rng.choice(["long", "short"], 500, p=[0.3, 0.7]),
        }
    ).drop_duplicates("text")
    return audit(
        table,
        weak="tfidf:2",
        strong="tfidf:6",
        output=tmp_path_factory.mktemp("sweep") / "run",
        columns={"item": "text", "label": "label", "split": "split", "group": "group"},
        report={"map": False},
        progress=False,
        **OFF,
    )


@pytest.fixture
def run(made, tmp_path):
    return Run.open(shutil.copytree(made.path, tmp_path / "run"))


def test_a_killed_sweep_resumes_to_the_same_table(made, run, tmp_path, monkeypatch):
    unbroken = Run.open(shutil.copytree(made.path, tmp_path / "other"))
    sweep_stage(unbroken, NOISE, COMPUTE)
    seen = []

    def killed(world, seed, options):
        seen.append(seed)
        if seed == 1 and len(seen) == 2:
            raise KeyboardInterrupt
        return noise.measure(world, seed, options)

    monkeypatch.setitem(DESIGNS, "noise", type(DESIGNS["noise"])(killed, noise.read))
    with pytest.raises(KeyboardInterrupt):
        sweep_stage(run, NOISE, COMPUTE)
    assert not (run.path / "sweep.json").exists()
    sweep_stage(run, NOISE, COMPUTE)
    assert seen == [0, 1, 1]  # the first seed was kept
    for name in ("sweep.json", "sweep-noise.csv"):
        assert (run.path / name).read_bytes() == (unbroken.path / name).read_bytes()


def test_sweeps_add_up_and_unchanged_ones_are_read(run):
    first = sweep_stage(run, NOISE, COMPUTE)
    assert not first.fresh
    assert sweep_stage(run, NOISE, COMPUTE).fresh
    eta = SweepSettings(over="eta", seeds=2, draws=1)
    both = sweep_stage(run, eta, COMPUTE).summary
    assert list(both["sweeps"]) == ["noise", "eta"]
    assert both["sweeps"]["noise"] == first.summary["sweeps"]["noise"]
    assert set(run.manifest["stages"][SWEEP.name]["files"]) == {
        "sweep.json",
        "sweep-noise.csv",
        "sweep-eta.csv",
    }
    table = pd.read_csv(run.path / "sweep-eta.csv")
    assert list(table) == ["line", "kind", "unit", "x", "value", "low", "high"]
    line = both["sweeps"]["eta"]["lines"][0]
    own = table[table["line"] == line["name"]]
    assert own["value"].tolist() == [point["value"]["value"] for point in line["points"]]
    # The rarest group of the labelled set.
    labelled = run.dataset().groups[run.dataset().rows("labelled")]
    share = both["sweeps"]["eta"]["facts"]["share in the labelled set"]["value"]
    assert share == pytest.approx(np.unique(labelled, return_counts=True)[1].min() / len(labelled))


def test_models_are_compared_and_their_features_kept(run):
    settings = SweepSettings(over="model", seeds=1, weak_models=("tfidf:2", "tfidf:3"))
    summary = sweep_stage(run, settings, COMPUTE).summary
    rows = summary["sweeps"]["model"]["table"]
    assert [(row["weak"], row["strong"]) for row in rows] == [
        ("tfidf:2", "the run's strong"),
        ("tfidf:3", "the run's strong"),
    ]
    kept = [path.name for path in (run.path / "sweep" / "features").iterdir()]
    assert len(kept) == 2
    table = pd.read_csv(run.path / "sweep-model.csv")
    assert {"weak", "strong", "gain", "gain_low", "d_sw", "overlap density"} <= set(table)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"over": "size"}, "over must be one of 'overlap', 'eta'"),
        ({"eta_labelled": ["2"]}, "eta_labelled must be shares between 0 and 1; got '2'"),
        ({"seeds": 0}, "seeds must be at least 1"),
    ],
)
def test_bad_settings_are_one_line(settings, message):
    with pytest.raises(InputError, match=message):
        read_settings(SweepSettings, settings)


def test_data_that_lack_something_are_refused_first(run, tmp_path):
    dataset = load_dataset("example:gaussian_overlap?n=200")
    known = Known(dataset, frozenset({"strong", "weak"}))
    with pytest.raises(NotApplicableError, match=r"the data have none.*with group="):
        check_sweep(SweepSettings(over="eta"), known)
    with pytest.raises(InputError, match="name them as strong_models or weak_models"):
        check_sweep(SweepSettings(over="model"), known)
    with pytest.raises(EncoderError, match="no encoder can read the items"):
        check_sweep(SweepSettings(over="model", weak_models=("tfidf:2",)), known)
    with pytest.raises(RunError, match="has no selection"):
        sweep_stage(run, SweepSettings(over="rounds"), COMPUTE)
    with pytest.raises(UnscoredError, match="has no scores"):
        sweep_stage(Run.create(tmp_path / "other", dataset), NOISE, COMPUTE)


def test_the_command_prints_the_figure_and_the_page_has_it(run, capsys):
    with pytest.raises(SystemExit) as end:
        main(["-q", "sweep", str(run.path), "--over", "pool", "--seeds", "2"])
    assert not end.value.code
    said = capsys.readouterr().out
    assert "Number of weak labels" in said
    assert "table: sweep-pool.csv" in said
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert 'data-figure="sweep-pool-accuracy"' in page
    assert "student of weak labels" in page
