"""Losses against closed forms, autograd, and numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import beta, dirichlet

from w2s_data.finetune import losses
from w2s_data.finetune.losses import (
    adaptive_confidence_loss,
    confidence_loss,
    cross_entropy,
    even_confidence_loss,
    evidential_loss,
    flat_divergence,
    generalized_cross_entropy,
    harden,
    harden_evenly,
    over_teachers,
    ramp,
    signed_cross_entropy,
    with_slopes,
)

CLASSES = (2, 5)


def draw(n_classes: int, n: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n_classes)
    logits = 3 * torch.randn(n, n_classes, dtype=torch.float64, generator=generator)
    target = torch.rand(n, n_classes, dtype=torch.float64, generator=generator)
    return logits.requires_grad_(), target / target.sum(-1, keepdim=True)


def gradient(loss: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss.sum(), logits)[0]


@pytest.mark.parametrize("n_classes", CLASSES)
def test_cross_entropy_is_torch_s(n_classes):
    logits, target = draw(n_classes)
    expected = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(cross_entropy(logits, target), expected)


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("q", [0.0, 1e-7])
def test_generalized_cross_entropy_tends_to_cross_entropy(n_classes, q):
    logits, target = draw(n_classes)
    loss = generalized_cross_entropy(logits, target, q)
    torch.testing.assert_close(loss, cross_entropy(logits, target), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_classes", CLASSES)
def test_generalized_cross_entropy_is_the_absolute_error_at_one(n_classes):
    logits, target = draw(n_classes)
    one_hot = harden(target)
    absolute = (one_hot - logits.softmax(-1)).abs().sum(-1) / 2
    torch.testing.assert_close(generalized_cross_entropy(logits, one_hot, 1.0), absolute)


@pytest.mark.parametrize("q", [0.3, 0.7, 2.0])
def test_generalized_cross_entropy_gradient_is_weighted_by_the_label_s_probability(q):
    logits, target = draw(5)
    one_hot = harden(target)
    weight = (logits.softmax(-1) * one_hot).sum(-1, keepdim=True) ** q
    torch.testing.assert_close(
        gradient(generalized_cross_entropy(logits, one_hot, q), logits),
        weight.detach() * gradient(cross_entropy(logits, one_hot), logits),
    )


def test_generalized_cross_entropy_stays_finite_for_hopeless_logits():
    loss = generalized_cross_entropy(
        torch.tensor([[200.0, -200.0]]), torch.tensor([[0.0, 1.0]]), 0.7
    )
    torch.testing.assert_close(loss, torch.tensor([1 / 0.7]))


def test_ramp_is_linear_then_flat():
    weights = [ramp(step, n_steps=1000, largest=0.75, share=0.2) for step in (0, 100, 200, 999)]
    assert weights == [0.0, 0.375, 0.75, 0.75]
    assert ramp(0, n_steps=10, largest=0.5, share=0.0) == 0.5


@pytest.mark.parametrize("own", [0.0, 0.375, 0.75])
def test_confidence_loss_mixes_the_targets(own):
    logits, target = draw(5)
    expected = (1 - own) * cross_entropy(logits, target) - own * logits.log_softmax(-1).amax(-1)
    torch.testing.assert_close(confidence_loss(logits, target, own), expected)
    mixed = (1 - own) * target + own * harden(logits)
    torch.testing.assert_close(
        gradient(confidence_loss(logits, target, own), logits),
        (logits.softmax(-1) - mixed).detach(),  # no gradient through the hardened label
    )


def test_even_hardening_of_two_classes_is_the_published_quantile():
    logits, target = draw(2)
    preds = logits.detach().softmax(-1)
    threshold = torch.quantile(preds[:, 0], target.mean(0)[1])
    expected = torch.stack([preds[:, 0] >= threshold, preds[:, 0] < threshold], dim=-1)
    found = harden_evenly(logits.detach(), target.mean(-2))
    torch.testing.assert_close(found, expected.to(found.dtype))


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_even_hardening_meets_the_shares_and_prefers_the_likely(n_classes):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 128, n_classes, generator=generator)
    shares = torch.rand(4, n_classes, generator=generator) ** 2
    shares[:, 0] = 0
    shares /= shares.sum(-1, keepdim=True)
    found = harden_evenly(logits, shares)
    torch.testing.assert_close(found.sum(-1), torch.ones(4, 128))
    assert (found.sum(-2) - 128 * shares).abs().max() <= 2
    # Two rows never gain by an exchange of their classes.
    scores, codes = logits.log_softmax(-1)[0], found[0].argmax(-1)
    own = scores[:, codes]  # of row i for the class of row j
    stay = own.diagonal()[:, None] + own.diagonal()[None]
    assert (stay >= own + own.T - 1e-4).all()


def test_even_confidence_is_the_plain_one_where_the_shares_are_met():
    logits, target = draw(5)
    hardened = harden(logits.detach())
    as_often = hardened + 0 * target
    loss = even_confidence_loss(logits, as_often, 0.5)
    torch.testing.assert_close(loss, confidence_loss(logits, as_often, 0.5))


def test_a_loss_over_teachers_is_the_mean_of_those_that_vote():
    logits, one = draw(3)
    _, other = draw(3, 50)
    other = other.roll(1, 0)
    targets = torch.stack([one, other, torch.full_like(one, 1 / 3)], dim=-2)
    targets[:10, 1] = 1 / 3
    found = over_teachers(evidential_loss)(logits, targets, 0.3)
    first, second = (evidential_loss(logits, target, 0.3) for target in (one, other))
    expected = torch.where(torch.arange(50) < 10, first, (first + second) / 2)
    torch.testing.assert_close(found, expected)


def test_adaptive_confidence_weighs_by_exponentials_of_the_losses():
    logits, target = draw(5)
    own_label = harden(logits.detach())
    to_own, to_teacher = cross_entropy(logits, own_label), cross_entropy(logits, target)
    weight = (to_own.exp() / (to_own.exp() + to_teacher.exp())).detach()
    torch.testing.assert_close(
        adaptive_confidence_loss(logits, target), (1 - weight) * to_teacher + weight * to_own
    )
    mixed = (1 - weight)[:, None] * target + weight[:, None] * own_label
    torch.testing.assert_close(
        gradient(adaptive_confidence_loss(logits, target), logits),
        (logits.softmax(-1) - mixed).detach(),
    )


@pytest.mark.parametrize("evidence", [(0.0, 0.0), (2.5, 0.3), (-1.0, 7.0)])
@pytest.mark.parametrize("label", [(1.0, 0.0), (0.3, 0.7)])
def test_evidential_loss_is_the_expectation_under_the_dirichlet(evidence, label):
    a, b = (1 + max(value, 0.0) for value in evidence)
    density = beta(a, b).pdf
    expected = quad(lambda p: -(label[0] * np.log(p) + label[1] * np.log1p(-p)) * density(p), 0, 1)[
        0
    ]
    loss = evidential_loss(
        torch.tensor([evidence], dtype=torch.float64), torch.tensor([label]).double(), 0.0
    )
    assert float(loss) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("alpha", [(1.0, 1.0), (3.0, 0.5), (1.2, 4.0, 2.0)])
def test_divergence_from_the_flat_dirichlet(alpha):
    found = float(flat_divergence(torch.tensor(alpha, dtype=torch.float64)))
    flat = dirichlet(np.ones(len(alpha)))
    if len(alpha) == 2:
        density = beta(*alpha).pdf
        expected = quad(lambda p: density(p) * np.log(density(p)), 0, 1)[0]
    else:
        sample = dirichlet(alpha).rvs(200_000, random_state=0)
        log_density = dirichlet(alpha).logpdf(sample.T)
        expected = log_density.mean() - flat.logpdf(np.full(len(alpha), 1 / len(alpha)))
    assert found == pytest.approx(expected, abs=1e-6 if len(alpha) == 2 else 5e-3)


def test_evidential_penalty_falls_on_what_speaks_against_the_label():
    for_label = torch.tensor([[50.0, 0.0, 0.0]])
    against = torch.tensor([[0.0, 50.0, 0.0]])
    label = torch.tensor([[1.0, 0.0, 0.0]])
    for logits, free in ((for_label, True), (against, False)):
        penalty = evidential_loss(logits, label, 1.0) - evidential_loss(logits, label, 0.0)
        assert (abs(float(penalty)) < 1e-5) == free


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize(
    ("loss", "arguments"),
    [
        (cross_entropy, ()),
        (signed_cross_entropy, ()),
        (confidence_loss, (0.3,)),
        (even_confidence_loss, (0.3,)),
        (adaptive_confidence_loss, ()),
        (evidential_loss, (0.5,)),
    ],
)
def test_slopes_are_autograd_s(loss, arguments, n_classes):
    logits, target = draw(n_classes)
    if loss is signed_cross_entropy:
        target = 3 * target - 1
    losses, slopes = with_slopes(loss, logits.detach(), target, *arguments)
    expected = loss(logits, target, *arguments)
    torch.testing.assert_close(losses, expected.detach())
    torch.testing.assert_close(slopes, gradient(expected, logits))


@pytest.mark.parametrize("n_classes", CLASSES)
def test_offsets_are_the_same_in_numpy_and_torch(n_classes):
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(3, n_classes, 40, generator=generator)
    wanted = torch.full((3, n_classes, 1), 40 // n_classes)
    wanted[0] = torch.tensor([40] + [0] * (n_classes - 1))[:, None]
    found = losses._shifted(np, np.sort, scores.numpy(), wanted.numpy())
    expected = losses._shifted(torch, lambda values: values.sort().values, scores, wanted)
    assert found.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(found), expected)
