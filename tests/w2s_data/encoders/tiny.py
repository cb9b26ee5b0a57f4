"""Tiny transformers with random weights, and a tokenizer that knows a few words."""

from __future__ import annotations

TEXTS = ["the film is good", "bad", "", "a long film about a very long story of a dog", "good film"]
WORDS = sorted({word for text in TEXTS for word in text.split()})
N_LAYERS = 3


def save_tokenizer(folder, *, marks, pad, side="right"):
    """A word-level tokenizer; `marks` puts [CLS] and [SEP] around a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if marks:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        eos_token="[SEP]",
        pad_token="[PAD]" if pad else None,
        padding_side=side,
        model_max_length=32,
    ).save_pretrained(folder)


def save_model(folder, config):
    import torch
    from transformers import AutoModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(config)
        # Fresh biases and norms are 0 and 1, which would hide a norm applied by mistake.
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)


def text_config(name):
    import transformers as tf

    size = len(WORDS) + 4
    small = {"hidden_size": 16, "num_hidden_layers": N_LAYERS, "num_attention_heads": 2}
    if name == "bert":
        return tf.BertConfig(
            vocab_size=size, intermediate_size=24, max_position_embeddings=32, **small
        )
    if name == "gpt2":
        return tf.GPT2Config(vocab_size=size, n_positions=32, n_embd=16, n_layer=N_LAYERS, n_head=2)
    if name == "albert":  # shares one layer, so that no list of layers can be cut
        return tf.AlbertConfig(
            vocab_size=size, embedding_size=8, intermediate_size=24, pad_token_id=0, **small
        )
    if name == "t5":
        return tf.T5Config(
            vocab_size=size, d_model=16, d_ff=24, d_kv=8, num_layers=N_LAYERS, num_heads=2
        )
    return tf.LlamaConfig(
        vocab_size=size, intermediate_size=24, max_position_embeddings=32, **small
    )


def save_text_model(folder, name="bert"):
    """A model with its tokenizer; return the folder."""
    save_model(folder, text_config(name))
    save_tokenizer(folder, marks=True, pad=True)
    return folder


def save_image_model(path, name):
    import transformers as tf

    small = {"hidden_size": 16, "num_hidden_layers": N_LAYERS, "num_attention_heads": 2}
    vision = {"intermediate_size": 24, "image_size": 16, "patch_size": 8, **small}
    if name == "vit":
        save_model(path, tf.ViTConfig(**vision))
        tf.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(path)
        return
    text = {"vocab_size": 9, "intermediate_size": 24, "max_position_embeddings": 8, **small}
    save_model(path, tf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    tf.CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    ).save_pretrained(path)
