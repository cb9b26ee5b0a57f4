"""Bare loops of onnxruntime and OpenVINO over all-MiniLM-L6-v2, as one would write them by hand.

Texts are tokenized, sorted by length, padded to batches of at most `BATCH_TOKENS`, computed on as
many threads as there are cores, and averaged. Neither a store nor a check of anything is in them.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

BATCH_TOKENS = 1536
Loop = Callable[[list[str]], np.ndarray]
Compute = Callable[[dict[str, np.ndarray]], np.ndarray]


class LastState(torch.nn.Module):
    """A transformer as a function of ids and mask."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(folder).eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the last hidden state."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def _batches(ids: list[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows, padded ids and mask of each batch, the longest texts first."""
    lengths = np.array([len(row) for row in ids])
    order = np.argsort(-lengths, kind="stable")
    while len(order):
        size = max(1, BATCH_TOKENS // lengths[order[0]])
        rows, order = order[:size], order[size:]
        mask = np.arange(lengths[rows[0]]) < lengths[rows][:, None]
        padded = np.zeros(mask.shape, dtype=np.int64)
        padded[mask] = np.concatenate([ids[row] for row in rows])
        yield rows, padded, mask.astype(np.int64)


def _loop(folder: str, compute: Compute) -> Loop:
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def encode(texts: list[str]) -> np.ndarray:
        read = tokenizer(texts, truncation=True, max_length=256, return_attention_mask=False)
        vectors = np.empty((len(texts), 384), dtype=np.float32)

        def one(batch: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
            rows, padded, mask = batch
            states = compute({"input_ids": padded, "attention_mask": mask})
            weights = mask[:, None].astype(np.float32)
            vectors[rows] = (weights @ states)[:, 0] / mask.sum(axis=1, keepdims=True)

        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            list(threads.map(one, _batches(read["input_ids"])))
        return vectors

    return encode


def openvino_loop(folder: str, precision: str = "bf16") -> Loop:
    """Encode by OpenVINO, one stream per core."""
    import openvino

    model = LastState(folder)
    ids = torch.ones(2, 8, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer
        converted = openvino.convert_model(
            model, example_input={"input_ids": ids, "attention_mask": ids}
        )
    threads = str(torch.get_num_threads())
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = openvino.Core().compile_model(converted, "CPU", options)
    return _loop(folder, lambda inputs: compiled.create_infer_request().infer(inputs)[0])


def onnx_loop(folder: str, precision: str = "float32") -> Loop:
    """Encode by onnxruntime, one thread per batch; "int8" is its dynamic quantization."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    ids, mask = (torch.ones(3, 8, dtype=torch.long) for _ in range(2))  # one would be both
    axes = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(scratch) / "model.onnx"
        program = torch.onnx.export(
            LastState(folder), (ids, mask), dynamic_shapes=(axes, axes), dynamo=True, verbose=False
        )
        program.save(path)
        if precision == "int8":
            whole, path = path, path.with_name("int8.onnx")
            quantize_dynamic(whole, path, weight_type=QuantType.QInt8, per_channel=True)
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    return _loop(folder, lambda inputs: session.run(None, inputs)[0])
