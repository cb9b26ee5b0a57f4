"""Sketched gradients: those of a head are its features, and a model shares all with itself."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kinds import make_texts, save_model
from w2s_data import DiscrepancyAnalyzer
from w2s_data.errors import InputError
from w2s_data.finetune import Adaptation, TrainingSettings, fit_student
from w2s_data.finetune.gradients import gradient_discrepancy, gradient_features

WIDTH = 16  # of the tiny models


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    """Adapters of two tiny models with different random weights, and items that they read."""
    rng = np.random.default_rng(0)
    items, labels = make_texts(rng, 8)
    made = []
    for name in ("bert", "roberta"):
        model = Adaptation(str(save_model(tmp_path_factory.mktemp(name), name)), rank=2)
        settings = TrainingSettings(
            tuning="lora", model=model, epochs=1, batch_size=8, device="cpu", learning_rate=1e-2
        )
        made.append(fit_student("naive", None, np.eye(2)[labels], settings=settings, items=items))
    return (*made, make_texts(rng, 50)[0])


def pooled(student, items):
    network = student.model.models[0].network
    network.load(student.model.models[0].state)
    read = network.read(items)
    return network.batched(read.lengths, WIDTH, lambda rows: network.pooled(read, rows)).numpy()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:student, student. undertrained")
def test_gradients_of_a_head_have_the_dimensions_of_its_features(students):
    strong, weak, items = students
    sketches = [
        gradient_features(student, items, n_columns=64, weights="head.")
        for student in (strong, weak)
    ]
    features = [pooled(student, items) for student in (strong, weak)]
    found = DiscrepancyAnalyzer(n_jackknife=0).fit(*(x.astype(np.float64) for x in sketches))
    known = DiscrepancyAnalyzer(n_jackknife=0).fit(*features)
    assert (found.d_s_, found.d_w_) == (known.d_s_, known.d_w_)
    assert found.correlation_dimension_ == pytest.approx(known.correlation_dimension_, abs=1e-2)
    # Inner products are kept but for the spread of a sketch: those of [x; 1], times |contrast|^2.
    wide = gradient_features(strong, items[:9], n_columns=4096, weights="head.")
    inner = features[0][:9] @ features[0][:9].T + 1
    assert wide @ wide.T == pytest.approx(inner, rel=0.15, abs=0.15 * float(inner.max()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:student, student. undertrained")
def test_a_model_shares_all_of_its_gradients_with_itself(students):
    strong, _, items = students
    same = gradient_discrepancy(strong, strong, items[:20], components=5)
    assert same.correlation_dimension_ == pytest.approx(5, abs=1e-3)
    # Sketches are the same for the same seed, whatever the size of a block.
    again = gradient_features(strong, items[:3], n_columns=8)
    assert again == pytest.approx(gradient_features(strong, items[:6], n_columns=8)[:3], abs=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:student, student. undertrained")
def test_bad_input(students):
    with pytest.raises(InputError, match=r"start with 'backbone\.' or 'head\.'"):
        gradient_features(students[0], students[2][:2], weights="tail.")
    features = np.random.default_rng(0).normal(size=(40, 3))
    head = fit_student("naive", features, np.eye(2)[(features[:, 0] > 0).astype(int)])
    with pytest.raises(InputError, match="of a linear head are its features"):
        gradient_features(head, features)
