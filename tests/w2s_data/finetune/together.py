"""A training that several processes share, each with the environment of `accelerate launch`.

python -m tests.w2s_data.finetune.together FOLDER METHOD

The processes are forks of this one, which has imported what they need.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from pathlib import Path

import numpy as np
import torch

from tests.forks import forked
from tests.w2s_data.finetune.test_adapters import reviews, weak
from w2s_data.finetune import measure_gain
from w2s_data.finetune.levels.adapters import train_whole
from w2s_data.finetune.levels.saved import save_whole
from w2s_data.finetune.methods.registry import make_method
from w2s_data.finetune.pool import Pool
from w2s_data.finetune.settings import Adaptation, ResolvedSettings


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


def train(folder: Path, place: Path, method: str) -> None:
    """Train a tiny model without dropout, whose masks differ between processes."""
    model = str(folder / "tiny")
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
        checkpoint=str(place / "checkpoint"),
        controls=False,
    )
    pool = Pool(teachers, rng.uniform(0.5, 2, size=len(texts)))
    held_out = reviews(rng, 20)
    outcome, history = train_whole(
        *(make_method(method), pool, settings, texts, held_out[0], np.eye(2)[held_out[1]])
    )
    network = outcome.model.models[0].network
    number = os.environ.get("RANK", "0")
    save_whole(outcome.model.models[0], place / "saved", {})
    np.savez(
        place / f"{number}.npz",
        proba=outcome.model.proba(texts),
        loss=[row["loss"] for row in history],
        held=sum(local(p).numel() for p in network.parameters().values()),
        weights=outcome.diagnostics.get("weights", np.zeros(0)),
        measured=measure(model, str(place / "measured")),
    )


def start(folder: Path, place: Path, method: str, environment: dict[str, str]) -> int:
    """Train in a fork of this process; return its number."""

    def work() -> None:
        os.environ.update(environment)
        train(folder, place, method)

    return forked(work)


def run(folder: Path, place: Path, method: str, n_processes: int, **environment: str) -> None:
    """Train with so many processes."""
    place.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": str(n_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [{"RANK": n, "LOCAL_RANK": n} for n in map(str, range(n_processes))]
    alone = n_processes == 1
    pids = [
        start(folder, place, method, {} if alone else environment | common | rank) for rank in ranks
    ]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    if any(codes):
        sys.exit(f"{place.name}: exit codes {codes}")


def main() -> None:
    """Train alone, with two processes, and with two that divide the weights."""
    for module in (
        "accelerate",
        "torch.distributed.fsdp",
        "transformers.models.bert.modeling_bert",
    ):
        importlib.import_module(module)
    folder, method = Path(sys.argv[1]), sys.argv[2]
    run(folder, folder / "alone", method, 1)
    run(folder, folder / "together", method, 2)
    run(folder, folder / "divided", method, 2, ACCELERATE_USE_FSDP="true", FSDP_VERSION="2")


if __name__ == "__main__":
    main()
