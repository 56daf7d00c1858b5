"""What of a request is looked at: the last user turn, cut at a length, without what no model can read."""

from collections.abc import Mapping, Sequence

LONGEST = 2000
"""Characters that are looked at: the first and the last LONGEST / 2 of a longer text."""
MARK = "\n"


def clean(text: str, longest: int = LONGEST) -> str:
    """The part of a text that is looked at: no lone surrogates, no space around it, head and tail where it is long."""
    text = text.strip()
    if len(text) > longest:
        half = longest // 2
        text = text[:half].rstrip() + MARK + text[-half:].lstrip()
    return text.encode("utf-8", "replace").decode("utf-8")


def asked(messages: Sequence[Mapping[str, str]], turns: int = 1) -> str:
    """What a conversation asks: its last ``turns`` turns of the user, the latest last; '' where there is none."""
    said = [message["content"] for message in messages if message["role"] == "user"]
    return "\n".join(said[-turns:]) if turns > 0 else ""
