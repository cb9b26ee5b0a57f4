"""How whole models are trained: length groups, steps, rates, and whether it was enough."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_data.finetune.levels.convergence import is_undertrained, loss_trend
from w2s_data.finetune.levels.lengths import pieces, similar_rows
from w2s_data.finetune.levels.schedule import StepSchedule, usual_rate
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


def test_a_falling_loss_is_noticed_and_a_flat_one_is_not():
    n_falling = n_flat = 0
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(scale=0.1, size=150)
        time = np.arange(150)
        n_falling += is_undertrained(0.8 - 0.004 * time + noise)
        n_flat += is_undertrained(0.3 + 0.4 * np.exp(-time / 15) + noise)
    assert n_falling >= 90
    assert n_flat <= 5


def test_the_trend_is_a_least_squares_line(rng):
    from scipy.stats import linregress

    losses = 1 - 0.004 * np.arange(120) + rng.normal(scale=0.05, size=120)
    line = linregress(np.arange(40), losses[-40:])
    change, error = loss_trend(losses)
    first = losses[:12].mean()
    assert change == pytest.approx(40 * line.slope / first)
    assert error == pytest.approx(40 * line.stderr / first)
    assert np.isnan(loss_trend(losses[:20])).all()
    assert not is_undertrained(losses[:20])
