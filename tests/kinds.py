"""Tiny models of every kind with random weights, their tokenizers, and items that they read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

GOOD, BAD = ("good", "great"), ("bad", "poor")
FILLERS = ("the", "film", "was", "a", "story", "very")
CORPUS = [f"{word} {filler}" for word in (*GOOD, *BAD) for filler in FILLERS]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
WIDE = {**SMALL, "intermediate_size": 24}
VISION = {**WIDE, "image_size": 16, "patch_size": 8}
# Kind of the items and configuration by the name of a model; the vocabulary comes later.
TEXT_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", {**WIDE, "max_position_embeddings": 40}),
    "roberta": ("RobertaConfig", {**WIDE, "max_position_embeddings": 40, "pad_token_id": 0}),
    "llama": ("LlamaConfig", {**WIDE, "num_key_value_heads": 1}),
    "qwen2": ("Qwen2Config", {**WIDE, "num_key_value_heads": 1, "tie_word_embeddings": True}),
    "gpt2": ("GPT2Config", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}),
    "t5": ("T5Config", {"d_model": 16, "d_ff": 24, "d_kv": 8, "num_layers": 2, "num_heads": 2}),
    "bart": (
        "BartConfig",
        {
            "d_model": 16,
            "max_position_embeddings": 40,
            **{f"{half}_layers": 2 for half in ("encoder", "decoder")},
            **{f"{half}_attention_heads": 2 for half in ("encoder", "decoder")},
            **{f"{half}_ffn_dim": 24 for half in ("encoder", "decoder")},
        },
    ),
}
IMAGE_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTConfig", VISION),
    "convnext": ("ConvNextConfig", {"hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1]}),
    "resnet": (
        "ResNetConfig",
        {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1]},
    ),
    "mobilenet_v2": (
        "MobileNetV2Config",
        {"depth_multiplier": 0.1, "image_size": 32, "tf_padding": False},
    ),
}
BOTH = "clip"  # reads texts and images, each by a tower
SEEING = "llava"  # a language model that is shown images
DECODERS = ("llama", "qwen2", "gpt2")


def save_tokenizer(folder: Path, *, pad: bool, words: list[str] | None = None) -> int:
    """A byte-level tokenizer trained on the corpus; return the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(words or CORPUS, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        pad_token="<pad>" if pad else None,
        model_max_length=32,
    ).save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def _processor(name: str) -> Any:
    import transformers as tf

    square = {"height": 16, "width": 16}
    if name == "vit":
        return tf.ViTImageProcessorPil(size=square)
    if name == BOTH:
        return tf.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=square)
    if name == "mobilenet_v2":
        sizes = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
        return tf.MobileNetV2ImageProcessorPil(**sizes)
    return tf.ConvNextImageProcessorPil(size={"shortest_edge": 32})


def _save(folder: Path, config: Any, head: str | None = None) -> None:
    import torch
    import transformers as tf

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(tf, head or "AutoModel")
        model = model.from_config(config).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):  # the usual start fades within a few layers
                torch.nn.init.kaiming_normal_(module.weight)
            if getattr(module, "running_mean", None) is not None:
                # As of a trained model: fresh ones would hide the mode of a batch norm.
                torch.nn.init.normal_(module.running_mean, std=0.1)
    model.save_pretrained(folder)


def save_model(folder: Path, name: str, **changes: Any) -> Path:
    """Write a model of a name among those above, with all that it reads by; return the folder."""
    import transformers as tf

    folder.mkdir(parents=True, exist_ok=True)
    if name in IMAGE_MODELS:
        kind, settings = IMAGE_MODELS[name]
        _save(folder, getattr(tf, kind)(**settings | changes))
        _processor(name).save_pretrained(folder)
        return folder
    size = save_tokenizer(folder, pad=name not in (*DECODERS, SEEING))
    if name == SEEING:
        config = tf.LlavaConfig(
            text_config=tf.LlamaConfig(vocab_size=size, num_key_value_heads=1, **WIDE),
            vision_config=tf.CLIPVisionConfig(**VISION),
            image_token_index=size - 1,
        )
        _save(folder, config)
        _processor(BOTH).save_pretrained(folder)
        return folder
    if name == BOTH:
        text = {**WIDE, "vocab_size": size, "max_position_embeddings": 40}
        config = tf.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8, **changes)
        _save(folder, config)
        _processor(name).save_pretrained(folder)
        return folder
    kind, settings = TEXT_MODELS[name]
    marks = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    config = getattr(tf, kind)(**marks | {"vocab_size": size} | settings | changes)
    # As decoders are published: with the head that predicts the next token.
    _save(folder, config, "AutoModelForCausalLM" if name in DECODERS else None)
    return folder


def make_texts(rng: np.random.Generator, n: int) -> tuple[list[str], np.ndarray]:
    """Texts whose class is shown by one word, and the classes."""
    labels = rng.integers(2, size=n)
    texts = []
    for label in labels:
        words = [str(rng.choice(GOOD if label else BAD)), *rng.choice(FILLERS, rng.integers(1, 6))]
        texts.append(" ".join(rng.permutation(words)))
    return texts, labels


def make_images(rng: np.random.Generator, n: int) -> tuple[list[bytes], np.ndarray]:
    """PNG files that are bright in the upper or in the lower half, and which."""
    from PIL import Image

    labels = rng.integers(2, size=n)
    files = []
    for label in labels:
        pixels = rng.integers(0, 120, (20, 24, 3), dtype=np.uint8)
        pixels[slice(0, 10) if label else slice(10, 20)] += 120
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files, labels
