"""Methods by name."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from w2s_data.errors import InputError, listing, unknown
from w2s_data.finetune.methods.base import Method
from w2s_data.finetune.methods.bayes import Bayes
from w2s_data.finetune.methods.bootstrap import Bootstrap
from w2s_data.finetune.methods.confidence import Confidence
from w2s_data.finetune.methods.cosupervised import CoSupervised
from w2s_data.finetune.methods.crossfit import CrossFit
from w2s_data.finetune.methods.enhanced import Enhanced
from w2s_data.finetune.methods.label_model import DawidSkene
from w2s_data.finetune.methods.labelled_only import LabelledOnly
from w2s_data.finetune.methods.naive import Naive
from w2s_data.finetune.methods.overlap import Overlap
from w2s_data.finetune.methods.prediction_powered import PredictionPowered
from w2s_data.finetune.methods.raven import Raven
from w2s_data.finetune.methods.stacked import Stacked
from w2s_data.finetune.methods.trust import Trust
from w2s_data.finetune.methods.vsup import VSup

# An explicit table, not decorators: a name is known without its module being imported first.
_METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        *(Naive, Confidence, Bootstrap, VSup, Bayes),
        *(Overlap, CrossFit, Enhanced, CoSupervised, Raven),
        *(Stacked, LabelledOnly, Trust, PredictionPowered, DawidSkene),
    )
}
M = TypeVar("M", bound=type[Method])


def register_method(method: M) -> M:
    """Register a method class under its `name`; usable as a class decorator.

    Raises
    ------
    InputError
        If the class is not a `Method` with a name, or the name is taken.

    Examples
    --------
    >>> register_method(Naive)
    Traceback (most recent call last):
        ...
    w2s_data.errors.InputError: there is a method 'naive' already: Naive
    """
    if not (isinstance(method, type) and issubclass(method, Method) and hasattr(method, "name")):
        raise InputError(f"{method!r} is not a method: it needs the base class Method and a name")
    if method.name in _METHODS:
        taken = _METHODS[method.name].__name__
        raise InputError(f"there is a method {method.name!r} already: {taken}")
    _METHODS[method.name] = method
    return method


def available_methods() -> list[str]:
    """List the names that `fit_student` and `measure_gain` accept.

    Examples
    --------
    >>> "naive" in available_methods()
    True
    """
    return list(_METHODS)


def make_method(method: str | Method, **parameters: Any) -> Method:
    """Create the method of this name with these parameters; an instance gets the parameters.

    Raises
    ------
    InputError
        If there is no such method or parameter; lists the valid ones and the nearest.

    Examples
    --------
    >>> make_method("naive", hard=True)
    Naive(hard=True)
    """
    if not isinstance(method, Method) and method not in _METHODS:
        raise InputError(unknown("method", str(method), available_methods()))
    kind = type(method) if isinstance(method, Method) else _METHODS[method]
    valid = [field.name for field in dataclasses.fields(kind)]
    for name in parameters:
        if name not in valid:
            raise InputError(f"{kind.name} has no parameter {name!r}; it has {listing(valid)}")
    if isinstance(method, Method):
        return dataclasses.replace(method, **parameters)
    return kind(**parameters)
