"""The doctor tells what is there, and names the command for what is not."""

from __future__ import annotations

import builtins
import importlib
import json
import sys
import time
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest

from w2s_data import __version__
from w2s_data.cli.doctor import Device, FaissBuild, diagnose

doctor = importlib.import_module("w2s_data.cli.doctor")  # the command has the same name
REQUIRES = [
    "numpy>=1.26",
    "torch>=2.6",
    "faiss-gpu>=1.15.1; sys_platform == 'linux' and platform_machine == 'x86_64'",
    "faiss-cpu>=1.8; sys_platform != 'linux' or platform_machine != 'x86_64'",
    "datasets>=3.0; extra == 'hub'",
    "pytest>=8; extra == 'test'",
]


@pytest.fixture
def installed(monkeypatch):
    """Distributions and versions that the doctor is made to see."""
    seen = {"numpy": "2.4.6", "torch": "2.13.0+cpu", "faiss-cpu": "1.9.0", "datasets": "5.2.0"}

    def version(name):
        if name not in seen:
            raise metadata.PackageNotFoundError(name)
        return seen[name]

    def requires(name):
        if seen.get(name, "installed") is None:
            raise metadata.PackageNotFoundError(name)
        return REQUIRES

    monkeypatch.setattr(
        doctor,
        "metadata",
        SimpleNamespace(
            version=version,
            requires=requires,
            PackageNotFoundError=metadata.PackageNotFoundError,
        ),
    )
    return seen


@pytest.fixture
def libraries(monkeypatch, tmp_path):
    """A torch and a faiss that see no GPU and no driver, to be changed by a test."""
    monkeypatch.setattr(doctor, "NVIDIA_DRIVER", tmp_path / "no-driver")
    cuda = SimpleNamespace(is_available=lambda: False, device_count=lambda: 0)
    mps = SimpleNamespace(is_available=lambda: False)
    torch = SimpleNamespace(
        cuda=cuda, backends=SimpleNamespace(mps=mps), version=SimpleNamespace(cuda=None)
    )
    faiss = SimpleNamespace(__version__="1.15.1", get_num_gpus=lambda: 0)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "faiss", faiss)
    return SimpleNamespace(torch=torch, faiss=faiss)


@pytest.fixture
def break_import(monkeypatch):
    """Make one library fail to import."""

    def break_one(name, error):
        real = builtins.__import__

        def fail(module, *args, **kwargs):
            if module == name:
                raise error
            return real(module, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", fail)

    return break_one


@pytest.mark.slow
def test_this_machine_is_healthy_and_looked_at_quickly():
    start = time.perf_counter()
    diagnosis = diagnose()
    assert time.perf_counter() - start < 6
    assert diagnosis.healthy, diagnosis.problems
    assert diagnosis.version == __version__
    assert diagnosis.cpu_count >= 1
    assert diagnosis.devices[-1].kind == "cpu"
    assert diagnosis.faiss.version
    names = {package.name for package in diagnosis.packages}
    assert {"numpy", "torch", "transformers", "datasets", "peft", "ray"} <= names
    assert "pytest" not in names


@pytest.mark.usefixtures("installed", "libraries")
def test_result_is_json_and_fits_one_screen():
    diagnosis = diagnose()
    assert json.loads(json.dumps(diagnosis.to_dict()))["healthy"] is True
    text = repr(diagnosis)
    assert len(text.splitlines()) <= 24
    for topic, value in diagnosis.rows():
        assert topic in text
        assert value in text


@pytest.mark.usefixtures("libraries")
def test_missing_extra_is_a_hint_with_its_command(installed):
    del installed["datasets"]
    diagnosis = diagnose()
    assert diagnosis.healthy
    assert diagnosis.hints == ("extra hub is not complete: pip install 'w2s-data[hub]'",)
    assert ("extra hub", "datasets missing") in diagnosis.rows()


@pytest.mark.usefixtures("libraries")
def test_old_and_missing_packages_are_problems_with_one_command(installed):
    installed["torch"] = "2.3.0"
    del installed["numpy"]
    diagnosis = diagnose()
    assert not diagnosis.healthy
    assert diagnosis.problems == (
        "packages missing or too old (numpy is missing, torch 2.3.0): "
        "pip install 'numpy>=1.26' 'torch>=2.6'",
    )
    required = dict(diagnosis.rows())["required"]
    assert "torch 2.3.0 (needs >=2.6)" in required


@pytest.mark.usefixtures("libraries")
def test_project_that_is_not_installed_is_a_problem(installed):
    installed["w2s-data"] = None
    assert diagnose().problems == ("w2s-data itself is not installed: pip install .",)


@pytest.mark.usefixtures("installed", "libraries")
def test_any_faiss_build_will_do():
    diagnosis = diagnose()
    assert diagnosis.healthy
    assert diagnosis.faiss == FaissBuild(("faiss-cpu",), "1.15.1", 0)


@pytest.mark.usefixtures("libraries")
def test_two_faiss_builds_are_a_problem(installed):
    installed["faiss-gpu"] = "1.15.1"
    (problem,) = diagnose().problems
    assert "faiss-gpu and faiss-cpu overwrite one another" in problem
    assert "pip uninstall faiss-gpu faiss-cpu, then pip install faiss-gpu" in problem


@pytest.mark.usefixtures("installed", "libraries")
@pytest.mark.parametrize(
    "error", [ImportError("libgomp.so.1: cannot open\nmore"), OSError("bad ELF header")]
)
def test_faiss_that_cannot_be_imported_is_a_problem(break_import, error):
    break_import("faiss", error)
    diagnosis = diagnose()
    (problem,) = diagnosis.problems
    reason = str(error).splitlines()[0]
    assert problem == (
        f"faiss cannot be imported ({reason}): pip install --force-reinstall faiss-cpu"
    )
    assert ("faiss", "cannot be imported") in diagnosis.rows()


@pytest.mark.usefixtures("installed", "libraries")
def test_torch_that_cannot_be_imported_is_a_problem(break_import):
    break_import("torch", OSError("libcudart.so.12: cannot open"))
    diagnosis = diagnose()
    assert diagnosis.devices == ()
    (problem,) = diagnosis.problems
    assert problem.startswith("torch cannot be imported (libcudart.so.12: cannot open)")


@pytest.mark.usefixtures("libraries")
def test_missing_torch_is_named_once(installed, break_import):
    del installed["torch"]
    break_import("torch", ModuleNotFoundError("No module named 'torch'"))
    (problem,) = diagnose().problems
    assert problem.endswith("pip install 'torch>=2.6'")


@pytest.mark.usefixtures("installed")
def test_gpus_come_first_and_a_faiss_without_gpu_is_a_hint(libraries, monkeypatch):
    card = SimpleNamespace(name="NVIDIA H200", total_memory=140 * 2**30)
    libraries.torch.cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_properties=lambda _: card
    )
    libraries.torch.ones = lambda *_, **__: np.ones(2)
    diagnosis = diagnose()
    assert diagnosis.healthy
    assert diagnosis.devices[:2] == (Device("cuda", "NVIDIA H200", 140 * 2**30),) * 2
    assert "cuda (NVIDIA H200, 140 GiB)" in repr(diagnosis)
    assert any("faiss does not" in hint for hint in diagnosis.hints)
    libraries.faiss.get_num_gpus = lambda: 2
    monkeypatch.setattr(doctor, "gpu_works", lambda _: True)
    diagnosis = diagnose()
    assert not diagnosis.hints
    assert ("faiss", "faiss-cpu 1.15.1, 2 GPUs") in diagnosis.rows()


@pytest.mark.usefixtures("installed")
def test_gpus_that_do_not_compute_are_hints(libraries, monkeypatch):
    card = SimpleNamespace(name="NVIDIA H200", total_memory=140 * 2**30)

    def fail(*_, **__):
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")

    libraries.torch.cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 1, get_device_properties=lambda _: card
    )
    libraries.torch.ones = fail
    libraries.faiss.get_num_gpus = lambda: 1
    monkeypatch.setattr(doctor, "gpu_works", lambda _: False)
    diagnosis = diagnose()
    assert diagnosis.hints == (
        "GPU 0 is there but does not compute (CUDA error: no kernel image is available): "
        "choose --device cpu, or install a torch built for it",
        "faiss sees GPU 0, but its first search there failed: the CPU finds neighbours",
    )


@pytest.mark.usefixtures("installed")
def test_mps_comes_before_the_cpu(libraries):
    libraries.torch.backends.mps.is_available = lambda: True
    assert [device.kind for device in diagnose().devices] == ["mps", "cpu"]


@pytest.mark.usefixtures("installed", "libraries")
def test_torch_without_cuda_beside_an_nvidia_driver_is_a_hint(monkeypatch, tmp_path):
    driver = tmp_path / "version"
    driver.touch()
    monkeypatch.setattr(doctor, "NVIDIA_DRIVER", driver)
    (hint,) = diagnose().hints
    assert "built without CUDA" in hint
    assert "pip install --force-reinstall torch" in hint
