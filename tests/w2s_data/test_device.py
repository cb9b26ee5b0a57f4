"""Which devices share work, and what is said when one fails; no GPU is needed."""

from __future__ import annotations

import pytest
import torch

from w2s_data import _device
from w2s_data.errors import InputError


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
        f"the CPU goes on with the probe, since cuda fails: {line}"
    ]
    with pytest.raises(InputError, match=r"the probe failed on 'cuda' \(CUDA .*\): use 'cpu'"):
        _device.or_on_cpu(run, "cuda", "the probe")


@pytest.mark.usefixtures("three_gpus")
def test_other_errors_are_not_taken_for_a_lost_device():
    def run(_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        _device.or_on_cpu(run, "auto", "the probe")


@pytest.mark.parametrize(("tf32", "inside"), [(False, "highest"), (True, "high")])
def test_precision_is_set_for_a_while(tf32, inside):
    before = torch.get_float32_matmul_precision()
    with _device.highest_precision(torch.device("cuda"), tf32):
        assert torch.get_float32_matmul_precision() == inside
    assert torch.get_float32_matmul_precision() == before
    with _device.highest_precision(torch.device("cpu"), tf32):
        assert torch.get_float32_matmul_precision() == before
