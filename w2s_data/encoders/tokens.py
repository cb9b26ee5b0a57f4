"""Turn texts into the token ids that a model can read."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from w2s_data.encoders.backbone import usable_positions
from w2s_data.encoders.base import ItemError, describe
from w2s_data.encoders.recipe import Recipe
from w2s_data.encoders.source import Source, failure
from w2s_data.errors import EncoderError
from w2s_data.utils.typing import BoolArray, IntArray

if TYPE_CHECKING:
    import torch

# Texts whose tokens are lists of Python ints at the same time.
_CHUNK = 8192
# Tokenizers without a limit state an astronomical one.
_NO_LIMIT = 10**9


class Tokens(NamedTuple):
    """Token ids of N texts end to end, N + 1 offsets of the texts, and which texts were cut."""

    ids: IntArray
    starts: IntArray
    cut: BoolArray

    @property
    def lengths(self) -> IntArray:
        """Tokens of each text (N,)."""
        return np.diff(self.starts)

    def rows(self, rows: IntArray) -> list[IntArray]:
        """Return the ids of some texts, one array each."""
        return [self.ids[self.starts[row] : self.starts[row + 1]] for row in rows]


class TextReader:
    """A tokenizer, and the limits of the model that reads its tokens; texts to padded batches.

    Attributes
    ----------
    vocabulary : int
        Rows of the model's table of embeddings; ids beyond them cannot be read.
    positions : int or None
        Tokens of a text for which the model has positions.
    """

    def __init__(self, source: Source, part: Any, recipe: Recipe) -> None:
        import torch
        from transformers import AutoTokenizer

        self.source = source
        embeddings = part.get_input_embeddings()
        if not isinstance(embeddings, torch.nn.Embedding):
            raise EncoderError(f"model {source.model!r} does not read texts: it has no vocabulary")
        self.vocabulary = embeddings.num_embeddings
        self.positions = usable_positions(part)
        self.tokenizer = source.load(AutoTokenizer.from_pretrained, "tokenizer")
        if not isinstance(self.tokenizer.model_max_length, int | float):
            self.tokenizer.model_max_length = _NO_LIMIT
        self.recipe = recipe

    def limit(self, given: int | None) -> int | None:
        """Return the most tokens of a text: those given, or by default all that the model reads.

        Raise EncoderError for more than it has positions for.
        """
        if given is not None:
            if self.positions and given > self.positions:  # torch fails at the missing ones
                raise EncoderError(
                    f"max_length={given} is beyond the {self.positions} positions of model "
                    f"{self.source.model!r}"
                )
            return given
        limits = (self.recipe.max_length or self.tokenizer.model_max_length, self.positions)
        return min((int(n) for n in limits if n and 0 < n < _NO_LIMIT), default=None)

    @property
    def filling(self) -> int:
        """The token that pads a batch; it is masked, so that any that the model knows will do."""
        reader = self.tokenizer
        marks = (reader.pad_token_id, reader.eos_token_id)
        return next((m for m in marks if m is not None and 0 <= m < self.vocabulary), 0)

    def read(self, texts: list[str], limit: int | None) -> Tokens:
        """Tokenize texts with the recipe's prompt before each, cut to a limit."""
        prompt = self.recipe.prompt
        return self.tokenize([prompt + text for text in texts] if prompt else texts, limit)

    def prompt_length(self, limit: int | None) -> int:
        """Return the tokens of the prompt that the pooling leaves out."""
        prompt = self.recipe.prompt
        if not prompt or self.recipe.include_prompt:
            return 0
        # As sentence-transformers counts them: without the mark that ends a text.
        ids = self.tokenize([prompt], limit).ids
        return len(ids) - (len(ids) > 0 and int(ids[-1]) in self.tokenizer.all_special_ids)

    def batch(
        self, tokens: Tokens, rows: IntArray, device: torch.device
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Pad some texts on the right to one batch; also return their lengths."""
        import torch

        # On the right, so that positions count from 0 whatever the model, and a decoder's tokens
        # never see the padding, which follows them.
        lengths = tokens.starts[rows + 1] - tokens.starts[rows]
        mask = np.arange(lengths.max()) < lengths[:, None]
        padded = np.full(mask.shape, self.filling, dtype=np.int64)
        padded[mask] = np.concatenate(tokens.rows(rows))
        inputs = {"input_ids": torch.from_numpy(padded).to(device)}
        if not mask.all():  # without a mask, attention takes its fastest path
            inputs["attention_mask"] = torch.from_numpy(mask.astype(np.int64)).to(device)
        return inputs, torch.from_numpy(lengths).to(device)

    def example(self) -> Tokens:
        """Return two made-up texts, for a first look at what the model computes."""
        ids = np.full(3, self.filling, dtype=np.int32)
        return Tokens(ids, np.array([0, 1, 3]), np.zeros(2, dtype=bool))

    def tokenize(self, texts: list[str], limit: int | None) -> Tokens:
        """Tokenize texts, cut to a limit; raise ItemError for one of which no token is made."""
        chunks: list[IntArray] = [np.empty(0, np.int32)]
        lengths: list[int] = []
        cut: list[int] = []
        for first in range(0, len(texts), _CHUNK):
            chunk = texts[first : first + _CHUNK]
            read = self._read(chunk, limit)
            ids = read["input_ids"]
            self._check_any(ids, chunk)
            for row, sequence in enumerate(ids):
                if not sequence:
                    sequence.append(self._token_of_nothing(first + row, chunk[row]))
                elif len(sequence) == limit and self._is_cut(read, row, chunk[row], limit):
                    cut.append(first + row)
            lengths.extend(map(len, ids))
            chunks.append(np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int32))
            self._check_known(chunks[-1])
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        is_cut = np.zeros(len(texts), dtype=bool)
        is_cut[cut] = True
        return Tokens(np.concatenate(chunks), starts, is_cut)

    def _read(self, texts: list[str], limit: int | None) -> Any:
        try:
            return self.tokenizer(
                [text.lower() for text in texts] if self.recipe.lower_case else texts,
                truncation=limit is not None,
                max_length=limit,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
        except Exception as error:  # the one type that tokenizers raise
            raise EncoderError(
                f"the tokenizer of model {self.source.model!r} cannot read the texts: "
                f"{failure(error)}"
            ) from error

    def _is_cut(self, read: Any, row: int, text: str, limit: int) -> bool:
        """Whether a text as long as the limit was longer before."""
        encodings = getattr(read, "encodings", None)
        if encodings is not None:  # tokenizers written in Rust keep what they cut off
            return bool(encodings[row].overflowing)
        return len(self.tokenizer(text)["input_ids"]) > limit

    def _token_of_nothing(self, row: int, text: str) -> int:
        """Return a stand-in for a text without tokens: an empty one, unless marks are added."""
        reader = self.tokenizer
        for token in (reader.bos_token_id, reader.eos_token_id, reader.pad_token_id):
            if token is not None and 0 <= token < self.vocabulary:
                return int(token)
        raise ItemError([row], [describe(text)], "the tokenizer makes no token of it")

    def _check_any(self, ids: list[list[int]], texts: list[str]) -> None:
        # Single texts may hold nothing but marks; all of them never do.
        if any(text.strip() for text in texts) and not any(map(len, ids)):
            raise EncoderError(
                f"the tokenizer of model {self.source.model!r} makes no token of any of "
                f"{len(texts):,} texts: its files are damaged, or belong to another model"
            )

    def _check_known(self, ids: IntArray) -> None:
        if len(ids) and (int(ids.max()) >= self.vocabulary or int(ids.min()) < 0):
            worst = int(ids.max())
            token = self.tokenizer.convert_ids_to_tokens(worst)
            raise EncoderError(
                f"the tokenizer of model {self.source.model!r} gives token {worst} ({token!r}), "
                f"but the model knows {self.vocabulary}: the tokenizer belongs to another model, "
                "or tokens were added without resizing the model's embeddings"
            )
