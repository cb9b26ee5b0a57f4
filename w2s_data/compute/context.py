"""Resources of a stage, in one value that is handed down."""

from __future__ import annotations

from dataclasses import dataclass, field

from w2s_data.compute.base import Engine, LocalEngine
from w2s_data.compute.memory import MemoryLimit
from w2s_data.compute.tracking import Tracking


@dataclass(frozen=True)
class Compute:
    """Engine, device, memory limit, progress, seed and trackers of a stage.

    By default blocks are computed in this process, within half of the memory that is free when
    the context is made. `device` is "auto", "cpu", "cuda", "cuda:1" or "mps"; `progress=None`
    draws bars where standard error is a terminal.

    >>> Compute(memory=MemoryLimit.parse("2GB"), seed=1)
    Compute(engine='local', device='auto', memory='2 GB', progress=None, seed=1)
    """

    engine: Engine = field(default_factory=LocalEngine)
    device: str = "auto"
    memory: MemoryLimit = field(default_factory=lambda: MemoryLimit.parse(None))
    progress: bool | None = None
    seed: int = 0
    tracking: Tracking = field(default_factory=Tracking)

    def __repr__(self) -> str:
        return (
            f"Compute(engine={self.engine.name!r}, device={self.device!r}, "
            f"memory={str(self.memory)!r}, progress={self.progress}, seed={self.seed})"
        )
