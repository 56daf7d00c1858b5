"""A run as a model of EleutherAI's lm-evaluation-harness, by the name ``tenfold``.

``python -m tenfold.compat.lm_eval run --model tenfold --model_args run=RUN,adapter=NAME --tasks ...`` is the harness'
own command line with this model in its registry; in Python, importing this module puts it there.
"""

import sys
from collections.abc import Sequence
from typing import Any

from tenfold import plugins, runs
from tenfold.adapters import Composition
from tenfold.base.chat import end_of_turn, render_chat
from tenfold.base.layout import Row
from tenfold.errors import ConfigError, TenfoldError
from tenfold.evaluate import BASE_LABEL
from tenfold.generate import Engine, Request, Sampling, score
from tenfold.generate.request import positions

NEED = "tenfold.compat.lm_eval needs"
_model = plugins.optional("lm_eval.api.model", "lm-eval", NEED)
_registry = plugins.optional("lm_eval.api.registry", "lm-eval", NEED)
_models = plugins.optional("lm_eval.models.utils", "lm-eval", NEED)  # registers the harness' own models as well
_texts = plugins.optional("lm_eval.utils", "lm-eval", NEED)
MOST_NEW_TOKENS = 256  # as the harness' own models have it
LONGEST = 2048  # where the model does not say how many positions it has
SAMPLING = {"temperature", "top_k", "top_p", "seed", "do_sample"}


@_registry.register_model("tenfold")
class TenfoldLM(_model.TemplateLM):  # type: ignore[misc, name-defined]
    """Answers and scores of the base, an adapter or a mixture of a run, in the engine's batches.

    run: the folder. adapter: as in ``tenfold generate``: ``base``, a task, ``a:0.5+b:0.5``. batch_size,
    max_batch_size and device, which the harness always gives, change nothing: passes are filled by tokens, and the
    run's config says where it stands.
    max_length: tokens of a row; by default one less than the model has positions, as a row's last token is run too.
    Raises ConfigError for an adapter that is not there, RunError for a folder that is no run.
    """

    def __init__(
        self,
        run: str,
        adapter: str = BASE_LABEL,
        *,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__()
        self.run = runs.load(run)
        self.bank, self.tokenizer = self.run.bank, self.run.bank.base.tokenizer
        self.composition: Composition = self.run.composition(adapter)
        self._device = self.bank.base.device
        if self.bank.base.family != "causal":
            raise ConfigError(f"{run}: a base for {self.bank.base.family} is no language model to the harness")
        self.max_length = int(max_length or (positions(self.bank.base) or LONGEST + 1) - 1)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What a text without context is read after."""
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else int(begin)

    @property
    def tokenizer_name(self) -> str:
        """Under which the harness keeps requests of a chat template."""
        return self.bank.base.name.replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """The tokens of a text; special ones as the tokenizer adds them, unless they are there or not wanted."""
        begun = add_special_tokens is None and string.startswith(self.tokenizer.decode(self.prefix_token_id))
        wanted = True if add_special_tokens is None else add_special_tokens
        return list(self.tokenizer.encode(string, add_special_tokens=wanted and not begun))

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Messages as the base's own template has them."""
        return render_chat(self.tokenizer, chat_history, add_generation_prompt=add_generation_prompt)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of whole texts, in windows of ``max_length`` where they are longer."""
        windows = [(number, pair) for number, one in enumerate(requests) for pair in self._windows(one.args[0])]
        found = self._score([pair for _, pair in windows])
        totals = [0.0] * len(requests)
        for (number, _), (value, _) in zip(windows, found, strict=True):
            totals[number] += value
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers up to a stop text, the end of a turn or the most tokens that the request wants."""
        eos = frozenset(end_of_turn(self.tokenizer, self.bank.base.model))
        asked = [self._request(one.args[0], one.args[1], eos) for one in requests]
        return [completion.text for completion in Engine(self.bank).generate(asked)]

    def _windows(self, text: str) -> list[tuple[list[int], list[int]]]:
        windows = _texts.get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length,
            context_len=1,
        )
        return [_texts.make_disjoint_window(window) for window in windows]

    def _request(self, context: str, settings: dict[str, Any], eos: frozenset[int]) -> Request:
        wanted = _models.normalize_gen_kwargs(settings, MOST_NEW_TOKENS)
        if unknown := wanted.keys() - SAMPLING - {"until", "max_gen_toks"}:
            raise ConfigError(f"generation_kwargs: {', '.join(sorted(unknown))}: the engine has no such settings")
        room = self.max_length - wanted["max_gen_toks"]
        if room < 1:
            raise ConfigError(f"max_gen_toks {wanted['max_gen_toks']} leaves no room for a prompt in {self.max_length}")
        return Request(
            self.tok_encode(context)[-room:],
            self.composition,
            wanted["max_gen_toks"],
            _sampling(wanted),
            tuple(filter(None, wanted["until"])),
            eos,
        )

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        return self._score([(context, continuation) for _, context, continuation in requests])

    def _score(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[tuple[float, bool]]:
        """The log-probability of each continuation after its context, and whether it is what greedy decoding says."""
        rows = [_row(context, continuation, self.max_length + 1) for context, continuation in pairs]
        return [(one.logprob, one.likeliest) for one in score(self.bank, [(row, self.composition) for row in rows])]


def _sampling(wanted: dict[str, Any]) -> Sampling:
    """Greedy unless sampling is asked for, then as transformers does by default."""
    temperature = wanted.get("temperature", 1.0 if wanted.get("do_sample") else 0.0)
    return Sampling(temperature, wanted.get("top_k", 0), wanted.get("top_p", 1.0), wanted.get("seed", 0))


def _row(context: Sequence[int], continuation: Sequence[int], most: int) -> Row:
    """The last so many tokens, of which those of the continuation count."""
    flags = [False] * len(context) + [True] * len(continuation)
    return Row([*context, *continuation][-most:], flags[-most:])


def main() -> None:
    """The harness' command line, with the model ``tenfold`` in its registry; a mistake is one line and exit code 2."""
    try:
        plugins.optional("lm_eval.__main__", "lm-eval", NEED).cli_evaluate()
    except TenfoldError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
