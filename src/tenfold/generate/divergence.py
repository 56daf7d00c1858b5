"""How far a composition moves the base: KL(base || composition) over the whole vocabulary, position by position."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import BASE, Composition, Frame, frame, frame_of
from tenfold.base.head import forward, hidden_states, logits
from tenfold.base.layout import Group
from tenfold.base.model import Path
from tenfold.base.pack import pack
from tenfold.base.probe import running
from tenfold.generate.classify import classify
from tenfold.generate.score import BATCH_TOKENS, HEAD, Item
from tenfold.generate.tree import TreeLayout, cut, grow
from tenfold.progress import SILENT, Progress

Place = tuple[int, int, Composition]
"""One position: its hidden state under the base, that under a composition, and which composition."""


@torch.inference_mode()
def divergence(
    bank: Bank, items: Sequence[Item], progress: Progress = SILENT, batch_tokens: int = BATCH_TOKENS
) -> list[float]:
    """The divergence of each row under its composition in nats, summed over its supervised tokens, in order.

    Each counts where it is predicted, whatever token it is; for classification there is one distribution a row.
    Both sides run in one pass of at most ``batch_tokens`` tokens. Raises AdapterError for an adapter that is not in
    the bank, or where the base of a classifier has no head.
    """
    if not items:
        return []
    if bank.base.family == "classification":
        return _classes(bank, items, progress)
    order = sorted(range(len(items)), key=lambda i: (items[i][1], list(items[i][0].source), list(items[i][0].tokens)))
    lines = [(items[i][1], (*items[i][0].source, *items[i][0].tokens)) for i in order]
    found: dict[int, float] = {}
    with running(bank.base) as way, progress.start("comparing with the base", len(items), "rows") as task:
        for part in cut(lines, batch_tokens // 2):
            chosen = [items[order[i]] for i in part]
            hidden, places = _tree(bank, chosen) if way.path == "shared" else _rows(bank, chosen, way.path)
            found |= zip([order[i] for i in part], _sums(bank, hidden, places), strict=True)
            task.advance(len(part))
    return [found[i] for i in range(len(items))]


def _classes(bank: Bank, items: Sequence[Item], progress: Progress) -> list[float]:
    texts = [(row.tokens, c) for row, own in items for c in (BASE, own)]
    found = torch.tensor(classify(bank, texts, progress), dtype=torch.float64)
    return _kl(found[::2], found[1::2]).tolist()


def _tree(bank: Bank, items: Sequence[Item]) -> tuple[Tensor, list[list[Place]]]:
    """A pass in which rows share -> hidden states (T, D) and each row's positions in them."""
    tree = grow([(BASE, row.tokens) for row, _ in items] + [(own, row.tokens) for row, own in items], bank.base.device)
    with bank.use(tree.frame):
        hidden = hidden_states(bank.base.model, tree.input_ids, tree.position_ids, layout=TreeLayout(tree.buckets))
    plain, adapted = tree.paths[: len(items)], tree.paths[len(items) :]
    pairs = zip(items, plain, adapted, strict=True)
    return hidden, [[(a[t - 1], b[t - 1], own) for t in row.predicted] for (row, own), a, b in pairs]


def _rows(bank: Bank, items: Sequence[Item], path: Path) -> tuple[Tensor, list[list[Place]]]:
    """A pass of whole rows, packed or padded -> the same."""
    groups, compositions = [], []
    for composition, members in groupby([*((row, BASE) for row, _ in items), *items], lambda item: item[1]):
        groups.append(Group([row for row, _ in members]))
        compositions.append(composition)
    packed = pack(groups, path, bank.base.device, pad=bank.base.pad)
    with bank.use(frame(packed, compositions)):
        hidden = forward(bank.base, packed)
    at: list[list[int]] = [[] for _ in range(2 * len(items))]
    for row, place in zip(packed.targets.row.tolist(), packed.targets.hidden.tolist(), strict=True):
        at[row].append(place)
    pairs = zip(items, at[: len(items)], at[len(items) :], strict=True)
    return hidden, [[(a, b, own) for a, b in zip(*sides, strict=True)] for (_, own), *sides in pairs]


def _sums(bank: Bank, hidden: Tensor, rows: Sequence[Sequence[Place]]) -> list[float]:
    """The divergence of each row. A position that several rows share is looked up once and counted for each."""
    places = sorted({place for row in rows for place in row}, key=lambda place: place[1])
    known: dict[Place, float] = {}
    for start in range(0, len(places), HEAD // 2):
        part = places[start : start + HEAD // 2]
        known |= zip(part, _at(bank, hidden, part), strict=True)
    return [sum(known[place] for place in row) for row in rows]


def _at(bank: Bank, hidden: Tensor, places: Sequence[Place]) -> Iterable[float]:
    plain, adapted = (torch.tensor([place[side] for place in places], device=hidden.device) for side in (0, 1))
    with bank.use(Frame(())):
        before = logits(bank.base, hidden[plain]).float().log_softmax(-1)
    with bank.use(frame_of((own, 1) for _, _, own in places)):
        after = logits(bank.base, hidden[adapted]).float().log_softmax(-1)
    found: list[float] = _kl(before, after).tolist()
    return found


def _kl(before: Tensor, after: Tensor) -> Tensor:
    """Log-probabilities (K, V) of both -> nats (K,); never below zero, as rounding of equal ones may be."""
    return (before.exp() * (before - after)).sum(-1).clamp_min(0.0)
