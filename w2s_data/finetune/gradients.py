r"""Dimensions of a fine-tuned model, from gradients of its outputs by random sketches.

Near its trained weights a model is linear in them, with the gradient of its output at an item as
that item's features. The dimensions that a fine-tuned model uses, and those that two of them share,
are therefore those of its gradients, as those of a head on frozen features are those of the
features, which are its gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.discrepancy.analyzer import Components, DiscrepancyAnalyzer
from w2s_data.errors import InputError
from w2s_data.finetune.levels.adapters import WholeModel
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import check_parameters, whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor

GRADIENT_BYTES = 256 * 2**20  # gradients of some items, held before they are sketched
CHUNK = 2**15  # weights whose random directions are held at a time


def gradient_features(
    student: Any,
    items: Sequence[Any],
    *,
    n_columns: int = 256,
    weights: str = "",
    random_state: int = 0,
) -> FloatArray:
    r"""Return a random sketch (n, k) of the gradients of a model's output at n items.

    .. math:: z_i = \Omega^T \nabla_\theta f_\theta(x_i) / \sqrt{k}, \qquad
              \Omega_{jl} \sim N(0, 1)

    keeps the inner products of gradients up to :math:`1 / \sqrt{k}`, and their span where it has no
    more than k dimensions. The gradient is that of the output, not of a loss, so that no label
    enters. With several classes the output is one random contrast of the logits.

    Memory is that of 256 MB of gradients and k random numbers for each of 32,768 weights. These
    are drawn again for every block of items: adapters are quick, all weights of a large model are
    not.

    Parameters
    ----------
    student : Student, WholeValues or WholeModel
        Tuned by "lora" or "full"; with several seeds the first is used.
    items : sequence of n texts or images
    n_columns : int
        k, well above the dimensions that are looked for.
    weights : str
        Only trained weights whose names start so: "head." are those of the head alone, whose
        gradients are the pooled vectors, and "backbone." all others.
    random_state : int
        Seed of the random directions.

    References
    ----------
    Dong et al., 2025 (arXiv 2502.05075) measure the intrinsic dimension of fine-tuning by sketched
    gradients.
    """
    check_parameters({"n_columns": n_columns}, {"n_columns": whole(1)})
    model = _whole_model(student)
    network = model.network
    network.load(model.state)
    network.depth = model.depth
    chosen = [p for name, p in network.parameters().items() if name.startswith(weights)]
    if not chosen:
        names = sorted({name.partition(".")[0] + "." for name in network.parameters()})
        raise InputError(
            f"no trained weight has a name that starts with {weights!r}: they start with "
            f"{' or '.join(map(repr, names))}"
        )
    read = network.read(items)
    found = np.empty((len(read.lengths), n_columns), dtype=np.float32)
    at_once = max(1, GRADIENT_BYTES // (4 * sum(p.numel() for p in chosen)))
    contrast = _contrast(network.n_classes, random_state)
    for start in range(0, len(found), at_once):
        rows = range(start, min(start + at_once, len(found)))
        gradients = _gradients(network, read, rows, chosen, contrast)
        found[rows.start : rows.stop] = _sketched(gradients, n_columns, random_state).cpu().numpy()
    return found


def gradient_discrepancy(
    strong_student: Any,
    weak_student: Any,
    items: Sequence[Any],
    *,
    components: Components = 0.9,
    n_columns: int = 256,
    weights: str = "",
    random_state: int = 0,
) -> DiscrepancyAnalyzer:
    """Measure dimensions of two fine-tuned models, and those that they share, on the same items.

    Sample canonical correlations of the sketches, de-biased: free of how the weights of either
    model are arranged, which an overlap of coordinates of two parameter spaces is not.

    Parameters
    ----------
    components : None, int, float or "mp"
        For both, as `strong_components` of `DiscrepancyAnalyzer`. A share of the variance counts
        directions, of which gradients have a few large ones and many small ones. Items must
        outnumber both dimensions together.
    n_columns, weights, random_state
        As in `gradient_features`.
    """
    sketches = (
        gradient_features(
            student, items, n_columns=n_columns, weights=weights, random_state=random_state
        )
        for student in (strong_student, weak_student)
    )
    analyzer = DiscrepancyAnalyzer(components, components, random_state=random_state)
    return analyzer.fit(*sketches)


def _whole_model(student: Any) -> WholeModel:
    """Return the model of the first seed."""
    model = getattr(student, "model", student)
    model = next(iter(getattr(model, "models", (model,))))
    if not isinstance(model, WholeModel):
        raise InputError(
            "gradients are those of a student of tuning 'lora' or 'full'; those of a linear head "
            "are its features, which DiscrepancyAnalyzer reads"
        )
    return model


def _contrast(n_classes: int, seed: int) -> FloatArray:
    """Return weights of the outputs: a random direction in which not all logits move together."""
    if n_classes == 1:
        return np.ones(1, dtype=np.float32)
    drawn = np.random.default_rng(seed).standard_normal(n_classes)
    centred = drawn - drawn.mean()
    return np.asarray(centred / np.linalg.norm(centred), dtype=np.float32)


def _gradients(
    network: Any, read: Any, rows: range, chosen: list[torch.nn.Parameter], contrast: FloatArray
) -> Tensor:
    """Compute gradients (B, P) of the output, item by item."""
    import torch

    network.backbone.eval()  # without dropout
    direction = torch.from_numpy(contrast).to(network.device)
    found = torch.empty((len(rows), sum(p.numel() for p in chosen)), device=network.device)
    for place, row in enumerate(rows):
        logits = network.head(network.pooled(read, np.array([row])))
        output = (logits[0].float() * direction).sum()
        parts = torch.autograd.grad(output, chosen, allow_unused=True)
        pieces = [
            torch.zeros(p.numel(), device=network.device) if g is None else g.detach().reshape(-1)
            for g, p in zip(parts, chosen, strict=True)
        ]
        found[place] = torch.cat(pieces)
    return found


def _sketched(gradients: Tensor, n_columns: int, seed: int) -> Tensor:
    """Multiply by a Gaussian matrix, block by block of the weights; the same for every call."""
    import torch

    found: Tensor = torch.zeros((len(gradients), n_columns), device=gradients.device)
    for part, directions in _directions(gradients.shape[1], n_columns, seed):
        found += gradients[:, part] @ directions.to(gradients.device)
    found /= n_columns**0.5
    return found


def _directions(n: int, n_columns: int, seed: int) -> Iterator[tuple[slice, Tensor]]:
    import torch

    # On the CPU: the same directions on every device.
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, n, CHUNK):
        part = slice(start, min(start + CHUNK, n))
        yield part, torch.randn((part.stop - part.start, n_columns), generator=generator)
