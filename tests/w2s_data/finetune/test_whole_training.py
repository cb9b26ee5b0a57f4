"""How whole models are trained: length groups, steps, rates, and whether it was enough."""

from __future__ import annotations

import numpy as np
import pytest

from tests.w2s_data.finetune.test_adapters import reviews
from tests.w2s_data.finetune.tiny import save_tiny_model
from w2s_data.errors import InputError
from w2s_data.finetune import fit_student
from w2s_data.finetune.levels.convergence import loss_trend
from w2s_data.finetune.levels.lengths import pieces, similar_rows
from w2s_data.finetune.levels.range_test import chosen_rate, rising_schedule, smoothed
from w2s_data.finetune.levels.schedule import StepSchedule, usual_rate
from w2s_data.finetune.objectives import TrainingError
from w2s_data.finetune.settings import TrainingSettings


def test_every_pass_has_each_row_once(rng):
    lengths = rng.integers(3, 60, size=96)
    batches = similar_rows(np.arange(96), lengths, 8, rng)
    for _ in range(3):
        seen = np.concatenate([next(batches) for _ in range(12)])
        assert sorted(seen) == list(range(96))


@pytest.mark.parametrize(("n_rows", "size"), [(400, 8), (3000, 32), (37, 16)])
def test_most_computed_tokens_are_real(rng, n_rows, size):
    lengths = np.clip(rng.lognormal(2.6, 0.7, n_rows).astype(np.int64), 3, 128)
    batches = similar_rows(np.arange(n_rows), lengths, size, rng)
    real = computed = 0
    for _ in range(3 * n_rows // size):
        own = lengths[next(batches)]
        real, computed = real + own.sum(), computed + len(own) * own.max()
    at_random = lengths.mean() / np.mean([rng.choice(lengths, size).max() for _ in range(300)])
    assert real / computed > (0.85 if n_rows >= 400 else 1.2 * at_random)


def test_batches_come_in_random_order(rng):
    lengths = np.repeat(np.arange(1, 21), 8)
    batches = similar_rows(np.arange(160), lengths, 8, rng)
    order = [lengths[next(batches)].max() for _ in range(20)]
    assert sorted(order) == list(range(1, 21))
    assert order != sorted(order)


def test_pieces_partition_a_batch_within_their_budget(rng):
    lengths = np.sort(rng.integers(1, 50, size=40))
    parts = pieces(lengths, most_tokens=120, most_rows=9)
    rows = [row for part in parts for row in range(40)[part]]
    assert rows == list(range(40))
    for part in parts:
        own = lengths[part]
        assert len(own) == 1 or (len(own) * own.max() <= 120 and len(own) <= 9)
    assert pieces(np.array([500]), most_tokens=120, most_rows=9) == [slice(0, 1)]


@pytest.mark.parametrize("decay", ["linear", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.1])
def test_schedules_rise_then_fall_to_zero(decay, warmup):
    rates = [StepSchedule(200, 3e-4, decay, warmup).rate(step) for step in range(200)]
    top = int(np.argmax(rates))
    assert max(rates) == pytest.approx(3e-4)
    assert top == (0 if warmup == 0 else 19)
    assert (np.diff(rates[:top]) > 0).all()
    assert (np.diff(rates[top + 1 :]) < 0).all()
    assert 0 < rates[-1] < 0.02 * 3e-4


@pytest.mark.parametrize("warmup", [0.0, 0.06])
def test_linear_schedule_is_that_of_transformers(warmup):
    import torch
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimizer, round(warmup * 150), 150)
    ours = StepSchedule(150, 1.0, "linear", warmup)
    rising = round(warmup * 150)
    for step in range(150):
        # Theirs starts at a rate of zero, which wastes a step.
        wanted = theirs.get_last_lr()[0] + (1 / rising if step < rising else 0)
        assert ours.rate(step) == pytest.approx(wanted)
        optimizer.step()
        theirs.step()


def test_rates_fall_with_size_and_adapters_take_more():
    sizes = [22e6, 110e6, 500e6, 7e9]
    rates = [usual_rate("full", int(size)) for size in sizes]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1e-4
    assert all(usual_rate("lora", int(size)) > usual_rate("full", int(size)) for size in sizes)


@pytest.mark.parametrize(
    ("n_rows", "epochs", "size"), [(50, 22, 8), (400, 3, 8), (1500, 3, 16), (9000, 3, 32)]
)
def test_small_sets_take_enough_steps(n_rows, epochs, size):
    settings = TrainingSettings(tuning="full", model="any").resolve(n_rows)
    assert (settings.epochs, settings.batch_size) == (epochs, size)
    assert -(-n_rows // size) * epochs >= 150


def verdicts(curve, decay="linear", noise=0.1, n_steps=150):
    """How many of 100 noisy losses are called undertrained; `curve` is of the summed rates."""
    schedule = StepSchedule(n_steps, 1.0, decay, 0.06)
    rates = np.array([schedule.rate(step) for step in range(n_steps)])
    losses = curve(np.cumsum(rates) / rates.sum())
    draws = [np.random.default_rng(seed).normal(scale=noise, size=n_steps) for seed in range(100)]
    return sum(loss_trend(losses + own, rates).is_undertrained for own in draws)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_falling_loss_is_noticed_though_its_rate_falls_to_zero(decay):
    # As MiniLM's at a tenth of its usual rate: from .70 to .59, with an accuracy of .67 of .80.
    assert verdicts(lambda time: 0.72 - 0.15 * time, decay, noise=0.05) >= 85
    assert verdicts(lambda time: 0.7 - 0.2 * time, decay, noise=0.05) >= 85


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_loss_that_has_converged_is_not(decay):
    assert verdicts(lambda time: 0.5 + 0 * time, decay) <= 5  # labels that are noise
    assert verdicts(lambda time: 0.3 + 0.4 * np.exp(-8 * time), decay) <= 10
    assert verdicts(lambda time: 0.7 * np.exp(-3 * time), decay) <= 10  # known by heart
    # MiniLM's with 30 % of the labels wrong, by ninths of three passes over 700 rows.
    wrong = [0.707, 0.681, 0.656, 0.59, 0.528, 0.403, 0.315, 0.311, 0.221]
    steps = np.array([StepSchedule(9, 1.0).rate(part) for part in range(9)])
    ends = np.cumsum(steps) / steps.sum()
    assert verdicts(lambda time: np.interp(time, ends, wrong)) <= 5


def test_the_trend_is_a_least_squares_line(rng):
    from scipy.stats import linregress

    losses = 1 - 0.004 * np.arange(120) + rng.normal(scale=0.05, size=120)
    time = np.arange(1, 121) / 120
    line = linregress(time[40:], losses[40:])
    found, first = loss_trend(losses, np.full(120, 1e-3)), losses[:12].mean()
    assert found.slope == pytest.approx(line.slope / first)
    assert found.error == pytest.approx(line.stderr / first)
    assert found.end == pytest.approx((line.slope + line.intercept) / first)
    short = loss_trend(losses[:20], np.full(20, 1e-3))
    assert np.isnan(short.slope)
    assert not short.is_undertrained


# The range test of learning_rate "auto"


def test_a_range_test_takes_a_tenth_of_the_best_rate():
    schedule = rising_schedule("full")
    rates = [schedule.rate(step) for step in range(schedule.n_steps)]
    assert (rates[0], rates[-1]) == pytest.approx((1e-6, 1e-2))
    assert np.diff(np.log(rates)) == pytest.approx(np.log(1e4) / 59)
    losses = [0.7 if rate < 1e-5 else 0.7 - 0.1 * np.log(rate / 1e-5) for rate in rates[:45]]
    rate, best = chosen_rate([*losses, *([5.0] * 15)], schedule)
    assert best == pytest.approx(rates[44])
    assert rate == pytest.approx(best / 10, rel=0.05)


def test_no_finite_loss_is_refused():
    with pytest.raises(TrainingError, match="not finite at any learning_rate"):
        chosen_rate([], rising_schedule("full"))


def test_smoothing_is_that_of_adam(rng):
    losses = rng.normal(size=20)
    weights = 0.9 ** np.arange(20)[::-1]
    assert smoothed(list(losses))[-1] == pytest.approx((weights @ losses) / weights.sum())


@pytest.mark.filterwarnings("ignore:naive, student. undertrained")  # the test ends at 1e-2
def test_auto_finds_the_same_rate_again_and_it_trains(tmp_path, rng):
    save_tiny_model(tmp_path, n_layers=1)
    texts, labels = reviews(rng, 64)
    students = [
        fit_student(
            *("naive", None, np.eye(2)[labels]),
            items=texts,
            tuning="full",
            model=str(tmp_path),
            learning_rate="auto",
            epochs=4,
            device="cpu",
            random_state=0,
        )
        for _ in range(2)
    ]
    rates = [student.diagnostics["learning_rate"][0] for student in students]
    assert rates[0] == rates[1]
    assert 1e-5 < rates[0] < 1e-2
    proba = [student.predict_proba(texts) for student in students]
    np.testing.assert_array_equal(*proba)
    assert students[0].diagnostics["real_token_share"][0] == 1  # all texts are of five words


def test_heads_need_a_number(rng):
    with pytest.raises(InputError, match="'auto' is for whole models"):
        fit_student("naive", rng.normal(size=(9, 2)), np.full((9, 2), 0.5), learning_rate="auto")


def test_a_step_looks_for_no_package_and_writes_down_no_stack(tmp_path, rng, monkeypatch):
    import importlib.util
    import traceback
    from unittest.mock import Mock

    save_tiny_model(tmp_path, n_layers=1)
    texts, labels = reviews(rng, 24)

    def calls(epochs):
        spies = Mock(wraps=traceback.format_stack), Mock(wraps=importlib.util.find_spec)
        monkeypatch.setattr(traceback, "format_stack", spies[0])
        monkeypatch.setattr(importlib.util, "find_spec", spies[1])
        given = {"settings": TrainingSettings("full", str(tmp_path), epochs=epochs, device="cpu")}
        fit_student("naive", None, np.eye(2)[labels], **given, items=texts, progress=False)
        monkeypatch.undo()
        return [spy.call_count for spy in spies]

    calls(1)  # which imports
    assert calls(6) == calls(1)
