r"""Whole models that order pairs: a reward head, or the implicit reward of a language model.

The two orders of a pair are two classes with the logits

.. math:: \big(\tfrac12 d,\; -\tfrac12 d\big), \qquad d = r(x_1) - r(x_2),
          \qquad P(\text{first}) = \sigma(d)

so that cross-entropy is the Bradley-Terry loss, as for heads on features (`finetune.preference`),
and every method for two classes trains them. The reward r is linear in the pooled hidden state, or
that of direct preference optimization (DPO) for a response y to a prompt x,

.. math:: r(x, y) = \beta \,\big(\log \pi(y \mid x) - \log \pi_0(y \mid x)\big)

with the model \pi that is trained and the model \pi_0 that it was at the start. Its log-probability
is the sum over the tokens of the response. (Rafailov et al., *Direct Preference Optimization*,
NeurIPS 2023, equation 5.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.encoders.backbone import Part
from w2s_data.encoders.recipe import Recipe, is_decoder
from w2s_data.encoders.source import Source
from w2s_data.encoders.tokens import TextReader
from w2s_data.errors import EncoderError, InputError, NotApplicableError
from w2s_data.features.matrix import sampled
from w2s_data.finetune.levels.pair_tokens import PairReader, PairTokens
from w2s_data.finetune.levels.penalty import choose_penalty
from w2s_data.finetune.levels.whole import State, WholeNetwork
from w2s_data.finetune.settings import Adaptation
from w2s_data.probes.linear import LinearProbe
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray
from w2s_data.utils.votes import abstains

if TYPE_CHECKING:
    import torch
    from torch import Tensor


MOST_FITTED = 5_000  # pairs that a reward starts from; more would cost what they save
FEWEST_FITTED = 20
LOGIT_BYTES = 2**30  # of a batch at inference
BYTES = 8  # of a logit, as the model computes it and in float32


class PairNetwork(WholeNetwork):
    """A pretrained model with a linear reward on its pooled hidden state; see the module."""

    def read(self, items: Sequence[Any], resident_bytes: int = 0) -> Any:  # noqa: ARG002
        """Tokenize pairs; see `PairReader.read`."""
        return PairReader(self.texts, self.max_length, self.first, ends=False).read(items)

    @property
    def texts(self) -> TextReader:
        """The reader, which is one of texts."""
        assert isinstance(self.reader, TextReader)
        return self.reader

    def fitted(self, labels: FloatArray, weight: FloatArray, seed: int) -> State:
        """Fit the reward to pairs of the pool (N,), on the hidden states as they are at present.

        A drawn one bends the pretrained layers while it finds its direction, and few passes over
        noisy preferences do not mend that. (Kumar et al., *Fine-Tuning can Distort Pretrained
        Features and Underperform Out-of-Distribution*, ICLR 2022.)
        """
        import torch

        rng = np.random.default_rng(seed)
        # Labels of some methods are signed: those rows are not for a probe.
        is_proba = (labels >= 0).all(axis=1) & np.isclose(labels.sum(axis=1), 1)
        kept = (weight > 0) & is_proba & ~abstains(labels)
        rows = sampled(np.flatnonzero(kept), MOST_FITTED, rng)
        differences = self._differences(rows).cpu().numpy()
        if len(rows) < FEWEST_FITTED or not np.isfinite(differences).all():
            return {}
        targets = labels[rows]
        l2 = choose_penalty(differences, targets, paired=True, device="cpu", random_state=rng)
        probe = LinearProbe(l2=l2, fit_intercept=False, device="cpu")
        coef = probe.fit(differences, targets, weight[rows]).coef_
        # The probe's score is that of the second order.
        return {"head.weight": -torch.from_numpy(coef).float()}

    def _differences(self, rows: IntArray) -> Tensor:
        """Return pooled hidden states of the first minus those of the second items (n, D)."""
        items: Any = self.items

        def compute(batch: IntArray) -> Tensor:
            one, other = self.pooled(items.sides, items.places(rows[batch])).chunk(2)
            return _signs(items.turned[rows[batch]], self.device) * (one - other)

        return self.batched(items.lengths[rows], self.width, compute)

    def _new_head(self) -> torch.nn.Module:
        """Create the reward; without a bias, which would vanish in the difference."""
        import torch

        return torch.nn.Linear(self.width, 1, bias=False)

    def _forward(self, items: Any, rows: IntArray) -> Tensor:
        """Logits (B, 2) in float32."""
        rewards = self.head(self.pooled(items.sides, items.places(rows)))[:, 0]
        return _logits(rewards, items.turned[rows])


class ImplicitNetwork(PairNetwork):
    """A decoder whose reward is that of DPO; see the module."""

    def __init__(
        self,
        adaptation: Adaptation,
        n_classes: int,
        device: torch.device,
        recipe: Recipe | None = None,
        start: Source | None = None,
    ) -> None:
        # Tuned weights that were saved are not those of the start, which `start` has.
        self.start, self.is_opened = start or adaptation.source, start is not None
        self.is_start = not self.is_opened
        self.start_model: Any = None
        super().__init__(adaptation, n_classes, device, recipe)
        # Logits of all tokens of the vocabulary at every place take most of the memory.
        most = LOGIT_BYTES // (BYTES * self.max_length * self.texts.vocabulary)
        self.rows_at_a_time = max(1, min(self.rows_at_a_time, most))

    fitted = WholeNetwork.fitted  # nothing is new in the model

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return all trained weights, which do not decay: the start is where they are drawn to."""
        return [{"params": list(self.parameters().values()), "weight_decay": 0.0}]

    def read(self, items: Sequence[Any], resident_bytes: int = 0) -> Any:  # noqa: ARG002
        """Tokenize pairs, and compute the log-probabilities of the start once."""
        tokens = PairReader(self.texts, self.max_length, ends=True).read(items)
        if len(tokens.turned):
            self._reference(tokens)
        return tokens

    def logits(self, rows: Tensor) -> Tensor:
        """Compute logits (1, B, 2) of pool rows (1, B), in training mode."""
        self.is_start = False
        return super().logits(rows)

    def load(self, state: State) -> None:
        """Set the trained weights."""
        self.is_start = False
        super().load(state)

    def _forward(self, items: Any, rows: IntArray) -> Tensor:
        """Logits (B, 2) in float32."""
        import torch

        places = items.places(rows)
        start = torch.from_numpy(self._reference(items)[places]).to(self.device)
        ratios = self._log_probabilities(self.backbone, items, places) - start
        return _logits(self.adaptation.beta * ratios, items.turned[rows])

    def _reference(self, items: PairTokens) -> FloatArray:
        """Return the log-probabilities (2 N,) under the start, which are computed once."""
        import torch

        found = items.reference.get(self.depth)
        if found is not None:
            return found
        order = np.argsort(-items.sides.lengths, kind="stable")
        found = np.empty(len(order), dtype=np.float32)
        with self._started() as model, torch.no_grad():
            for first in range(0, len(order), self.rows_at_a_time):
                places = order[first : first + self.rows_at_a_time]
                found[places] = self._log_probabilities(model, items, places).cpu().numpy()
        items.reference[self.depth] = found
        return found

    @contextmanager
    def _started(self) -> Iterator[Any]:
        """Give the model with the weights of the start, without dropout."""
        training = self.backbone.training
        try:
            if self.adaptation.tuning == "lora":
                self.backbone.eval()
                with self.backbone.disable_adapter():
                    yield self.backbone
            elif self.is_start:
                yield self.backbone.eval()
            elif self.start_model is not None:
                yield self.start_model
            else:
                loaded = _load_decoder(self.start, self.backbone.dtype).model.to(self.device).eval()
                # While a model is trained, for this moment alone: its own weights fill the memory.
                self.start_model = loaded if self.is_opened else None
                yield loaded
        finally:
            self.backbone.train(training)

    def _log_probabilities(self, model: Any, items: PairTokens, places: IntArray) -> Tensor:
        """Sum the log-probabilities of the tokens of some responses (B,), in float32."""
        import torch

        inputs, _ = self.texts.batch(items.sides, places, self.device)
        ids, length = inputs["input_ids"], inputs["input_ids"].shape[1]
        # The first token of all has nothing before it that predicts it.
        before = np.maximum(items.prompts[places], 1)
        first = max(1, min(int(before.min()), length - 1))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.is_half):
            if self.depth == self.n_layers:
                # Without those of the prompts, which take most of the memory.
                logits = model(**inputs, logits_to_keep=length - first + 1).logits
            else:
                hidden = model(**inputs, output_hidden_states=True).hidden_states[self.depth]
                logits = model.get_output_embeddings()(hidden[:, first - 1 :])
        kept = logits[:, :-1].float().transpose(1, 2)
        losses = torch.nn.functional.cross_entropy(kept, ids[:, first:], reduction="none")
        at = np.arange(first, length)
        counts = (at >= before[:, None]) & (at < items.sides.lengths[places][:, None])
        return -(losses * torch.from_numpy(counts).to(self.device)).sum(1)

    def _new_head(self) -> torch.nn.Module:
        """Create none: the model's own head scores tokens."""
        import torch

        return torch.nn.Identity()

    def _load(self, dtype: torch.dtype, options: Mapping[str, Any]) -> Part:
        return _load_decoder(self.adaptation.source, dtype, **options)

    def _measure(self) -> tuple[int, int]:
        """Return the number of layers; there is no pooled vector."""
        import torch

        inputs, _ = self.texts.batch(self.texts.example(), np.arange(2), self.device)
        with torch.no_grad():
            output = self.backbone.eval()(**inputs, output_hidden_states=True)
        return len(output.hidden_states) - 1, 1


def make_network(
    adaptation: Adaptation,
    n_classes: int,
    device: torch.device,
    recipe: Recipe | None = None,
    start: Source | None = None,
) -> WholeNetwork:
    """Return a network of items, or of pairs by the reward of the adaptation.

    `start` is the model that tuned weights, which the adaptation names, were tuned from.
    """
    if adaptation.reward is None:
        return WholeNetwork(adaptation, n_classes, device, recipe)
    if n_classes != 2:
        raise InputError(f"a pair has two orders; the weak labels have {n_classes} classes")
    if adaptation.reward == "head":
        return PairNetwork(adaptation, n_classes, device, recipe)
    return ImplicitNetwork(adaptation, n_classes, device, recipe, start)


def check_reward(adaptation: Adaptation) -> None:
    """Raise NotApplicableError for DPO on a model that does not generate text."""
    if adaptation.reward != "dpo":
        return
    config = adaptation.source.configuration("text")
    if not is_decoder(config):
        raise NotApplicableError(
            f"reward 'dpo' is that of a decoder, which generates text, and model "
            f"{adaptation.model!r} ({config.model_type}) reads it: use reward 'head'"
        )


def _load_decoder(source: Source, dtype: torch.dtype, **options: Any) -> Part:
    """Load a language model with its head; raise EncoderError if weights are missing."""
    from transformers import AutoModelForCausalLM

    model, info = source.load(
        AutoModelForCausalLM.from_pretrained,
        "weights",
        config=source.configuration("text"),
        dtype=dtype,
        output_loading_info=True,
        **options,
    )
    missing = sorted(info["missing_keys"])
    if missing:
        raise EncoderError(
            f"the files of model {source.model!r} lack {len(missing)} weights ({missing[0]}, ...), "
            "which would be random: reward 'dpo' needs a language model with its head"
        )
    model.config.use_cache = False  # of keys and values, for generating text only
    return Part(model, model.config, "AutoModelForCausalLM", "", "AutoModelForCausalLM")


def _logits(rewards: Tensor, turned: BoolArray) -> Tensor:
    """Return the logits (B, 2) of pairs by the rewards (2 B,) of one side, then of the other."""
    import torch

    one, other = rewards.float()[:, None].chunk(2)
    half = 0.5 * _signs(turned, rewards.device) * (one - other)
    return torch.cat([half, -half], dim=-1)


def _signs(turned: BoolArray, device: torch.device) -> Tensor:
    """Return 1 (B, 1) for pairs whose first item is the one side, -1 for others."""
    import torch

    return torch.from_numpy(np.where(turned, -1, 1).astype(np.float32)[:, None]).to(device)
