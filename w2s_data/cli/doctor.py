"""Check this machine and its installation, and name the command that installs what is missing."""

from __future__ import annotations

import platform
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_data._version import __version__
from w2s_data.compute.faiss import faiss_status, gpu_works
from w2s_data.compute.memory import total_bytes
from w2s_data.errors import first_line
from w2s_data.utils.io import jsonable

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "w2s-data"
USER_EXTRAS = ("hub", "ray", "train", "onnx", "openvino")
FAISS_DISTRIBUTIONS = ("faiss-gpu", "faiss-cpu", "faiss-gpu-cu12", "faiss")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Device:
    """Something that computes: "cuda", "mps" or "cpu", its name and memory in bytes."""

    kind: str
    name: str
    memory_bytes: int | None = None


@dataclass(frozen=True)
class FaissBuild:
    """Which faiss is installed, and how many GPUs it can use (0: it computes on the CPU)."""

    distributions: tuple[str, ...]
    version: str | None
    n_gpus: int


@dataclass(frozen=True)
class Package:
    """One declared dependency: what is asked for, what is installed, which extra wants it."""

    name: str
    required: str
    installed: str | None
    fits: bool
    extra: str | None = None


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """Result of `diagnose`; `print` shows it on one screen.

    Attributes
    ----------
    version, python, platform : str
    cpu_count : int
        Cores this process may use.
    memory_bytes : int
        Physical memory, or the limit of the container.
    devices : tuple of Device
        The best first: CUDA, then MPS, then the CPU. Empty if torch cannot be imported.
    faiss : FaissBuild
    packages : tuple of Package
        Every dependency that applies to this machine; `extra` is None for the required ones.
    problems : tuple of str
        Reasons why the toolkit does not work, one line each, with the command that helps.
    hints : tuple of str
        Limitations of this installation, one line each, with the command.
    """

    version: str
    python: str
    platform: str
    cpu_count: int
    memory_bytes: int
    devices: tuple[Device, ...]
    faiss: FaissBuild
    packages: tuple[Package, ...]
    problems: tuple[str, ...]
    hints: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether every stage can run here: there are no problems (hints do not count)."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Everything found, as plain JSON types."""
        found: dict[str, Any] = jsonable(self)
        return found | {"healthy": self.healthy}

    def rows(self) -> list[tuple[str, str]]:
        """Topics and values in reading order, for a table of two columns."""
        found = [
            (DISTRIBUTION, self.version),
            ("python", f"{self.python} on {self.platform}"),
            ("machine", f"{self.cpu_count} CPU cores, {_gib(self.memory_bytes)} memory"),
            ("devices", ", ".join(map(_describe_device, self.devices)) or "unknown"),
            ("faiss", _describe_faiss(self.faiss)),
            ("required", _describe_packages(p for p in self.packages if p.extra is None)),
        ]
        for extra in USER_EXTRAS:
            wanted = [package for package in self.packages if package.extra == extra]
            if wanted:
                found.append((f"extra {extra}", _describe_packages(wanted)))
        found += [("problem", problem) for problem in self.problems]
        found += [("hint", hint) for hint in self.hints]
        found.append(("healthy", "yes" if self.healthy else "no"))
        return found

    def __repr__(self) -> str:
        rows = self.rows()
        width = max(len(topic) for topic, _ in rows)
        return "\n".join(f"{topic:<{width}}  {value}" for topic, value in rows)


def diagnose() -> Diagnosis:
    """Look at devices, the faiss build and the versions of every dependency.

    Takes a few seconds, because it imports torch and faiss; it changes nothing and
    needs no network. A failure to import one of them is a problem in the result, not an error.

    Returns
    -------
    Diagnosis

    Examples
    --------
    >>> diagnosis = diagnose()
    >>> diagnosis.devices[-1].kind
    'cpu'
    >>> [row for row in diagnosis.rows() if row[0] == "healthy"]
    [('healthy', 'yes')]
    """
    packages = tuple(_packages())
    problems = _package_problems(packages)
    hints = [
        f"extra {extra} is not complete: pip install '{DISTRIBUTION}[{extra}]'"
        for extra in USER_EXTRAS
        if any(package.extra == extra and not package.fits for package in packages)
    ]
    devices = _devices(problems, hints)
    faiss = _faiss(problems, packages)
    if faiss.version and faiss.n_gpus == 0 and any(device.kind == "cuda" for device in devices):
        hints.append("torch sees a CUDA device but faiss does not: neighbours are found on the CPU")
    hints += [
        f"faiss sees GPU {number}, but its first search there failed: the CPU finds neighbours"
        for number in range(faiss.n_gpus)
        if not gpu_works(number)
    ]
    return Diagnosis(
        version=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        cpu_count=_cpu_count(),
        memory_bytes=total_bytes(),
        devices=devices,
        faiss=faiss,
        packages=packages,
        problems=tuple(problems),
        hints=tuple(hints),
    )


def _packages() -> Iterator[Package]:
    """The declared dependencies that apply to this machine, core first, by name."""
    from packaging.requirements import Requirement

    try:
        declared = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or []]
    except metadata.PackageNotFoundError:
        return
    for extra in ("", *USER_EXTRAS):
        for requirement in sorted(declared, key=lambda r: r.name.lower()):
            if _applies(requirement, extra):
                yield _package(requirement, extra or None)


def _applies(requirement: Requirement, extra: str) -> bool:
    asks_for_extra = "extra ==" in str(requirement.marker)
    if asks_for_extra != bool(extra):
        return False
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _package(requirement: Requirement, extra: str | None) -> Package:
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        installed = None
    return Package(
        name=requirement.name,
        required=str(requirement.specifier),
        installed=installed,
        fits=installed is not None and requirement.specifier.contains(installed, prereleases=True),
        extra=extra,
    )


def _package_problems(packages: tuple[Package, ...]) -> list[str]:
    """One line for all required packages that are missing or too old."""
    if not packages:
        return [f"{DISTRIBUTION} itself is not installed: pip install ."]
    # Any build of faiss will do, so faiss is judged by importing it.
    required = [p for p in packages if p.extra is None and p.name not in FAISS_DISTRIBUTIONS]
    broken = [package for package in required if not package.fits]
    if not broken:
        return []
    found = ", ".join(f"{p.name} {p.installed or 'is missing'}" for p in broken)
    wanted = " ".join(f"'{p.name}{p.required}'" for p in broken)
    return [f"packages missing or too old ({found}): pip install {wanted}"]


def _devices(problems: list[str], hints: list[str]) -> tuple[Device, ...]:
    try:
        import torch
    except (ImportError, OSError) as error:  # a broken shared library is an OSError
        if _is_installed("torch"):
            problems.append(_broken_import("torch", error, "torch"))
        return ()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # torch warns where it finds a driver that it cannot use
        has_cuda = torch.cuda.is_available()
    hints += [first_line(entry.message) for entry in caught]
    if not has_cuda and torch.version.cuda is None and NVIDIA_DRIVER.exists():
        hints.append(
            "an NVIDIA driver is present, but this torch is built without CUDA: "
            "pip install --force-reinstall torch"
        )
    found = []
    for index in range(torch.cuda.device_count() if has_cuda else 0):
        properties = torch.cuda.get_device_properties(index)
        found.append(Device("cuda", properties.name, properties.total_memory))
        try:
            torch.ones(2, device=f"cuda:{index}").sum().item()
        except RuntimeError as error:
            hints.append(
                f"GPU {index} is there but does not compute ({first_line(error)}): "
                "choose --device cpu, or install a torch built for it"
            )
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU"))
    return (*found, Device("cpu", _cpu_name()))


def _faiss(problems: list[str], packages: tuple[Package, ...]) -> FaissBuild:
    installed = tuple(name for name in FAISS_DISTRIBUTIONS if _is_installed(name))
    if len(installed) > 1:
        problems.append(
            f"{' and '.join(installed)} overwrite one another: "
            f"pip uninstall {' '.join(installed)}, then pip install {installed[0]}"
        )
    try:
        version, n_gpus = faiss_status()
    except (ImportError, OSError) as error:
        asked_for = [p.name for p in packages if p.name in FAISS_DISTRIBUTIONS]
        distribution = [*installed, *asked_for, "faiss-cpu"][0]
        problems.append(_broken_import("faiss", error, distribution))
        return FaissBuild(installed, None, 0)
    return FaissBuild(installed, version, n_gpus)


def _broken_import(module: str, error: Exception, distribution: str) -> str:
    command = f"pip install --force-reinstall {distribution}"
    return f"{module} cannot be imported ({first_line(error)}): {command}"


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _cpu_count() -> int:
    import psutil

    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # the cores that a container or a batch system assigned
        return len(process.cpu_affinity())
    return psutil.cpu_count() or 1  # macOS has no affinity


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
        match = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
        if match:
            return match.group(1).strip()
    return platform.processor() or platform.machine()


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.0f} GiB"


def _describe_device(device: Device) -> str:
    memory = "" if device.memory_bytes is None else f", {_gib(device.memory_bytes)}"
    return f"{device.kind} ({device.name}{memory})"


def _describe_faiss(build: FaissBuild) -> str:
    name = " and ".join(build.distributions) or "unknown build"
    gpus = f"{build.n_gpus} GPU{'' if build.n_gpus == 1 else 's'}"
    return f"{name} {build.version}, {gpus}" if build.version else "cannot be imported"


def _describe_packages(packages: Iterable[Package]) -> str:
    return ", ".join(
        f"{package.name} {package.installed or 'missing'}"
        + ("" if package.fits or not package.installed else f" (needs {package.required})")
        for package in packages
    )
