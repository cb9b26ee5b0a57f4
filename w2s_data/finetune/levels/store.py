"""Trainings of whole models on disk: one that was killed goes on at the epoch it had reached."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.errors import RunError
from w2s_data.finetune.loop import EarlyStop, Trainer
from w2s_data.utils.io import atomic_path, jsonable

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from w2s_data.finetune.levels.whole import WholeNetwork


@dataclass(frozen=True)
class TrainingStore:
    """The file of one training.

    Attributes
    ----------
    path : Path
    key : str
        Hash of all that the training depends on.
    """

    path: Path
    key: str

    @classmethod
    def of(cls, folder: Path, number: int, stage: str, key: str) -> TrainingStore:
        """The file of the training with a number and a name."""
        slug = re.sub(r"\W+", "-", stage)
        return cls(folder / f"{number:02d}-{slug}.safetensors", key)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and record, or None where there is no file.

        Raises
        ------
        RunError
            If the file is of another configuration, or damaged.
        """
        if not self.path.exists():
            return None
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                record = json.loads(file.metadata()["w2s_training"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"cannot read checkpoint {str(self.path)!r}: {error}; delete it"
            ) from error
        if record["key"] != self.key:
            raise RunError(
                f"checkpoint {str(self.path)!r} is of another configuration (data, method or "
                "settings differ); use another folder or delete it"
            )
        return tensors, record

    def write(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Write atomically."""
        from safetensors.torch import save_file

        text = json.dumps(jsonable({**record, "key": self.key}))
        with atomic_path(self.path) as partial:
            save_file(
                {n: t.contiguous() for n, t in tensors.items()}, partial, {"w2s_training": text}
            )


class StoredTrainer(Trainer):
    """The shared loop for one seed, which leaves its state after every epoch.

    Parameters
    ----------
    store : TrainingStore or None
    history : list of dict
        Rows of the epochs; those of a stored training are put back.
    reseed : callable
        Starts the random numbers of an epoch, so that a resumed one draws the same dropout.
    """

    network: WholeNetwork

    def __init__(
        self,
        *args: Any,
        store: TrainingStore | None,
        history: list[dict[str, Any]],
        reseed: Callable[[int], None],
    ) -> None:
        super().__init__(*args)
        self.store = store
        self.history = history
        self.reseed = reseed
        self._first_row = len(history)

    def _begin(self, epoch: int) -> None:
        """Every epoch has a stream of its own, so that one that is taken up draws the same."""
        self.reseed(1 + epoch)

    def _restore(self, early: EarlyStop | None) -> int:
        """Return to the stored state; the number of epochs that are done."""
        found = self.store.read() if self.store is not None else None
        if found is None:
            return 0
        tensors, record = found
        self.network.load(_part(tensors, "weights"))
        self.history += record["history"]
        parameters = self.network.parameters()
        for name in (n for n in parameters if f"first.{n}" in tensors):
            parameter = parameters[name]
            self.optimizer.state[parameter] = {
                "step": tensors[f"step.{name}"],
                "exp_avg": tensors[f"first.{name}"].to(parameter.device),
                "exp_avg_sq": tensors[f"second.{name}"].to(parameter.device),
            }
        if early is not None and record["best"] is not None:
            early.best = np.array(record["best"])
            early.waited = np.array(record["waited"])
            self.network.kept = _part(tensors, "kept")
        return int(record["epochs"])

    def _save_state(self, epochs: int, early: EarlyStop | None) -> None:
        """Store the state after some epochs; after the last one the weights alone."""
        if self.store is None:
            return
        tensors = {f"weights.{name}": value for name, value in self.network.state().items()}
        record: dict[str, Any] = {
            "epochs": epochs,
            "history": self.history[self._first_row :],
            "best": None,
        }
        if epochs < self.schedule.epochs:
            for name, parameter in self.network.parameters().items():
                moments = self.optimizer.state.get(parameter)
                if moments:
                    tensors[f"step.{name}"] = _on_cpu(moments["step"])
                    tensors[f"first.{name}"] = _on_cpu(moments["exp_avg"])
                    tensors[f"second.{name}"] = _on_cpu(moments["exp_avg_sq"])
            if early is not None:
                tensors |= {f"kept.{name}": t for name, t in self.network.kept.items()}
                record |= {"best": early.best, "waited": early.waited}
        self.store.write(tensors, record)


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the CPU."""
    return tensor.detach().cpu()


def _part(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{kind}."): value
        for name, value in tensors.items()
        if name.startswith(f"{kind}.")
    }
