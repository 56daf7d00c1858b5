"""How probable each class of a text is, for bases with heads."""

from collections.abc import Iterator, Sequence

import torch

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import Composition, frame_of
from tenfold.base.head import forward
from tenfold.base.layout import Group, Row
from tenfold.base.pack import pack
from tenfold.base.probe import running
from tenfold.errors import AdapterError
from tenfold.progress import SILENT, Progress

BATCH_TOKENS = 4096  # of one pass, padding included

Text = tuple[Sequence[int], Composition]


@torch.inference_mode()
def classify(bank: Bank, texts: Sequence[Text], progress: Progress = SILENT) -> list[list[float]]:
    """The log-probability of each class for each text under its composition, in order.

    Texts of like length run together, those of all adapters. Raises AdapterError where nothing gives a text a head.
    """
    for _, composition in texts:
        _require_head(bank, composition)
    found: dict[int, list[float]] = {}
    with running(bank.base), progress.start("classifying", len(texts), "texts") as task:
        for part in _batches(texts):
            part = sorted(part, key=lambda i: texts[i][1])
            found |= zip(part, _pass(bank, [texts[i] for i in part]), strict=True)
            task.advance(len(part))
    return [found[i] for i in range(len(texts))]


def _require_head(bank: Bank, composition: Composition) -> None:
    if not bank.base.trained_head and not any(bank.get(name).copies for name, _ in composition):
        raise AdapterError(f"{bank.base.name} has no head of its own; name an adapter that has one")


def _batches(texts: Sequence[Text]) -> Iterator[list[int]]:
    """Places of texts, the longest first, as many as fit into one rectangle."""
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i][0]))
    while order:
        size = max(1, BATCH_TOKENS // len(texts[order[0]][0]))
        yield order[:size]
        order = order[size:]


def _pass(bank: Bank, texts: Sequence[Text]) -> list[list[float]]:
    rows = [Row(tokens, [False] * len(tokens), label=0) for tokens, _ in texts]
    packed = pack([Group(rows)], "padded", bank.base.device, pad=bank.base.pad)
    with bank.use(frame_of(((composition, 1) for _, composition in texts), lines=len(texts))):
        values = forward(bank.base, packed).float().log_softmax(-1).tolist()
    return [[v for v in row if v != float("-inf")] for row in values]  # other heads may have more classes
