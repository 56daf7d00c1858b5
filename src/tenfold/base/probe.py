"""Which way of running many rows at once gives a model's plain logits: found out, not assumed.

A model class that accepts an attention function may ignore it, and position biases or windows may be lost
on the way. So each path runs a few rows of random tokens and is compared with the same rows alone, under
transformers' eager attention. The fastest path that agrees is taken.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from tenfold.base.attention import NAME, attention
from tenfold.base.head import forward, logits
from tenfold.base.layout import Group, Row
from tenfold.base.model import Base, Path, Way
from tenfold.base.pack import pack
from tenfold.errors import ModelError

log = logging.getLogger(__name__)

# Fastest first; each with the attention implementations to try.
CANDIDATES: list[tuple[Path, str]] = [
    ("shared", NAME),
    ("packed", "sdpa"),
    ("packed", "eager"),
    ("padded", "sdpa"),
    ("padded", "eager"),
]
# Relative to the largest logit; float arithmetic in another order stays below, a leaking neighbour does not.
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 4e-2}
LENGTHS, PREFIX = (7, 12, 9), 4


def settle(base: Base) -> Way:
    """The base's way of running many rows, found out once."""
    if base.way is None:
        base.way = probe(base)
    return base.way


@contextmanager
def running(base: Base) -> Iterator[Way]:
    """Many passes, their backward passes included, in the base's own way; afterwards it is as plain as before."""
    way = settle(base)
    with attention(base.model, way.attention):
        yield way


def probe(base: Base) -> Way:
    """The fastest way that gives plain logits.

    Raises ModelError, with the error of each way, when none does.
    """
    rows = _rows(base)
    with torch.inference_mode():
        truth = [_plain(base, row) for row in rows]
        tried = []
        for path, implementation in _candidates(base):
            error = _error(base, rows, truth, path, implementation)
            tried.append(f"{path}/{implementation} {error}")
            if isinstance(error, float) and error <= TOLERANCE[base.dtype]:
                log.info("%s runs %s with %s attention (%s)", base.name, path, implementation, "; ".join(tried))
                return Way(path, implementation, error)
    raise ModelError(f"{base.name}: no way of running several rows gives plain logits; tried {'; '.join(tried)}")


def _candidates(base: Base) -> list[tuple[Path, str]]:
    """What to try: only causal models are packed, and none whose masks know nothing of packed rows."""
    if not base.model._can_set_attn_implementation():
        return CANDIDATES[-1:]
    return [way for way in CANDIDATES if base.family == "causal" or way[0] == "padded"]


def _rows(base: Base) -> list[Row]:
    """Rows of random tokens with a common beginning; longer than a small window, which tests use."""
    generator = torch.Generator().manual_seed(0)
    size = min(base.model.config.get_text_config().vocab_size, len(base.tokenizer) if base.tokenizer else 1 << 30)

    def draw(count: int) -> list[int]:
        return torch.randint(0, size, (count,), generator=generator).tolist()

    prefix = draw(PREFIX)
    rows = [prefix + draw(length) for length in LENGTHS]
    sources = [draw(length) if base.family == "seq2seq" else () for length in reversed(LENGTHS)]
    label = 0 if base.family == "classification" else None
    return [Row(t, [True] * len(t), source=s, label=label) for t, s in zip(rows, sources, strict=True)]


def _plain(base: Base, row: Row) -> Tensor:
    """(T, V) logits of one row alone, of a classification model (1, C)."""
    try:
        with attention(base.model, "eager"):
            return _alone(base, row)
    except ValueError:  # a model without eager attention
        return _alone(base, row)


def _alone(base: Base, row: Row) -> Tensor:
    ids = torch.tensor([list(row.tokens)], device=base.device)
    if base.family == "seq2seq":
        source = torch.tensor([list(row.source)], device=base.device)
        return base.model(input_ids=source, decoder_input_ids=ids, use_cache=False).logits[0]  # type: ignore[no-any-return]
    if base.family == "classification":
        return base.model(input_ids=ids).logits  # type: ignore[no-any-return]
    return base.model(input_ids=ids, use_cache=False).logits[0]  # type: ignore[no-any-return]


def _error(base: Base, rows: list[Row], truth: list[Tensor], path: Path, implementation: str) -> float | str:
    """The largest difference of a predicting logit, relative to the largest logit; or why it cannot run."""
    packed = pack([Group(rows[:2]), Group(rows[2:])], path, base.device)
    try:
        with attention(base.model, implementation):
            found = logits(base, forward(base, packed))
    except Exception as error:  # noqa: BLE001  a way that fails, however it fails, is not taken
        return type(error).__name__
    targets, worst = packed.targets, 0.0
    scale = max(float(t.abs().max()) for t in truth)
    number = torch.where(targets.row < 0, targets.group.mul(2), targets.row)  # a shared prefix is its first row's
    position = packed.position_ids.expand(packed.input_ids.shape).flatten()
    for k in range(len(targets)):
        row, hidden = int(number[k]), int(targets.hidden[k])
        place = 0 if base.family == "classification" else int(position[hidden])
        worst = max(worst, float((found[hidden] - truth[row][place]).abs().max()))
    return worst / scale
