"""Choose a device (CUDA, then MPS, then CPU), and recognize its failures."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from w2s_data.errors import InputError, first_line

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")

T = TypeVar("T")

# Parts of the messages of a device that failed for good, in lower case.
LOST = ("cuda error", "cuda driver", "cublas", "cudnn", "cusolver", "nvml", "acceleratorerror")
# Present where a driver of an accelerator is: Nvidia's, that of its boards, of WSL, and AMD's.
DRIVERS = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")
_UNKNOWN = "unknown device {!r}; use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'"


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn "auto", a name or a `torch.device` into a device that is present.

    Raise InputError if the device is unknown or not present on this machine.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    import torch

    if isinstance(device, torch.device):
        return device
    if device == "auto":
        return _best_device()
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(_UNKNOWN.format(device)) from error
    # torch knows more kinds, such as "meta", which computes nothing.
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise InputError(_UNKNOWN.format(device))
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {device!r} was asked for, but torch sees no CUDA device")
    if chosen.type == "cuda" and (chosen.index or 0) >= (count := torch.cuda.device_count()):
        raise InputError(f"device {device!r} was asked for, but torch sees {count} CUDA device(s)")
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
    n = torch.get_num_threads()
    logger.info("computing on the CPU (%d thread%s)", n, "s" * (n > 1))
    return torch.device("cpu")


def is_cpu(device: str | torch.device) -> bool:
    """Return whether `resolve_device` gives the CPU, without importing torch where that is plain.

    The import takes longer than most of what is computed in numpy on a CPU.

    Examples
    --------
    >>> is_cpu("cpu")
    True
    """
    if "torch" not in sys.modules and (device == "cpu" or (device == "auto" and _only_a_cpu())):
        return True
    return resolve_device(device).type == "cpu"


@functools.cache
def _only_a_cpu() -> bool:
    """Return whether this machine surely has no accelerator that torch could use."""
    if sys.platform != "linux":
        return False
    try:
        return metadata.version("torch").endswith("+cpu") or not any(
            Path(driver).exists() for driver in DRIVERS
        )
    except metadata.PackageNotFoundError:  # of an unusual build
        return False


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the type in which a pretrained model runs fastest without loss that matters.

    bfloat16 on CUDA and on CPUs that multiply it in hardware (AVX512-BF16, AMX), else float32.
    """
    import torch

    # Measured on a CPU with AVX512-BF16: MiniLM and MobileNetV2 run 1.8 times as fast, and the
    # cosines with the float32 vectors are .9999 and .998.
    in_hardware = device.type == "cuda" or (
        device.type == "cpu"
        and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    )
    return torch.bfloat16 if in_hardware else torch.float32


def warn_if_imitated(dtype: torch.dtype, device: torch.device) -> None:
    """Log that float32 is faster where a CPU has no instructions for half precision."""
    # Measured on such a CPU: MobileNetV2 takes six times as long in bfloat16.
    if device.type == "cpu" and dtype.itemsize == 2 and dtype != fast_dtype(device):
        logger.warning(
            "this CPU does not multiply %s in hardware: float32 is several times as fast",
            str(dtype).removeprefix("torch."),
        )


def every_device(device: str | torch.device = "auto") -> list[torch.device]:
    """Return the devices that share work: all CUDA devices for "auto" and "cuda", else one."""
    import torch

    first = resolve_device(device)
    if first != torch.device("cuda"):
        return [first]
    return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]


def free_bytes(device: torch.device) -> int | None:
    """Return the memory of a CUDA device that tensors can take now; None elsewhere."""
    import torch

    if device.type != "cuda":
        return None
    free = int(torch.cuda.mem_get_info(device)[0])
    # The driver counts as used what torch keeps of earlier tensors, and gives to later ones.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def release_memory(device: torch.device) -> None:
    """Release the memory that torch keeps for later tensors."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether the memory of a device or of the machine did not suffice."""
    import torch

    text = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "out of memory" in text
        or "can't allocate memory" in text
        or "status_alloc_failed" in text  # of cuBLAS and its like, for their own workspace
    )


def is_lost(error: RuntimeError) -> bool:
    """Return whether a device failed for good: it disappeared, or its driver gave up."""
    import torch

    # A class of its own since torch 2.8; before, only the text tells.
    kinds = getattr(torch, "AcceleratorError", ())
    text = str(error).lower()
    return isinstance(error, kinds) or any(word in text for word in LOST)


def or_on_cpu(run: Callable[[str], T], device: str, what: str) -> T:
    """Run a function on a device; if "auto" chose it and it fails, on the CPU.

    Raise InputError if a device that was requested by name is lost or too small.
    """
    try:
        return run(device)
    except RuntimeError as error:
        place = resolve_device(device)
        if place.type == "cpu" or not (is_lost(error) or is_out_of_memory(error)):
            raise
        reason = first_line(error)
        if device != "auto":
            raise InputError(
                f"{what} failed on {device!r} ({reason}): use 'cpu' or 'auto'"
            ) from error
        logger.warning("%s continues on the CPU, since %s fails: %s", what, place, reason)
    return run("cpu")


@contextmanager
def highest_precision(device: torch.device, tf32: bool = False) -> Iterator[None]:
    """Multiply float32 matrices on CUDA in full precision, or in TF32, whatever is set elsewhere.

    TF32 keeps 10 of the 23 bits of each factor and sums in float32.
    """
    import torch

    if device.type != "cuda":
        yield
        return
    settings = torch.backends.cuda.matmul
    name = "fp32_precision"
    wanted: str | bool = "tf32" if tf32 else "ieee"
    if not hasattr(settings, name):  # torch before 2.9; later, an error where users set the newer
        name, wanted = "allow_tf32", tf32
    before = getattr(settings, name)
    setattr(settings, name, wanted)
    try:
        yield
    finally:
        setattr(settings, name, before)
