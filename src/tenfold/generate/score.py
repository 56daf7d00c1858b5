"""How probable rows are: the summed log-probability of their supervised tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import Composition, frame, frame_of
from tenfold.base.head import forward, hidden_states, logits
from tenfold.base.layout import Group, Row
from tenfold.base.model import Path
from tenfold.base.pack import pack
from tenfold.base.probe import running
from tenfold.errors import DataError
from tenfold.generate.classify import classify
from tenfold.generate.request import require_room
from tenfold.generate.tree import TreeLayout, cut, grow
from tenfold.progress import SILENT, Progress

BATCH_TOKENS = 2048
HEAD = 256  # logits that exist at a time, in rows of the vocabulary

Item = tuple[Row, Composition]
Value = tuple[float, bool]  # a log-probability, and whether nothing is likelier


@dataclass(frozen=True)
class Score:
    """logprob: natural log, summed over the supervised tokens. tokens: how many those are.

    likeliest: whether each of them is the one that the model finds likeliest there.
    """

    logprob: float
    tokens: int
    likeliest: bool


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
        require_room(bank.base, f"row {i}", max(len(row.tokens), len(row.source)), 0)
    if bank.base.family == "classification":
        return _labels(bank, items, progress)
    order = sorted(range(len(items)), key=lambda i: (items[i][1], list(items[i][0].source), list(items[i][0].tokens)))
    lines = [(items[i][1], (*items[i][0].source, *items[i][0].tokens)) for i in order]
    found: dict[int, Value] = {}
    with running(bank.base) as way, progress.start("scoring", len(items), "rows") as task:
        for part in cut(lines, batch_tokens):
            chosen = [items[order[i]] for i in part]
            sums = _tree(bank, chosen) if way.path == "shared" else _rows(bank, chosen, way.path)
            found |= zip([order[i] for i in part], sums, strict=True)
            task.advance(len(part))
    return [Score(found[i][0], row.counted, found[i][1]) for i, (row, _) in enumerate(items)]


def _labels(bank: Bank, items: Sequence[Item], progress: Progress) -> list[Score]:
    """The score of each row's label; rows that differ in nothing else are run once."""
    texts = {(composition, tuple(row.tokens)): row for row, composition in items}
    found = classify(bank, [(row.tokens, composition) for (composition, _), row in texts.items()], progress)
    known = dict(zip(texts, found, strict=True))
    return [_of(known[composition, tuple(row.tokens)], row) for row, composition in items]


def _of(classes: Sequence[float], row: Row) -> Score:
    if row.label is None or row.label >= len(classes):
        raise DataError(f"class {row.label} is asked for, but the head has {len(classes)}")
    return Score(classes[row.label], 1, classes[row.label] == max(classes))


def _sum(values: Iterable[Value]) -> Value:
    """Of a row's tokens: the sum of their log-probabilities, and whether all are the likeliest."""
    values = list(values)
    return sum(value for value, _ in values), all(best for _, best in values)


def _tree(bank: Bank, items: Sequence[Item]) -> list[Value]:
    """A pass in which rows share. A token that several rows share is looked up once and counted for each."""
    tree = grow([(composition, row.tokens) for row, composition in items], bank.base.device)
    with bank.use(tree.frame):
        hidden = hidden_states(bank.base.model, tree.input_ids, tree.position_ids, layout=TreeLayout(tree.buckets))
    steps = [(path, row.predicted, composition) for path, (row, composition) in zip(tree.paths, items, strict=True)]
    parents = {path[t]: (path[t - 1], composition) for path, counted, composition in steps for t in counted}
    tokens = tree.input_ids[0].tolist()
    index, compositions = [node for node, _ in parents.values()], [one for _, one in parents.values()]
    values = _logprobs(bank, hidden, index, [tokens[node] for node in parents], compositions)
    known = dict(zip(parents, values, strict=True))
    return [_sum(known[path[t]] for t in counted) for path, counted, _ in steps]


def _rows(bank: Bank, items: Sequence[Item], path: Path) -> list[Value]:
    """A pass of whole rows, packed or padded (neither shares). Items stand in order of composition."""
    groups, compositions = [], []
    for composition, members in groupby(items, lambda item: item[1]):
        groups.append(Group([row for row, _ in members]))
        compositions.append(composition)
    packed = pack(groups, path, bank.base.device, pad=bank.base.pad)
    with bank.use(frame(packed, compositions)):
        hidden = forward(bank.base, packed)
    targets, found = packed.targets, [list[Value]() for _ in items]
    own = [compositions[group] for group in targets.group.tolist()]
    values = _logprobs(bank, hidden, targets.hidden.tolist(), targets.token.tolist(), own)
    for row, value in zip(targets.row.tolist(), values, strict=True):
        found[row].append(value)
    return [_sum(one) for one in found]


def _logprobs(
    bank: Bank, hidden: Tensor, index: list[int], tokens: list[int], compositions: Sequence[Composition]
) -> list[Value]:
    """Log-probability of token k after hidden state index[k], under composition k, and whether it is the likeliest."""
    order = sorted(range(len(index)), key=index.__getitem__)
    values: list[Value] = [(0.0, True)] * len(index)
    for start in range(0, len(order), HEAD):
        part = order[start : start + HEAD]
        where, token = (torch.tensor([x[k] for k in part], device=hidden.device) for x in (index, tokens))
        unique, inverse = torch.unique(where, return_inverse=True)
        uses = {index[k]: compositions[k] for k in part}  # in the order of unique
        with bank.use(frame_of((composition, 1) for composition in uses.values())):
            found = logits(bank.base, hidden[unique]).float().log_softmax(-1)
        likeliest = found.argmax(-1)[inverse] == token
        for k, value, best in zip(part, found[inverse, token].tolist(), likeliest.tolist(), strict=True):
            values[k] = value, best
    return values
