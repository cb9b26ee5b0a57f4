"""Sweeps of runs of values: stored, printed, on the page, and refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from w2s_data.cli import main
from w2s_data.data.continuous import digit_ink
from w2s_data.errors import NotApplicableError
from w2s_data.stages.checks import Known, check_stages
from w2s_data.stages.graph import SWEEP, function_of
from w2s_data.stages.sweep_settings import SweepSettings
from w2s_data.stages.values.scoring import score_values
from w2s_data.stages.values.sweeping import sweep_values


@pytest.mark.slow
def test_the_command_sweeps_the_weak_values_unless_another_figure_is_asked_for(run_of, capsys):
    run = run_of(weak=True)
    score_values(run)
    with pytest.raises(SystemExit) as end:
        main(["-q", "sweep", str(run.path), "--seeds", "2"])
    assert not end.value.code
    said = capsys.readouterr().out
    assert "Of its teacher's variance the student keeps" in " ".join(said.split())
    summary = json.loads((run.path / "sweep.json").read_text())
    assert list(summary["sweeps"]) == ["pool"]
    table = pd.read_csv(run.path / "sweep-pool.csv")
    assert list(table)[:5] == ["panel", "line", "kind", "unit", "x"]
    # Two weak features are too few to divide into regimes.
    assert set(table["panel"]) == {"all directions"}
    # The teacher's two features are two of the student's four: all of its variance is inherited.
    kept = summary["sweeps"]["pool"]["facts"]
    assert kept["d_sw, all directions"]["value"] == pytest.approx(2, abs=1e-3)
    values = table[table["unit"] == "variance"].pivot_table("value", "x", "line")
    np.testing.assert_allclose(values["student"], values["teacher"], rtol=1e-4)
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert 'data-figure="sweep-pool-panels"' in page


def test_figures_of_classes_and_runs_without_weak_features_are_refused():
    assert function_of(SWEEP, "regression") is sweep_values
    data = digit_ink().dataset
    known = Known(data, frozenset({"strong", "weak"}))
    with pytest.raises(NotApplicableError, match="over='eta' is a figure of classes"):
        check_stages({"sweep": SweepSettings(over="eta")}, known)
    check_stages({"sweep": SweepSettings()}, known)
    with pytest.raises(NotApplicableError, match="again in every draw, which takes weak features"):
        check_stages({"sweep": SweepSettings()}, Known(data, frozenset({"strong"})))
