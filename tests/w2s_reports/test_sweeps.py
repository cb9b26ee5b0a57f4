"""Sweeps in the report: lines, levels and pairs."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_data import LinearProbe
from w2s_data.data.continuous import ridgeless
from w2s_data.sweep import SweepOptions, ValueWorld, World, sweep
from w2s_reports.figures.sweeps import figures
from w2s_reports.render import render_stage
from w2s_reports.summary import summarize_stage


@pytest.fixture(scope="module")
def content():
    """Results of three sweeps, as `sweep.json` holds them."""
    rng = np.random.default_rng(0)
    splits = np.repeat(["labelled", "pool", "test"], [80, 400, 200])
    labels = rng.integers(0, 2, 680)
    strong = rng.normal(size=(680, 5)) + labels[:, None]
    weak = strong[:, :2] + rng.normal(size=(680, 2))
    probe = LinearProbe(l2=0.01, device="cpu")
    models = {"<b>$x$": weak, "wide": strong}
    made = World(
        *(strong, weak, np.full((680, 2), 0.5), labels, splits, probe, probe), models=models
    )
    options = {
        "noise": SweepOptions("noise", draws=1),
        "pool": SweepOptions("pool"),
        "model": SweepOptions("model", strong_models=("wide",), weak_models=("<b>$x$",)),
    }
    sweeps = {over: sweep(made, own, seeds=2).to_dict() for over, own in options.items()}
    return {"sweeps": sweeps, "latest": "noise"}


def test_figures_draw_the_numbers_of_the_summary(content):
    drawn = {figure.name: figure for figure in figures(summarize_stage("sweep", content)["sweeps"])}
    assert set(drawn) == {
        "sweep-noise-accuracy",
        "sweep-pool-accuracy",
        "sweep-pool-pgr",
        "sweep-pool-opr",
        "sweep-model-gain",
    }
    lines = {line["name"]: line for line in content["sweeps"]["noise"]["lines"]}
    traces = {t["name"]: t for t in drawn["sweep-noise-accuracy"].data if "name" in t}
    assert set(traces) == set(lines)
    for name, line in lines.items():
        assert traces[name]["y"] == [point["value"]["value"] for point in line["points"]]
    dashes = {lines[name]["kind"]: trace["line"]["dash"] for name, trace in traces.items()}
    assert dashes == {"measured": "solid", "predicted": "dash", "reference": "dot"}
    axis = drawn["sweep-pool-accuracy"].layout["xaxis"]
    assert axis["ticktext"] == ["50", "100", "200", "400"]
    # Names of models are data: neither markup nor formulas.
    marked = drawn["sweep-model-gain"].data[0]
    assert marked["text"] == ["&lt;b&gt;&#36;x&#36;, wide"]
    gain = content["sweeps"]["model"]["table"][0]["gain"]["value"]
    assert marked["y"] == [100 * gain]


@pytest.mark.parametrize(
    ("latest", "said"),
    [
        ("noise", ["Noise of the weak labels", "student of as many clean", "sweep-noise.csv"]),
        ("model", ["Pairs of models", "<b>$x$", "overlap density", "sweep-model.csv"]),
    ],
)
def test_the_terminal_shows_the_latest(content, latest, said):
    text = " ".join(render_stage("sweep", content | {"latest": latest}).split())
    for words in said:
        assert words in text
    assert "Number of weak labels" not in text


@pytest.fixture(scope="module")
def of_values():
    """The result of a sweep of values, as `sweep.json` holds it."""
    made = ridgeless(60, 400, 100, 0, d_w=9, d_s=6, d_sw=3)
    data = made.dataset
    world = ValueWorld(made.strong_features, made.weak_features, data.targets, data.splits)
    result = sweep(world, SweepOptions("pool"), seeds=2)
    return {"sweeps": {"pool": result.to_dict()}, "latest": "pool"}


def test_values_have_two_panels_for_each_regime(of_values):
    summary = summarize_stage("sweep", of_values)["sweeps"]
    (figure,) = figures(summary)
    assert figure.name == "sweep-pool-panels"
    headings = [note["text"] for note in figure.layout["annotations"]]
    assert headings[:2] == ["all directions, d_sw 3.0 of 9", "error"]
    assert headings[2].startswith("the most shared, d_sw 3.0 of 3")
    own = of_values["sweeps"]["pool"]["lines"]
    for number, (panel, unit) in enumerate(
        [(own[k]["panel"], unit) for k in (0, -1) for unit in ("variance", "error")]
    ):
        place = f"y{number + 1 if number < 2 else number + 5}".removesuffix("1")
        drawn = {t["name"]: t for t in figure.data if t["yaxis"] == place and "name" in t}
        for line in own:
            if (line["panel"], line["unit"]) == (panel, unit):
                known = [p["value"]["value"] for p in line["points"] if p["value"]["value"] > 0]
                assert drawn[line["name"]]["y"] == known
    shown = render_stage("sweep", of_values)
    assert "all directions: student, variance" in shown
    assert "error" not in shown.partition("Of its")[0]  # a screen holds the variances
