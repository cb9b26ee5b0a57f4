"""Engines by name."""

from __future__ import annotations

from w2s_data.compute.base import Engine, LocalEngine
from w2s_data.errors import InputError, unknown

ENGINES = ("local", "ray")


def make_engine(
    name: str = "local", *, address: str | None = None, workers: int | None = None
) -> Engine:
    """Make an engine, "local" or "ray"; nothing is started before the first block.

    Parameters
    ----------
    address : str, optional
        Running Ray cluster: "auto", "HOST:PORT" or "ray://HOST:PORT". By default Ray is started
        on this machine, and stopped at the end.
    workers : int, optional
        Number of Ray workers; by default one per GPU, or CPUs / threads of this process.

    Raises
    ------
    InputError
        For an unknown name, or a setting that the engine does not have.

    Examples
    --------
    >>> make_engine("local").name
    'local'
    """
    if name not in ENGINES:
        raise InputError(unknown("engine", name, ENGINES))
    if name == "ray":
        from w2s_data.compute.ray import RayEngine

        return RayEngine(address, workers)
    given = {"address": address, "workers": workers}
    extra = [setting for setting, value in given.items() if value is not None]
    if extra:
        raise InputError(f"engine 'local' takes no {' and '.join(extra)}; engine 'ray' does")
    return LocalEngine()
