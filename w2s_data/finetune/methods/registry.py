"""Methods by name."""

from __future__ import annotations

import dataclasses
from typing import Any

from w2s_data.errors import InputError, listing, unknown
from w2s_data.finetune.methods.base import Method
from w2s_data.finetune.methods.bayes import Bayes
from w2s_data.finetune.methods.bootstrap import Bootstrap
from w2s_data.finetune.methods.confidence import Confidence
from w2s_data.finetune.methods.cosupervised import CoSupervised
from w2s_data.finetune.methods.crossfit import CrossFit
from w2s_data.finetune.methods.enhanced import Enhanced
from w2s_data.finetune.methods.naive import Naive
from w2s_data.finetune.methods.overlap import Overlap
from w2s_data.finetune.methods.raven import Raven
from w2s_data.finetune.methods.vsup import VSup

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Naive,
        Confidence,
        Bootstrap,
        VSup,
        Bayes,
        Overlap,
        CrossFit,
        Enhanced,
        CoSupervised,
        Raven,
    )
}


def available_methods() -> list[str]:
    """Names that `fit_student` and `measure_gain` accept.

    Examples
    --------
    >>> "naive" in available_methods()
    True
    """
    return list(METHODS)


def make_method(method: str | Method, **parameters: Any) -> Method:
    """A method from its name and parameters, or a ready one as it is.

    Raises
    ------
    InputError
        If there is no such method or parameter; lists the valid ones and the nearest.

    Examples
    --------
    >>> make_method("naive", hard=True)
    Naive(hard=True)
    """
    if isinstance(method, Method):
        if parameters:
            return dataclasses.replace(method, **_known(type(method), parameters))
        return method
    if method not in METHODS:
        raise InputError(unknown("method", str(method), list(METHODS)))
    return METHODS[method](**_known(METHODS[method], parameters))


def _known(method: type[Method], parameters: dict[str, Any]) -> dict[str, Any]:
    valid = [field.name for field in dataclasses.fields(method)]
    for name in parameters:
        if name not in valid:
            raise InputError(f"{method.name} has no parameter {name!r}; it has {listing(valid)}")
    return parameters
