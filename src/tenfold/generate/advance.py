"""The next token of each draft from its logits, with what it is to be told about it."""

import logging
from collections.abc import Sequence

from torch import Tensor

from tenfold.generate.draft import Draft
from tenfold.generate.request import TokenLogprob
from tenfold.generate.sampler import draw

log = logging.getLogger(__name__)


def advance(logits: Tensor, drafts: Sequence[Draft]) -> None:
    """logits (n, V), one line a draft. A draft for which something goes wrong ends with "error", its neighbours don't.

    Drafts that have ended are left alone.
    """
    best = logits.argmax(-1).tolist()
    finite = logits.amax(-1).isfinite().tolist()
    for i, draft in enumerate(drafts):
        if draft.finish is not None:
            continue
        try:
            if not finite[i]:
                raise FloatingPointError("its logits are not finite numbers")
            _add(logits[i], best[i], draft)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this request's alone
            fail(draft, error)


def fail(draft: Draft, error: Exception) -> None:
    """End a draft with what went wrong."""
    log.error("request %d failed", draft.number, exc_info=error)
    draft.end("error", f"{type(error).__name__}: {error}")


def _add(logits: Tensor, best: int, draft: Draft) -> None:
    sampling, generator = draft.chooser
    own, grammar = logits, draft.grammar
    if grammar:
        own = logits.masked_fill(~grammar.allowed(len(logits)).to(logits.device), float("-inf"))
        best = int(own.argmax())
    token = best if sampling.greedy else draw(own, sampling, generator)
    if grammar and token not in grammar.eos:
        grammar.add(token)
    draft.add(token, None if draft.request.logprobs is None else _tell(logits, token, draft.request.logprobs))


def _tell(logits: Tensor, token: int, count: int) -> TokenLogprob:
    """logits (V,) -> the token's log-probability and those of the best."""
    values = logits.float().log_softmax(-1)
    found = values.topk(count)
    best = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return TokenLogprob(token, float(values[token]), tuple(best))
