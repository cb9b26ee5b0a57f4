"""How a model turns the hidden states of a text into one vector, as its own files say."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from w2s_data.encoders.source import MODULES_FILE, SUBCONFIGS, Module, Source
from w2s_data.errors import EncoderError, listing
from w2s_data.utils.validation import Constraint

# As in sentence-transformers, but for "last" (theirs: lasttoken). Several concatenate: "cls+mean".
POOLINGS = ("mean", "cls", "last", "max", "mean_sqrt_len", "weightedmean")
AUTO = "auto"
POOLER = "pooler"  # of image models: what a convolutional model itself makes of its last state
IMAGE_POOLINGS = ("mean", "cls", POOLER)
JOINED = Constraint(
    'several joined by "+"',
    lambda value: isinstance(value, str) and set(value.split("+")) <= set(POOLINGS),
)
# The flags of a pooling module's config.json, in the order in which they concatenate.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "last",
}
_SYNONYMS = {"lasttoken": "last", "mean_sqrt_len_tokens": "mean_sqrt_len"}
_PACKAGE = "sentence_transformers."
_HEADS = ("Dense", "LayerNorm", "Normalize")
# The file's name depends on the version and the model that it was first saved with.
_TEXT_SETTINGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_OWN_SETTINGS = "config_sentence_transformers.json"
_POOLING_FOLDER = "1_Pooling"
# Causal text towers, whose family is not among the language models of transformers. Their last
# token, the end mark, is the one that is trained.
_CAUSAL_TOWERS = ("clip", "clip_text_model")


@dataclass(frozen=True)
class Recipe:
    """Way from hidden states to a vector: what is read, pooled, and done to the pooled vector."""

    pooling: str  # one of POOLINGS, or several joined by "+"
    reason: str  # of the pooling, for people
    modules: tuple[Module, ...] = ()  # applied to the pooled vector, in order
    normalize: bool = False  # scale to length 1 in the end
    dimensions: int | None = None  # kept of the vector, all if None
    include_prompt: bool = True  # in the pooling
    prompt: str = ""
    max_length: int | None = None
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)

    def spec(self) -> dict[str, Any]:
        """Return the settings that vectors depend on, as JSON types."""
        return {
            "pooling": self.pooling,
            "pooling_reason": self.reason,
            "modules": [module.folder or module.name for module in self.modules],
            "normalize": self.normalize or self._ends_normalized,
            "prompt": self.prompt,
            "max_length": self.max_length,
        }

    def told(self) -> str:
        """Say in words how a text becomes a vector."""
        steps = [f"pooling {self.pooling}", *(module.name for module in self.modules)]
        if self.normalize:
            steps.append("length 1")
        if self.prompt:
            steps.append(f"prompt {self.prompt!r}")
        return f"{', '.join(steps)} ({self.reason})"

    def changed(
        self,
        *,
        pooling: str = AUTO,
        normalize: bool | None = None,
        prompt: str | None = None,
        max_length: int | None = None,
        last_layer: bool = True,
    ) -> Recipe:
        """Return the recipe with the settings that a user gave; None and "auto" keep it.

        A pooling that is named stands instead of the model's own head: pooling, Dense layers and
        Normalize. From a lower layer the head's pooling is taken alone, since the rest was trained
        on the last one.
        """
        recipe = self
        if pooling != AUTO:
            modes = "+".join(_SYNONYMS.get(mode, mode) for mode in pooling.split("+"))
            recipe = replace(recipe.without_head(), pooling=modes, reason="as given")
        elif not last_layer:
            recipe = recipe.without_head()
        if normalize is False and recipe._ends_normalized:
            recipe = replace(recipe, modules=recipe.modules[:-1])
        if normalize is not None and not recipe._ends_normalized:
            recipe = replace(recipe, normalize=normalize)
        if prompt is not None:
            recipe = replace(recipe, prompt=self._prompt(prompt))
        return recipe if max_length is None else replace(recipe, max_length=max_length)

    def without_head(self) -> Recipe:
        """Return the recipe up to the pooling."""
        return replace(self, modules=(), normalize=False, dimensions=None)

    def files(self, width: int) -> dict[str, Any]:
        """Return the JSON files, by name, by which a folder of a model says how texts are pooled.

        They are those of sentence-transformers, which `read_recipe` reads too; `width` is that of a
        hidden state.
        """
        modes = self.pooling.split("+")
        pooling = {
            "word_embedding_dimension": width,
            **{flag: mode in modes for flag, mode in _FLAGS.items()},
            "include_prompt": self.include_prompt,
        }
        parts = (("Transformer", ""), ("Pooling", _POOLING_FOLDER))
        files: dict[str, Any] = {
            MODULES_FILE: [
                {"idx": i, "name": str(i), "path": path, "type": f"{_PACKAGE}models.{kind}"}
                for i, (kind, path) in enumerate(parts)
            ],
            f"{_POOLING_FOLDER}/config.json": pooling,
            _TEXT_SETTINGS[0]: {
                "max_seq_length": self.max_length,
                "do_lower_case": self.lower_case,
            },
        }
        if self.prompt:
            named = {"prompts": {"default": self.prompt}, "default_prompt_name": "default"}
            files[_OWN_SETTINGS] = named
        return files

    @property
    def _ends_normalized(self) -> bool:
        """Whether the model's own parts scale vectors to length 1 in the end."""
        return bool(self.modules) and self.modules[-1].name == "Normalize"

    def _prompt(self, given: str) -> str:
        """Return the text of one of the model's prompts, or the text itself."""
        if given in self.prompts:
            return self.prompts[given]
        close = difflib.get_close_matches(given, self.prompts, n=1, cutoff=0.7)
        if close and given.isidentifier():  # a text to put before others ends in a mark or blank
            raise EncoderError(
                f"the model has no prompt {given!r}; did you mean {close[0]!r}? "
                f"Valid: {listing(self.prompts)}, or a text"
            )
        return given


def read_recipe(source: Source, config: Any) -> Recipe:
    """Read a sentence-transformers folder's own recipe, or the usual one of a plain model.

    Raise EncoderError for a module that is unknown (by its name), or a damaged file.
    """
    if not source.modules:
        pooling, reason = _usual_pooling(config)
        return Recipe(pooling, reason)
    heads: list[Module] = []
    pooled_by: Module | None = None
    for place, module in enumerate(source.modules):
        kind = module.name if module.type.startswith(_PACKAGE) else ""
        if kind == "Pooling" and pooled_by is None:
            pooled_by = module
        elif kind in _HEADS and pooled_by is not None:
            heads.append(module)
        # Dropout does nothing outside of training.
        elif kind != "Dropout" and (kind != "Transformer" or place > 0):
            raise EncoderError(
                f"{MODULES_FILE} of model {source.model!r} lists module {module.type!r} at place "
                f"{place}, which cannot be run here (only Transformer, Pooling and then "
                f"{', '.join(_HEADS)} of sentence-transformers can): embed with that library, and "
                "pass the vectors as features"
            )
    if pooled_by is None:
        pooling, reason = _usual_pooling(config)
        include_prompt = True
    else:
        pooling, include_prompt = _read_pooling(source, pooled_by)
        reason = f"as {pooled_by.folder} of the model says"
    recipe = Recipe(pooling, reason, tuple(heads), include_prompt=include_prompt)
    return _with_text_settings(recipe, source)


def image_recipe(config: Any, pooling: str = AUTO, *, last_layer: bool = True) -> Recipe:
    """Return the usual recipe of an image model, or one with the pooling that a user gave.

    A convolutional model's own pooled output is the mean of the last state over its area, in some
    families (ConvNeXt) with a norm after it. Below the last layer the area is averaged.
    """
    part = getattr(config, SUBCONFIGS["image"], None) or config
    if pooling == AUTO:
        # Transformers state their heads, as one number or as one number per stage.
        heads = any(getattr(part, name, None) for name in ("num_attention_heads", "num_heads"))
        usual = ("mean", "the usual choice for images")
        recipe = Recipe(*usual) if heads else Recipe(POOLER, "as convolutional models are trained")
    else:
        recipe = Recipe(pooling, "as given")
    if recipe.pooling == POOLER and not last_layer:
        return replace(recipe, pooling="mean")
    return recipe


def _read_pooling(source: Source, module: Module) -> tuple[str, bool]:
    name = f"{module.folder}/config.json"
    settings = source.read_settings(name)
    if settings is None:
        raise EncoderError(f"{name} of model {source.model!r} is missing: the pooling is unknown")
    given = settings.get("pooling_mode")
    if given is None:
        given = [mode for flag, mode in _FLAGS.items() if settings.get(flag)] or ["mean"]
    names = given if isinstance(given, list) else [given]
    modes = [_SYNONYMS.get(str(mode), str(mode)) for mode in names]
    if not modes or not set(modes) <= set(POOLINGS):
        raise EncoderError(
            f"{name} of model {source.model!r}: pooling must be one of {', '.join(POOLINGS)}; "
            f"got {given!r}"
        )
    return "+".join(modes), bool(settings.get("include_prompt", True))


def _with_text_settings(recipe: Recipe, source: Source) -> Recipe:
    """Add maximum length, lower case, prompts and kept dimensions from their files."""
    folder = f"{source.subfolder}/" if source.subfolder else ""
    found = (source.read_settings(folder + name) for name in _TEXT_SETTINGS)
    text = next((settings for settings in found if settings), {})
    own = source.read_settings(_OWN_SETTINGS) or {}
    where = f"the sentence-transformers settings of model {source.model!r}"
    _check_reads_tokens(text, where)
    prompts = own.get("prompts") or {}
    valid = isinstance(prompts, dict) and all(
        isinstance(value, str | None) for value in prompts.values()
    )
    if not valid:
        raise EncoderError(f"{where}: prompts must be texts by name; got {prompts!r}")
    prompts = {name: value or "" for name, value in prompts.items()}
    default = own.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise EncoderError(
            f"{where}: default_prompt_name {default!r} is not among the prompts "
            f"({listing(prompts) or 'none'}); pass a prompt, or an empty one"
        )
    return replace(
        recipe,
        max_length=_count(text.get("max_seq_length"), where, "max_seq_length"),
        lower_case=bool(text.get("do_lower_case")),
        prompts=prompts,
        prompt=prompts[default] if default is not None else "",
        dimensions=_count(own.get("truncate_dim"), where, "truncate_dim"),
    )


def _check_reads_tokens(settings: Mapping[str, Any], where: str) -> None:
    """Refuse a transformer that reads texts other than by its hidden states."""
    reading = settings.get("modality_config")
    task = settings.get("transformer_task", "feature-extraction")
    method = reading.get("text") if isinstance(reading, dict) else {}
    usual = isinstance(method, dict) and (
        method.get("method", "forward") == "forward"
        and method.get("method_output_name", "last_hidden_state") == "last_hidden_state"
    )
    if task != "feature-extraction" or not usual:
        raise EncoderError(
            f"{where}: texts are read by {method or task!r}, which cannot be run here; embed with "
            "that library and pass the vectors as features"
        )


def _count(value: Any, where: str, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise EncoderError(f"{where}: {name} must be an integer >= 1; got {value!r}")
    return value


def _usual_pooling(config: Any) -> tuple[str, str]:
    """Return the pooling of a model without a recipe, and why."""
    if is_decoder(config):
        return "last", "a decoder sees the whole text only at its last token"
    return "mean", "the usual choice for an encoder, whose files name none"


def is_decoder(config: Any) -> bool:
    """Whether each token of a model sees only those before it."""
    from transformers.models.auto import modeling_auto as auto

    if getattr(config, "is_encoder_decoder", False):
        return False  # its encoder half is used
    config = getattr(config, SUBCONFIGS["text"], None) or config  # of a model that sees, too
    # Decoders that were trained on to look both ways say so.
    both_ways = getattr(config, "use_bidirectional_attention", False) is True
    if both_ways or getattr(config, "is_causal", True) is False:
        return False
    if getattr(config, "is_decoder", False) is True:
        return True
    family = getattr(config, "model_type", "")
    if family in (*auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, "bert-generation"):
        return False
    names = [str(name) for name in getattr(config, "architectures", None) or ()]
    generates = any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names)
    return generates or family in (*auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *_CAUSAL_TOWERS)
