"""Which device computes: CUDA, then MPS, then CPU, said once in the log."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from w2s_data.errors import InputError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn "auto", a name or a `torch.device` into a device that is present.

    Raises
    ------
    InputError
        If the device is unknown or not present on this machine.
    """
    import torch

    if isinstance(device, torch.device):
        return device
    if device == "auto":
        return _best_device()
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(
            f"unknown device {device!r}; use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'"
        ) from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device!r} was asked for, but torch sees no CUDA device")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {device!r} was asked for, but torch sees no MPS device")
    return chosen


@functools.cache
def _best_device() -> torch.device:
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        logger.info("computing on CUDA (%s)", name)
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        logger.info("computing on MPS")
        return torch.device("mps")
    logger.info("computing on the CPU (%d threads)", torch.get_num_threads())
    return torch.device("cpu")
