"""A training that several processes share, as `accelerate launch` starts them.

python -m tests.w2s_data.finetune.together MODEL METHOD OUTPUT CHECKPOINT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch

from tests.w2s_data.finetune.test_adapters import reviews, weak
from w2s_data.finetune import measure_gain
from w2s_data.finetune.levels.adapters import train_whole
from w2s_data.finetune.levels.saved import save_whole
from w2s_data.finetune.methods.registry import make_method
from w2s_data.finetune.settings import Adaptation, ResolvedSettings
from w2s_data.finetune.task import Pool


def local(tensor):
    """The share of a tensor that this process has."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def measure(model, checkpoint):
    """Probabilities of all items by the best student of a measurement, which the first leads."""
    rng = np.random.default_rng(0)
    texts, labels = reviews(rng, 90)
    result = measure_gain(
        *(None, weak(rng, labels, n_teachers=2), labels),
        np.repeat(["labelled", "pool", "test"], 30),
        methods=["naive"],
        seeds=1,
        items=texts,
        tuning="full",
        model=Adaptation(model, micro_tokens=60),
        epochs=3,
        batch_size=15,
        learning_rate=1e-3,
        device="cpu",
        checkpoint=checkpoint,
        controls=False,
        progress=False,
        random_state=0,
    )
    return result.student("naive").predict_proba(texts)


def main() -> None:
    """Train a tiny model without dropout, whose masks differ between processes."""
    model, method, output, checkpoint = sys.argv[1:]
    torch.nn.Dropout.forward = lambda _, x: x
    torch.nn.functional.dropout = lambda x, *_, **__: x
    rng = np.random.default_rng(0)
    texts, labels = reviews(rng, 75)  # the last batch is shorter, and odd
    teachers = weak(rng, labels, n_teachers=2)
    settings = ResolvedSettings(
        "full",
        Adaptation(model, micro_tokens=30, evaluate_every=4),
        epochs=3,
        batch_size=15,
        learning_rate=1e-3,
        device="cpu",
        checkpoint=checkpoint,
        controls=False,
    )
    pool = Pool(teachers, rng.uniform(0.5, 2, size=len(texts)))
    held_out = reviews(rng, 20)
    outcome, history = train_whole(
        *(make_method(method), pool, settings, texts, held_out[0], np.eye(2)[held_out[1]])
    )
    network = outcome.model.models[0].network
    number = os.environ.get("RANK", "0")
    save_whole(outcome.model.models[0], Path(output) / "saved", {})
    np.savez(
        Path(output) / f"{number}.npz",
        proba=outcome.model.proba(texts),
        loss=[row["loss"] for row in history],
        held=sum(local(p).numel() for p in network.parameters().values()),
        weights=outcome.diagnostics.get("weights", np.zeros(0)),
        measured=measure(model, f"{output}/measured"),
    )


if __name__ == "__main__":
    main()
