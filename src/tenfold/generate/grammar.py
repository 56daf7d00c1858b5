"""Answers that must be JSON: which tokens may come next. Needs the extra ``json`` (llguidance)."""

import json
from collections.abc import Collection, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tenfold import plugins
from tenfold.base.model import Base
from tenfold.errors import ConfigError

LAYOUT = {"whitespace_pattern": r"( |\n {0,16})?"}  # else a small model may write blanks to its last token
_known: WeakKeyDictionary[PreTrainedTokenizerBase, dict[tuple[int, ...], Any]] = WeakKeyDictionary()


class Grammar:
    """Follows one answer. eos: the tokens that end it once it is whole.

    wanted: True for any JSON object, else a schema. Raises ConfigError for a schema that cannot be followed.
    """

    def __init__(self, base: Base, wanted: bool | Mapping[str, Any], eos: Collection[int]) -> None:
        library = plugins.optional("llguidance", "json", "json: answers that must be JSON need")
        own = base.tokenizer.eos_token_id
        self.eos = frozenset(eos) or frozenset([] if own is None else [int(own)])
        if not self.eos:
            raise ConfigError("json: the tokenizer has no token that ends an answer; give some as eos")
        schema = {"type": "object"} if wanted is True else dict(wanted or {})
        try:
            grammar = library.LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=LAYOUT)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"json: no JSON schema: {error}") from None
        self._matcher = library.LLMatcher(_tokenizer(base, self.eos), grammar)
        if self._matcher.is_error():
            raise ConfigError(f"json: the schema cannot be followed: {' '.join(self._matcher.get_error().split())}")

    @property
    def ended(self) -> bool:
        """Whether the answer is whole and nothing can come after it."""
        return bool(self._matcher.is_stopped())

    def allowed(self, size: int) -> Tensor:
        """The tokens (size,) that may come next, on the CPU."""
        bias = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8).bool()
        return torch.nn.functional.pad(bias, (0, max(0, size - len(bias))))[:size]

    def add(self, token: int) -> None:
        """The token that came; one that ends the answer is not told."""
        taken = self._matcher.consume_token(token)
        assert taken, f"a token that was not allowed: {self._matcher.get_error()}"


def _tokenizer(base: Base, eos: frozenset[int]) -> Any:
    """llguidance's view of the tokenizer, made once (it takes a second)."""
    hf = plugins.optional("llguidance.hf", "json", "json: answers that must be JSON need")
    views, key = _known.setdefault(base.tokenizer, {}), tuple(sorted(eos))
    if key not in views:
        size = max(base.model.config.get_text_config().vocab_size, len(base.tokenizer))
        try:
            views[key] = hf.from_tokenizer(base.tokenizer, n_vocab=size, eos_token=list(key))
        except ValueError as error:
            raise ConfigError(f"json: the tokenizer cannot be followed: {error}") from None
    return views[key]
