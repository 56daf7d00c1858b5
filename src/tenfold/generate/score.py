"""How probable rows are: the summed log-probability of their supervised tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import Composition, frame
from tenfold.base.head import forward, hidden_states, logits
from tenfold.base.layout import Group, Row
from tenfold.base.model import Path
from tenfold.base.pack import pack
from tenfold.base.probe import running
from tenfold.errors import DataError
from tenfold.generate.request import require_room
from tenfold.generate.tree import TreeLayout, cut, grow
from tenfold.progress import SILENT, Progress

BATCH_TOKENS = 2048
HEAD = 256  # logits that exist at a time, in rows of the vocabulary

Item = tuple[Row, Composition]


@dataclass(frozen=True)
class Score:
    """logprob: natural log, summed over the supervised tokens. tokens: how many those are."""

    logprob: float
    tokens: int


@torch.inference_mode()
def score(
    bank: Bank, items: Sequence[Item], progress: Progress = SILENT, batch_tokens: int = BATCH_TOKENS
) -> list[Score]:
    """The score of each row under its composition, in order.

    What rows of one composition begin with is computed once: a template, and a prompt for all its options.
    batch_tokens: tokens of one pass. Raises DataError for a row without tokens or longer than the model's
    positions, AdapterError for an adapter that is not in the bank.
    """
    for i, (row, _) in enumerate(items):
        if not row.tokens:
            raise DataError(f"row {i}: it has no tokens; at least 1 is needed")
        require_room(bank.base, f"row {i}", len(row.tokens), 0)
    order = sorted(range(len(items)), key=lambda i: (items[i][1], list(items[i][0].tokens)))
    lines = [(items[i][1], items[i][0].tokens) for i in order]
    found: dict[int, float] = {}
    with running(bank.base) as way, progress.start("scoring", len(items), "rows") as task:
        for part in cut(lines, batch_tokens):
            chosen = [items[order[i]] for i in part]
            sums = _tree(bank, chosen) if way.path == "shared" else _rows(bank, chosen, way.path)
            found |= zip([order[i] for i in part], sums, strict=True)
            task.advance(len(part))
    return [Score(found[i], len(_supervised(row))) for i, (row, _) in enumerate(items)]


def _supervised(row: Row) -> list[int]:
    """Positions of the tokens that count; the first is never predicted."""
    return [t for t in range(1, len(row.tokens)) if row.supervised[t]]


def _tree(bank: Bank, items: Sequence[Item]) -> list[float]:
    """A pass in which rows share. A token that several rows share is looked up once and counted for each."""
    tree = grow([(composition, row.tokens) for row, composition in items], bank.base.device)
    with bank.use(tree.frame):
        hidden = hidden_states(bank.base.model, tree.input_ids, tree.position_ids, layout=TreeLayout(tree.buckets))
    steps = [(path, _supervised(row)) for path, (row, _) in zip(tree.paths, items, strict=True)]
    parents = {path[t]: path[t - 1] for path, counted in steps for t in counted}
    tokens = tree.input_ids[0].tolist()
    values = _logprobs(bank, hidden, list(parents.values()), [tokens[node] for node in parents])
    known = dict(zip(parents, values, strict=True))
    return [sum(known[path[t]] for t in counted) for path, counted in steps]


def _rows(bank: Bank, items: Sequence[Item], path: Path) -> list[float]:
    """A pass of whole rows, packed or padded (neither shares). Items stand in order of composition."""
    groups, compositions = [], []
    for composition, members in groupby(items, lambda item: item[1]):
        groups.append(Group([row for row, _ in members]))
        compositions.append(composition)
    packed = pack(groups, path, bank.base.device)
    with bank.use(frame(packed, compositions)):
        hidden = forward(bank.base, packed)
    targets, sums = packed.targets, [0.0] * len(items)
    values = _logprobs(bank, hidden, targets.hidden.tolist(), targets.token.tolist())
    for row, value in zip(targets.row.tolist(), values, strict=True):
        sums[row] += value
    return sums


def _logprobs(bank: Bank, hidden: Tensor, index: list[int], tokens: list[int]) -> Iterable[float]:
    """Log-probability of token k after hidden state index[k]."""
    order = sorted(range(len(index)), key=index.__getitem__)
    values = [0.0] * len(index)
    for start in range(0, len(order), HEAD):
        part = order[start : start + HEAD]
        where, token = (torch.tensor([x[k] for k in part], device=hidden.device) for x in (index, tokens))
        unique, inverse = torch.unique(where, return_inverse=True)
        found = logits(bank.base.model, hidden[unique]).float().log_softmax(-1)
        for k, value in zip(part, found[inverse, token].tolist(), strict=True):
            values[k] = value
    return values
