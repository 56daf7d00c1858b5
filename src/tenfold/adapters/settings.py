"""Settings that several kinds have: names of activations, and numbers of a model's layers. For their validators."""

import re

from transformers.activations import ACT2FN

from tenfold.errors import nearest

RANGE = re.compile(r"(\d+)-(\d+)")


def activation(name: str) -> str:
    """The name, if it is one of transformers' activations without parameters; else ValueError."""
    if name not in ACT2FN:
        raise ValueError(f"{name!r} is no activation of transformers{nearest(name, list(ACT2FN))}")
    if any(True for _ in ACT2FN[name].parameters()):
        raise ValueError(f"{name!r} has parameters of its own; take one without")
    return name


def layers(given: list[int] | str | None) -> list[int] | str | None:
    """What is given, if it is a list of numbers or a range as in 10-20; else ValueError."""
    found = RANGE.fullmatch(given) if isinstance(given, str) else None
    if isinstance(given, str) and not (found and int(found[1]) <= int(found[2])):
        raise ValueError(f"{given!r} is no range; write it as in 10-20")
    if isinstance(given, list) and (not given or min(given) < 0):
        raise ValueError("must name layers by numbers from 0")
    return given


def numbers(given: list[int] | str | None) -> list[int] | None:
    """The numbers that a valid setting means; None is all layers."""
    if isinstance(given, str):
        first, last = map(int, given.split("-"))
        return list(range(first, last + 1))
    return given
