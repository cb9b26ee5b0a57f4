"""Model card of a student that a run keeps: how it was made, its accuracy, how to load it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from w2s_data.data.dataset import W2SDataset
from w2s_data.encoders.source import Source
from w2s_data.stages.graph import BEST

if TYPE_CHECKING:
    from w2s_data.finetune.gain.intervals import Measurement
    from w2s_data.finetune.gain.result import GainResult
    from w2s_data.finetune.student import Student

TRAINED = {
    "head": "a linear head on frozen features of the strong model",
    "lora": "low-rank adapters (LoRA) and a linear head on the strong model",
    "full": "all weights of the strong model, and a linear head",
}
BY_DPO = "{} of the strong model, with the implicit reward of DPO"
DPO_TRAINED = {"lora": "low-rank adapters (LoRA)", "full": "all weights"}
LIBRARIES = {"head": "w2s-data", "lora": "peft", "full": "transformers"}


@dataclass(frozen=True)
class Card:
    """Everything that a card says of a student.

    Attributes
    ----------
    role : str
        "best" or "naive".
    name : str
        Name of its method, in the table of the gain.
    base : str
        Pretrained model that was tuned or whose features are read; "" if there is none.
    opened_by : str
        Python that opens the files of a whole model by the library that made them.
    """

    dataset: W2SDataset
    result: GainResult
    student: Student
    role: str
    name: str
    base: str
    opened_by: str = ""

    def text(self) -> str:
        """Return the card: metadata in YAML, then Markdown."""
        parts = [
            f"---\n{self._metadata()}\n---",
            f"# {self.name}: a student of {self._labels} of {self.dataset.name}",
            self._made(),
            "## Accuracy",
            "\n".join(self._accuracies()),
            self._about_accuracies(),
            "## Use",
            f"```python\n{self._loading()}\n```",
            self._files(),
            "## Limits",
            "\n".join(f"- {limit}" for limit in self._limits()),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    @property
    def base_label(self) -> str:
        """The base as a hub calls it, or the name of its folder."""
        return Source(self.base).label if self.base else ""

    @property
    def _tuning(self) -> str:
        return self.student.tuning

    @property
    def _accuracy(self) -> Measurement:
        """Accuracy of the method, which may be the reference of the gold labels alone."""
        named = {student.name: student.scores for student in self.result.methods}
        return named.get(self.name, self.result.labelled_only.scores)["accuracy"]

    def _own_accuracy(self, seed: int) -> str:
        """Return the accuracy of one seed, with its interval over test rows."""
        table = self.result.to_frame()
        table = table[table["role"].ne("control") & table["student"].eq(self.name)]
        row = table.set_index("seed").loc[seed]
        return f"{row['accuracy']:.3f} ({row['accuracy_low']:.3f} to {row['accuracy_high']:.3f})"

    def _metadata(self) -> str:
        from huggingface_hub import EvalResult, ModelCardData

        measured = EvalResult(
            task_type="other",
            dataset_type=self.dataset.name,
            dataset_name=self.dataset.name,
            dataset_split="test",
            metric_type="accuracy",
            metric_value=round(self._accuracy.value, 4),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fields that a hub would like
            data = ModelCardData(
                model_name=f"{self.dataset.name}-{self.role}",
                base_model=self.base_label or None,
                library_name=LIBRARIES[self._tuning],
                tags=["w2s-data", "weak-to-strong", self.student.method.name, self._tuning],
                metrics=["accuracy"],
                eval_results=[measured],
            )
        return str(data.to_yaml())

    @property
    def _labels(self) -> str:
        """The labels that the student learned from."""
        if self.name == self.result.labelled_only.name:
            return "gold labels alone"
        return "gold and weak labels" if self.student.method.uses_gold else "weak labels"

    def _made(self) -> str:
        result, own = self.result, self.student
        base = f", {self.base_label}" if self.base else ""
        classes = ", ".join(map(str, own.classes))
        return (
            f"Trained by w2s-data on {self._labels}, by the method `{own.method!r}`: "
            f"{self._trained()}{base}. {result.n_labelled:,} rows have a gold label, "
            f"{result.n_pool:,} rows of the pool a weak one. Classes: {classes}."
        )

    @property
    def _is_dpo(self) -> bool:
        network = getattr(self.student.model, "network", None)
        return network is not None and network.adaptation.reward == "dpo"

    def _trained(self) -> str:
        if self._is_dpo:
            return BY_DPO.format(DPO_TRAINED[self._tuning])
        text = TRAINED[self._tuning]
        return text.replace("linear head", "linear reward") if self.dataset.is_paired else text

    def _accuracies(self) -> Iterator[str]:
        result = self.result
        yield f"| | accuracy on {result.n_test:,} test rows | {result.level:.0%} interval |"
        yield "|---|---|---|"
        others = (result.teacher, result.labelled_only, result.ceiling)
        names = ("weak teacher", "the same model, gold labels alone", "ceiling, gold pool")
        rows = {"this student": self._accuracy} | {
            name: other.scores["accuracy"]
            for name, other in zip(names, others, strict=True)
            if other.scores and other.name != self.name
        }
        for name, accuracy in rows.items():
            limits = f"{accuracy.low:.3f} to {accuracy.high:.3f}"
            yield f"| {name} | {accuracy.value:.3f} | {limits} |"

    def _about_accuracies(self) -> str:
        result, sentences = self.result, []
        n_seeds = len(result.seeds)
        if n_seeds > self.student.n_seeds:
            seed = self.student.seeds[0]
            sentences.append(
                f"Means over {n_seeds} seeds; this folder holds seed {seed}, with an accuracy of "
                f"{self._own_accuracy(seed)}. On the test rows `predictions.parquet` of the run "
                "averages all seeds, so that a few labels there may differ from this student's."
            )
        if self.role == BEST and len(result.by_method) > 1:
            sentences.append(
                "The student was chosen by these rows, so that its accuracy is slightly optimistic."
            )
        return " ".join(sentences)

    def _loading(self) -> str:
        inputs = {
            "text": "a list of texts",
            "image": "a list of paths or bytes of images",
            "features": "vectors (n, D)",
        }[self.dataset.kind]
        if self.dataset.is_paired:
            inputs = "a list of pairs (first, second) or (first, second, prompt)"
        if self._tuning == "head":
            inputs = "strong features (n, D) as the run has them"
        return (
            "from w2s_data.finetune import Student\n\n"
            'student = Student.load("this/folder")\n'
            f"proba = student.predict_proba(inputs)  # {inputs}\n"
            "labels = student.classes[proba.argmax(axis=1)]"
        )

    def _files(self) -> str:
        if self._tuning == "head":
            return "`w2s apply RUN TABLE` labels a table, and computes the features itself."
        library, thing = LIBRARIES[self._tuning], "model"
        if self._tuning == "lora":
            library, thing = f"{library} and transformers", f"model, of base {self.base_label!r},"
        head = "" if self._is_dpo else "; `student.safetensors` is the head"
        return (
            f"Without w2s-data `{self.opened_by}` opens the tuned {thing} by {library}{head}. "
            "`w2s apply RUN TABLE` labels a table."
        )

    def _limits(self) -> Iterator[str]:
        yield (
            "The accuracy is that of fresh rows of the same kind as the test rows, not that of "
            "rows from elsewhere."
        )
        if self.name != self.result.labelled_only.name:
            yield "A mistake that the weak teacher makes again and again can be learned from it."
        if self._tuning == "head":
            yield "The features must be those of the run's strong encoder, with its settings."
        if self._tuning == "lora":
            yield "The adapters fit the pretrained model that they were trained on, and no other."
        if self._is_dpo:
            yield "Pairs are scored against the pretrained model, which has to be where it was."
        yield from self.result.warnings


def base_of(tuning: str, model: Any, encoders: dict[str, Any]) -> str:
    """Return the pretrained model that a student stands on: the tuned one, or the encoder's."""
    if tuning == "head":
        return str(encoders.get("strong", {}).get("model", ""))
    return str(getattr(model, "model", model))
