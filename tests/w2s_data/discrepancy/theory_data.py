"""Reference numbers of the theory, computed elsewhere, and the limit some of them come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.w2s_data.discrepancy.equivalents import expected_variances
from tests.w2s_data.spurious.mean_shift import GroupModel
from w2s_data.spurious.model import GroupRisks

Item = dict[str, Any]


def reference() -> list[Item]:
    """Items with `id`, `section`, inputs and numbers; sections A, B, C, DET."""
    text = (Path(__file__).parent / "theory_reference.json").read_text(encoding="utf-8")
    items: list[Item] = json.loads(text)
    return items


def group_model(inputs: Item) -> GroupModel:
    return GroupModel(np.array(inputs["muT"]), np.array(inputs["muS"]), np.array(inputs["Xi"]))


def limit(groups: GroupModel, etas: Any, gamma: float, nu: float, size: int = 4000) -> GroupRisks:
    """Proportional limit of the mixture by fixed points, on rows whose moments match exactly."""
    eta_l, eta_u, eta_t = etas
    d_w, d_s = len(groups.mu_t), len(groups.mu_s)
    cov = np.block([[np.eye(d_w), groups.xi], [groups.xi.T, np.eye(d_s)]])
    rows = np.random.default_rng(0).normal(size=(size, d_w + d_s))
    rows -= rows.mean(axis=0)
    rows @= np.linalg.inv(np.linalg.cholesky(np.cov(rows.T, bias=True))).T
    values, vectors = np.linalg.eigh(cov)
    within = rows @ (vectors * np.sqrt(np.clip(values, 0, None))).T
    shift = np.concatenate([groups.mu_t, groups.mu_s])
    both = np.hstack([np.ones((2 * size, 1)), np.vstack([within, within + shift])])
    weights = {e: np.repeat([1 - e, e], size) for e in etas}
    teacher, student = expected_variances(
        both[:, np.r_[0, d_w + 1 : d_w + d_s + 1]],
        both[:, : d_w + 1],
        1 / gamma,
        1 / nu,
        labelled=weights[eta_l],
        pool=weights[eta_u],
        tolerance=1e-7,
    )
    test = weights[eta_t] / weights[eta_t].sum()
    return GroupRisks(float(test @ teacher), float(test @ student))
