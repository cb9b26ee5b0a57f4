"""Many penalised heads at once: each against scikit-learn, alone, and with weights of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from w2s_data.finetune.levels.optimum import solve_heads

N, D = 400, 6


def in_blocks(rows, size=150):
    def blocks():
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            yield part, torch.from_numpy(rows[part])

    return blocks


@pytest.fixture
def rows(rng):
    correlated = rng.normal(size=(N, D)) @ rng.normal(size=(D, D))
    return ((correlated - correlated.mean(axis=0)) / correlated.std(axis=0)).astype(np.float32)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_every_head_is_scikit_learn_s_on_its_own_rows_and_labels(rng, rows, n_classes):
    codes = (rows @ rng.normal(size=(D, n_classes)) + rng.gumbel(size=(3, N, n_classes))).argmax(2)
    weights = rng.integers(3, size=(3, N)).astype(np.float32)
    weights /= weights.sum(axis=1, keepdims=True)
    labels = torch.from_numpy(np.eye(n_classes, dtype=np.float32)[codes]).mT.contiguous()
    coef, intercept = solve_heads(in_blocks(rows), labels, torch.from_numpy(weights), 0.02)
    for head in range(3):
        model = LogisticRegression(C=1 / 0.02, tol=1e-9, max_iter=2000)
        model.fit(rows.astype(np.float64), codes[head], sample_weight=weights[head])
        ours = softmax(rows @ coef[head].numpy().T + intercept[head].numpy(), axis=1)
        np.testing.assert_allclose(ours, model.predict_proba(rows), atol=1e-4)


def test_a_head_does_not_depend_on_those_beside_it(rng, rows):
    labels = torch.from_numpy(rng.dirichlet(np.ones(3), size=N).astype(np.float32)).mT[None]
    weights = torch.from_numpy(rng.dirichlet(np.ones(N), size=7).astype(np.float32))
    together = solve_heads(in_blocks(rows), labels, weights, 1e-2)
    alone = solve_heads(in_blocks(rows), labels, weights[4:5], 1e-2)
    for one, all_of_them in zip(alone, together, strict=True):
        torch.testing.assert_close(one[0], all_of_them[4], atol=2e-3, rtol=0)


def test_without_an_intercept_opposite_rows_have_opposite_logits(rng, rows):
    labels = torch.from_numpy(rng.dirichlet(np.ones(2), size=N).astype(np.float32)).mT[None]
    weights = torch.full((1, N), 1 / N)
    coef, intercept = solve_heads(in_blocks(rows), labels, weights, 1e-2, fit_intercept=False)
    assert (intercept == 0).all()
    torch.testing.assert_close(coef[0, 0], -coef[0, 1], atol=1e-5, rtol=0)
