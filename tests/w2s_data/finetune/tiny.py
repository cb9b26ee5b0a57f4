"""A language model with random weights that knows ten words, and the accuracy of students."""

from __future__ import annotations

WORDS = ["good", "great", "bad", "poor", "the", "film", "was", "a", "story", "very"]


def save_tiny_model(folder, n_layers):
    """A BERT of a few layers with random weights and a tokenizer of ten words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", model_max_length=16
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)


def accuracy(proba, labels):
    """Share of items (...,) whose most probable class is the label."""
    return (proba.argmax(axis=-1) == labels).mean(axis=-1)
