"""Which devices share work, and what is said when one fails; no GPU is needed."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
import torch

from w2s_data.compute import device as _device
from w2s_data.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture
def three_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(_device, "_best_device", lambda: torch.device("cuda"))


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("auto", ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda", ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:1", ["cuda:1"]),
        ("cpu", ["cpu"]),
    ],
)
def test_devices_that_share_work(device, expected):
    assert [str(found) for found in _device.every_device(device)] == expected


@pytest.mark.usefixtures("three_gpus")
def test_a_gpu_that_is_not_there():
    with pytest.raises(InputError, match=r"'cuda:3' was asked for, but torch sees 3 CUDA"):
        _device.resolve_device("cuda:3")


def test_what_torch_keeps_of_earlier_tensors_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10, 80))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 20)
    assert _device.free_bytes(torch.device("cuda")) == 40
    assert _device.free_bytes(CPU) is None


def test_a_library_without_memory_for_its_workspace_is_out_of_memory():
    error = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(h)`")
    assert _device.is_out_of_memory(error)


@pytest.mark.parametrize(
    "message",
    ["CUDA error: unspecified launch failure\nCompile", "CUDA out of memory. Tried"],
)
@pytest.mark.usefixtures("three_gpus")
def test_auto_falls_back_once_and_a_name_does_not(message, caplog):
    tried = []

    def run(device):
        tried.append(device)
        if device != "cpu":
            raise RuntimeError(message)
        return 7

    line = message.partition("\n")[0]
    assert _device.or_on_cpu(run, "auto", "the probe") == 7
    assert tried == ["auto", "cpu"]
    assert [record.message for record in caplog.records] == [
        f"the probe continues on the CPU, since cuda fails: {line}"
    ]
    with pytest.raises(InputError, match=r"the probe failed on 'cuda' \(CUDA .*\): use 'cpu'"):
        _device.or_on_cpu(run, "cuda", "the probe")


@pytest.mark.usefixtures("three_gpus")
def test_other_errors_are_not_taken_for_a_lost_device():
    def run(_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        _device.or_on_cpu(run, "auto", "the probe")


@pytest.fixture(params=["ieee", "tf32"])
def before(request):
    """Precision that the user has set, by the newer of torch's two ways."""
    matmul = torch.backends.cuda.matmul
    found, matmul.fp32_precision = matmul.fp32_precision, request.param
    yield request.param
    matmul.fp32_precision = found


@pytest.mark.parametrize(("tf32", "inside"), [(False, "ieee"), (True, "tf32")])
def test_precision_is_set_for_a_while(before, tf32, inside):
    matmul = torch.backends.cuda.matmul
    with _device.highest_precision(torch.device("cuda"), tf32):
        assert matmul.fp32_precision == inside
    assert matmul.fp32_precision == before
    with _device.highest_precision(CPU, tf32):
        assert matmul.fp32_precision == before


@pytest.mark.slow
def test_a_probe_on_the_cpu_does_without_torch():
    script = """
import sys
from w2s_data import LinearProbe
from w2s_data.compute.device import _only_a_cpu
probe = LinearProbe(l2="cv", device="auto" if _only_a_cpu() else "cpu")
probe.fit([[0.0, 1.0], [1.0, 0.0]] * 20, [0, 1] * 20)
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("platform", "version", "driver", "expected"),
    [
        ("linux", "2.9.0+cpu", True, True),
        ("linux", "2.9.0", False, True),
        ("linux", "2.9.0", True, False),
        ("darwin", "2.9.0", False, False),
    ],
)
def test_a_machine_that_surely_has_only_a_cpu(
    monkeypatch, tmp_path, platform, version, driver, expected
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(metadata, "version", lambda _: version)
    monkeypatch.setattr(_device, "DRIVERS", (str(tmp_path / ("" if driver else "none")),))
    assert _device._only_a_cpu.__wrapped__() == expected


@pytest.mark.usefixtures("three_gpus")
def test_torch_says_which_device_auto_is_where_it_is_loaded():
    assert not _device.is_cpu("auto")
    assert _device.is_cpu("cpu")
