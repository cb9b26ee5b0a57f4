"""Overlap and regret by round, against sums made by hand and a pool whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from w2s_data.utils.intervals import prediction_halfwidth
from w2s_selectors.simulation.regret import final_progress, measure_progress, progress_curves

OVERLAP = {**{f"a{i}": i < 2 for i in range(10)}, **{f"b{i}": i < 8 for i in range(10)}}
SOURCES = pd.DataFrame({"source": ["a", "b"], "cost": 1.0, "density": [0.2, 0.8]})
SIZES = np.array([10.0, 10.0])


def run(strategy: str, number: int, asked: list[tuple[str, range]]) -> pd.DataFrame:
    items = [len(which) for _, which in asked]
    return pd.DataFrame(
        {"strategy": strategy, "run": number, "round": range(len(asked))}
        | {"source": [source for source, _ in asked], "items": items, "spent": np.cumsum(items)}
        | {"ids": [tuple(f"{source}{i}" for i in which) for source, which in asked]}
    )


REPLAYED = pd.concat(
    [
        run("chosen", 0, [("b", range(5)), ("b", range(5, 10)), ("a", range(2))]),
        run("random", 0, [("a", range(6)), ("b", range(6))]),
        run("random", 1, [("a", range(4, 10)), ("a", range(4)), ("b", range(2))]),
    ],
    ignore_index=True,
)


def test_sums_by_hand() -> None:
    found = measure_progress(REPLAYED, SOURCES, SIZES, OVERLAP)
    assert "ids" not in found
    runs = found.groupby(["strategy", "run"])
    assert runs["overlap"].apply(list).to_dict() == {
        ("chosen", 0): [5, 8, 10],
        ("random", 0): [2, 8],
        ("random", 1): [0, 2, 4],
    }
    # The best source is b until it is dry; then a is, and nothing is lost.
    regret = runs["regret"].apply(list).to_dict()
    assert regret["chosen", 0] == pytest.approx([0, 0, 0])
    assert regret["random", 0] == pytest.approx([3.6, 3.6])
    assert regret["random", 1] == pytest.approx([3.6, 6.0, 6.0])


def test_costs_divide() -> None:
    dear = SOURCES.assign(cost=[1.0, 8.0])
    found = measure_progress(REPLAYED, dear, SIZES, OVERLAP)
    first = found[(found["strategy"] == "chosen")]["regret"].iloc[0]
    assert first == pytest.approx(5 * (8 * 0.2 - 0.8))


def test_ends_and_curves_agree() -> None:
    progress = measure_progress(REPLAYED, SOURCES, SIZES, OVERLAP)
    final = final_progress(progress)
    assert final["random"]["overlap"].value == 6
    assert final["random"]["overlap_noise"] == pytest.approx(
        float(prediction_halfwidth([8.0, 4.0]))
    )
    assert np.isnan(final["chosen"]["overlap_noise"])
    curves = progress_curves(progress, n_points=7)
    assert [point["spent"] for point in curves] == [0, 2, 4, 6, 8, 10, 12]
    assert [point["chosen"]["overlap"].value for point in curves] == pytest.approx(
        [0, 2, 4, 5.6, 6.8, 8, 10]
    )
    assert curves[0]["random"]["overlap"].value == curves[0]["random"]["overlap"].high == 0
    assert curves[-1]["random"]["overlap"].value == final["random"]["overlap"].value
    assert curves[-1]["random"]["regret"].value == pytest.approx(4.8)


def test_noise_holds_one_more_run() -> None:
    rng = np.random.default_rng(0)
    runs = rng.normal(size=(6, 20_000))
    inside = np.abs(runs[5] - runs[:5].mean(axis=0)) <= prediction_halfwidth(runs[:5])
    assert inside.mean() == pytest.approx(0.95, abs=0.005)
    assert float(prediction_halfwidth([1.0, 2.0, 4.0])) == pytest.approx(
        stats.t.ppf(0.975, 2) * np.std([1, 2, 4], ddof=1) * np.sqrt(4 / 3)
    )
    assert np.isnan(prediction_halfwidth([1.0]))
