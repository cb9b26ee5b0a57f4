"""Teachers as Python hands them over."""

from __future__ import annotations

from typing import Any


class Teacher:
    """A teacher by its kind and settings, those of a table [teachers.NAME].

    Parameters
    ----------
    **settings
        One key that says of which kind it is, and what this kind takes:

        - `encoder` (a name, an Encoder, or "weak" or "strong" for the features of the run): a
          linear probe; `l2`, and `fit_encoder`, `pooling` and the like for the encoder;
        - `finetune` (a transformers model) that is trained itself;
        - `columns` (of probabilities) or `label` and `confidence` of the data;
        - `answers`, a column of a language model's free answers, with `map`;
        - `rules`, a function of an item or a table of patterns;
        - `command`, a program or an endpoint that is asked.

        Teachers that learn take `train_on`, a mapping with `source`, `classes`, `cluster`, `share`
        and `label_noise`, and `specialists`: "halves", "quarters" or "sources".

    Examples
    --------
    >>> Teacher(encoder="tfidf:16", train_on={"source": ["north"]})
    Teacher(encoder='tfidf:16', train_on={'source': ['north']})
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({given})"
