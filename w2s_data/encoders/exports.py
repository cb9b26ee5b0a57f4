"""Models exported to another runtime: once per machine, kept in the user's cache folder."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_data.encoders.backbone import Backbone, hidden_state
from w2s_data.encoders.base import Kind
from w2s_data.encoders.recipe import POOLER
from w2s_data.encoders.runtimes import RUNTIMES, Runtime
from w2s_data.errors import first_line
from w2s_data.utils.io import cache_folder, make_folder, sha256_json
from w2s_data.utils.warnings import silence

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")

_FAILED = "failed.txt"  # stands where an export failed, so that it is not tried each time
# Least cosine of exported and original states; bfloat16 stays above .999, other graphs far below.
_LEAST_COSINE = 0.99


class ExportError(Exception):
    """A model cannot be exported; the message says why."""


class Exported:
    """A model that another runtime computes; stands for the backbone that it was made of."""

    def __init__(self, runtime: Runtime, device: torch.device, dtype: torch.dtype) -> None:
        self.device = device
        self.dtype = dtype  # of the inputs
        self._runtime = runtime

    def hidden(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Compute the hidden state (items, positions, dimensions) of one batch."""
        import torch

        arrays = {name: value.numpy() for name, value in _with_mask(inputs).items()}
        return torch.from_numpy(self._runtime(arrays))


@dataclass(frozen=True)
class Export:
    """One hidden state of one model, as a file of a runtime in the cache."""

    backend: str
    identity: str  # of the model's files
    kind: Kind
    layer: int
    pooling: str = ""

    @property
    def folder(self) -> Path:
        """Folder of the file, named after all that it depends on."""
        packages = ("torch", "transformers", *RUNTIMES[self.backend].packages)
        key = {
            "backend": self.backend,
            "model": self.identity,
            "state": [self.kind, self.layer, self.pooling == POOLER],
            "versions": {name: metadata.version(name) for name in packages},
        }
        return cache_folder() / "exports" / sha256_json(key)[:32]

    @property
    def succeeds(self) -> bool | None:
        """Whether the model was exported; None if it was not tried."""
        if (self.folder / RUNTIMES[self.backend].file).is_file():
            return True
        return False if (self.folder / _FAILED).is_file() else None

    def load(
        self, backbone: Backbone, probe: Mapping[str, torch.Tensor], dtype: str, threads: int
    ) -> Exported:
        """Export a model in float32, unless that was done before, and load it in a precision.

        `probe` is a small batch, on which both are compared after an export. Raise ExportError if
        the model cannot be exported, now or when it was tried before.
        """
        kind = RUNTIMES[self.backend]
        path = self.folder / kind.file
        if self.succeeds is False:
            raise ExportError((self.folder / _FAILED).read_text(encoding="utf-8"))
        if not path.is_file():
            logger.info("exporting the model to %s, once", self.backend)
            reason = self._make(backbone, probe, kind)
            if reason:
                raise ExportError(reason)
        return Exported(kind(path, dtype, threads), backbone.device, backbone.dtype)

    def _make(
        self, backbone: Backbone, probe: Mapping[str, torch.Tensor], kind: type[Runtime]
    ) -> str:
        """Write the folder, with the model or with the reason why there is none; return that."""
        make_folder(self.folder.parent)
        partial = Path(tempfile.mkdtemp(prefix=".", dir=self.folder.parent))
        try:
            try:
                _write(backbone, probe, kind, partial / kind.file)
                made = kind(partial / kind.file, "float32", 1)
                _compare(backbone, Exported(made, backbone.device, backbone.dtype), probe)
                reason = ""
            except (OSError, MemoryError) as error:  # may be gone another time
                return first_line(error)
            # Exporters raise whatever a model's own code leads them to.
            except Exception as error:
                reason = _root_of(error)
                for file in partial.iterdir():
                    file.unlink()
                (partial / _FAILED).write_text(reason, encoding="utf-8")
            if not self.folder.exists():  # another process may have been faster
                partial.replace(self.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return reason


def _root_of(error: BaseException) -> str:
    """Return the first line of the error that led to all others."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _write(
    backbone: Backbone, probe: Mapping[str, torch.Tensor], kind: type[Runtime], path: Path
) -> None:
    """Export the hidden state of a backbone in a file of a runtime."""
    import torch

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = backbone.model

        def forward(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
            layer = None if backbone.is_last else backbone.layer
            return hidden_state(self.model, inputs, layer, backbone.pooling)

    example = _example(_with_mask(probe))
    dynamic = torch.export.Dim.DYNAMIC
    # For images only the number may change; for texts their lengths, too.
    axes = {0: dynamic, 1: dynamic} if "input_ids" in example else {0: dynamic}
    backbone.run_through()
    with silence():
        program = torch.export.export(
            States().eval(),
            (example,),
            dynamic_shapes={"inputs": dict.fromkeys(example, axes)},
            strict=False,
        )
        kind.export(program, list(example), path)


def _with_mask(inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Return the inputs with a mask, which a batch of texts of one length leaves out."""
    import torch

    if "input_ids" not in inputs or "attention_mask" in inputs:
        return inputs
    return {**inputs, "attention_mask": torch.ones_like(inputs["input_ids"])}


def _example(probe: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a batch without an axis of length 1, which an exporter would keep for good."""
    import torch

    if "input_ids" not in probe:
        return {name: torch.cat([value] * 2)[:2].clone() for name, value in probe.items()}
    length = max(2, probe["input_ids"].shape[1])
    rows = 4 if length == 3 else 3  # different from the length, which it could be taken for
    # A copy: torch writes guards on views that it cannot read again.
    return {name: value.repeat(rows, 2)[:rows, :length].clone() for name, value in probe.items()}


def _compare(backbone: Backbone, exported: Exported, probe: Mapping[str, torch.Tensor]) -> None:
    """Raise ExportError if an exported model computes other states, at any size of a batch."""
    import torch

    # Twice as many, and texts twice as long.
    larger = {
        name: value.repeat(2, 2 if value.ndim == 2 else 1, *[1] * (value.ndim - 2))
        for name, value in _with_mask(probe).items()
    }
    for batch in (probe, larger):
        wanted, found = backbone.hidden(batch).float(), exported.hidden(batch).float()
        if wanted.shape != found.shape:
            raise ExportError(f"its states have shape {found.shape} instead of {wanted.shape}")
        cosines = torch.nn.functional.cosine_similarity(wanted, found, dim=-1)
        mask = _with_mask(batch).get("attention_mask")
        lowest = float((cosines if mask is None else cosines[mask.bool()]).min())
        if not lowest >= _LEAST_COSINE:  # NaN, too
            raise ExportError(f"its states are others: cosine {lowest:.3f}")
