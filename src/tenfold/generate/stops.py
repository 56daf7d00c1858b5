"""Text that grows token by token, and stop strings in it: a token is decoded with a few before it, never with all."""

from bisect import bisect_right
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

UNFINISHED = "\ufffd"  # what bytes that do not make a character yet are decoded to
HELD = 4  # a character has at most four bytes: a fifth token that ends unfinished will stay so


def decode(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """Tokens as text, without special tokens and with every blank as it is."""
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))


class StopFinder:
    """Looks for the first of some strings (or of none). ``text``: all finished characters so far."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str]) -> None:
        self.text = ""
        self._tokenizer, self._stops = tokenizer, stops
        self._longest = max(map(len, stops), default=0)
        self._ends: list[int] = []  # length of the text after each token
        self._context = self._read = 0  # tokens [context, read) are decoded again for what stands before the new ones

    def add(self, tokens: Sequence[int]) -> tuple[int, int] | None:
        """All tokens, one more than last time -> (tokens, characters) before the stop string, or None."""
        known = len(self.text)
        self.text += self._new(tokens)
        self._ends.append(len(self.text))
        start = max(0, known - self._longest + 1)
        found = [at for stop in self._stops if (at := self.text.find(stop, start)) >= 0]
        return (self._whole(min(found)), min(found)) if found else None

    def settled(self) -> tuple[int, int]:
        """How many (tokens, characters) no stop string that is still to come can reach back to."""
        held = (n for stop in self._stops for n in range(len(stop) - 1, 0, -1) if self.text.endswith(stop[:n]))
        characters = len(self.text) - max(held, default=0)
        return self._whole(characters), characters

    def _new(self, tokens: Sequence[int]) -> str:
        before = decode(self._tokenizer, tokens[self._context : self._read])
        both = decode(self._tokenizer, tokens[self._context :])
        if both.endswith(UNFINISHED) and len(tokens) - self._read <= HELD:
            return ""
        self._context, self._read = self._read, len(tokens)
        return both[len(before) :]

    def _whole(self, characters: int) -> int:
        """How many tokens make up at most so many characters; those of an unfinished one don't count."""
        n = bisect_right(self._ends, characters)
        return self._ends.index(self._ends[n - 1]) + 1 if n and self._ends[n - 1] else 0
