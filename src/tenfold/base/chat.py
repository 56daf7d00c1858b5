"""Messages as the text that a model was tuned on, and the tokens that end an answer."""

from collections.abc import Mapping, Sequence

import jinja2
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tenfold.errors import DataError, ModelError


def render_chat(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, str]],
    *,
    add_generation_prompt: bool,
) -> str:
    """Messages (``role``, ``content``) through the tokenizer's own chat template.

    The text carries every special token that belongs in it: tokenise it with
    ``add_special_tokens=False``. add_generation_prompt: end with the header of the assistant's turn.

    Raises ModelError where the tokenizer has no template, DataError where the template refuses the
    messages (roles out of order, a role that it does not know).
    """
    if not tokenizer.chat_template:
        raise ModelError(
            f"the tokenizer of {tokenizer.name_or_path or 'this model'!r} has no chat template; "
            "use raw text for this task, or a base model that is tuned for chat"
        )
    turns = [dict(message) for message in messages]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
    except jinja2.TemplateError as error:
        roles = ", ".join(str(turn.get("role")) for turn in turns)
        raise DataError(f"the chat template refuses messages with the roles [{roles}]: {error}") from error
    return str(text)


def end_of_turn(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> set[int]:
    """The token ids that end an answer: the tokenizer's EOS and those of the generation config."""
    config = getattr(model, "generation_config", None)
    stated = getattr(config, "eos_token_id", None)
    several = stated if isinstance(stated, list) else [stated]
    return {int(token) for token in [tokenizer.eos_token_id, *several] if token is not None}
