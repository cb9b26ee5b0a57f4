"""Runtimes that compute hidden states instead of torch: onnxruntime and OpenVINO, on the CPU.

One object serves all threads; each computes its batch on one core, as torch does here.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from w2s_data.errors import EncoderError, find
from w2s_data.utils.typing import AnyArray
from w2s_data.utils.warnings import silence

TORCH = "torch"
INT8 = "int8"


class Runtime(ABC):
    """A library that computes an exported model.

    Attributes
    ----------
    packages : tuple of str
        Packages that it needs; all are in the extra of its name.
    dtypes : tuple of str
        Precisions that it computes in, where the processor has them.
    file : str
        Name of an exported model.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    dtypes: ClassVar[tuple[str, ...]]
    file: ClassVar[str]

    @classmethod
    def check(cls) -> None:
        """Raise MissingExtraError if a package is missing; import none."""
        for package in cls.packages:
            find(package, cls.name)

    @staticmethod
    @abstractmethod
    def export(program: Any, names: list[str], path: Path) -> None:
        """Write a program of `torch.export`, whose inputs have these names."""

    @abstractmethod
    def __init__(self, path: Path, dtype: str, threads: int) -> None:
        """Load an exported model."""

    @abstractmethod
    def __call__(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Compute one batch; the result is valid until the thread's next call."""


class OnnxRuntime(Runtime):
    """onnxruntime, in float32, or in int8 with activations quantized batch by batch."""

    name = "onnx"
    packages = ("onnxruntime", "onnx", "onnxscript")
    dtypes = ("float32", INT8)
    file = "model.onnx"

    def __init__(self, path: Path, dtype: str, threads: int) -> None:  # noqa: ARG002
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the batches share the cores
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            _quantized(path) if dtype == INT8 else path, options, ["CPUExecutionProvider"]
        )

    def __call__(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        states: AnyArray = self._session.run(None, dict(inputs))[0]
        return states

    @staticmethod
    def export(program: Any, names: list[str], path: Path) -> None:
        import torch

        made = torch.onnx.export(program, input_names=names, dynamo=True, verbose=False)
        assert made is not None  # as documented for dynamo=True
        made.save(path)


class OpenVino(Runtime):
    """OpenVINO, in float32, or in bfloat16 where the processor multiplies it."""

    name = "openvino"
    packages = ("openvino",)
    dtypes = ("float32", "bfloat16")
    file = "model.xml"

    def __init__(self, path: Path, dtype: str, threads: int) -> None:
        import openvino

        # A stream per core; by default one batch would take all cores, and bfloat16 unasked.
        options = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[dtype],
            "NUM_STREAMS": str(threads),
            "INFERENCE_NUM_THREADS": str(threads),
            "ENABLE_CPU_PINNING": "NO",  # other processes compute beside this one
        }
        self._model = openvino.Core().compile_model(path, "CPU", options)
        self._of_thread = threading.local()

    def __call__(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        request = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self._model.create_infer_request()
        states: AnyArray = request.infer(dict(inputs), share_inputs=True, share_outputs=True)[0]
        return states

    @staticmethod
    def export(program: Any, names: list[str], path: Path) -> None:
        import openvino

        model = openvino.convert_model(program)
        for model_input, name in zip(model.inputs, names, strict=True):
            model_input.set_names({name})
        openvino.save_model(model, path, compress_to_fp16=False)


RUNTIMES: dict[str, type[Runtime]] = {runtime.name: runtime for runtime in (OnnxRuntime, OpenVino)}
BACKENDS = (TORCH, *RUNTIMES)


def check_backend(backend: str, dtype: str, device: str) -> None:
    """Raise for a backend that is not installed, and for a dtype or device that it never has."""
    if dtype == INT8 and (backend == TORCH or INT8 not in RUNTIMES[backend].dtypes):
        able = next(name for name, runtime in RUNTIMES.items() if INT8 in runtime.dtypes)
        raise EncoderError(f"dtype {INT8!r} requires backend {able!r}; got {backend!r}")
    if backend == TORCH:
        return
    if device not in ("auto", "cpu"):
        raise EncoderError(f"backend {backend!r} computes on the CPU, not on {device!r}")
    RUNTIMES[backend].check()


def runtime_dtype(backend: str, dtype: str, fast: str) -> str:
    """Return the precision that a runtime computes in; `fast` is the one of this processor.

    One that it lacks gives way to float32.

    >>> runtime_dtype("openvino", "auto", "bfloat16"), runtime_dtype("onnx", "auto", "bfloat16")
    ('bfloat16', 'float32')
    >>> runtime_dtype("openvino", "bfloat16", "float32"), runtime_dtype("onnx", "int8", "float32")
    ('float32', 'int8')
    """
    wanted = fast if dtype == "auto" else dtype
    here = wanted in ("float32", INT8, fast)
    return wanted if here and wanted in RUNTIMES[backend].dtypes else "float32"


def _quantized(path: Path) -> Path:
    """Return the model with weights in int8, per output channel, beside the one in float32."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from w2s_data.utils.io import atomic_path

    final = path.with_suffix(".int8.onnx")
    if not final.is_file():
        with atomic_path(final) as partial, silence():
            quantize_dynamic(
                path,
                partial,
                op_types_to_quantize=["MatMul", "Gemm"],  # a table of embeddings stays as it is
                per_channel=True,
                weight_type=QuantType.QInt8,
                # Without VNNI sums of 16 bits would overflow.
                reduce_range=not torch.cpu._is_vnni_supported(),
            )
    return final
