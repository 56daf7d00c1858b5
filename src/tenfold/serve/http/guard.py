"""Who asks: API keys and the admin key, from the Authorization header."""

import hmac
import math

from fastapi import Request

from tenfold.serve.http.access import note
from tenfold.serve.http.problems import Problem
from tenfold.serve.http.state import State
from tenfold.serve.keys import Key, digest_of


def secret(request: Request) -> str:
    """The key that came with a request; '' for none."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def client(request: Request) -> Key | None:
    """Whose request it is; None where everybody may ask. Raises Problem 401."""
    keys = State.of(request).keys
    if not len(keys):
        return None
    given = secret(request)
    key = keys.find(given)
    if key is None:
        message = "no such API key" if given else "an API key is needed"
        raise Problem(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
    note(request.scope, key=key.name)
    return key


def admin(request: Request) -> None:
    """Raises Problem 403 where there is no administration, 401 for another key than the admin's."""
    wanted = State.of(request).admin
    if wanted is None:
        raise Problem(403, "administration is off: the server was started without an admin key", code="admin_off")
    if not hmac.compare_digest(digest_of(secret(request)), wanted):
        raise Problem(401, "not the admin key", code="invalid_api_key", headers={"www-authenticate": "Bearer"})


def reader(request: Request) -> None:
    """Who may see the metrics: everybody where there are no keys at all, else the admin."""
    state = State.of(request)
    if state.admin is not None or len(state.keys):
        admin(request)


def enter(key: Key | None) -> None:
    """Let one more request of a key in. Raises Problem 429."""
    wait = key.enter() if key else 0.0
    if key and wait:
        raise Problem(
            429, f"a limit of the key {key.name!r} is reached", code="rate_limit_exceeded",
            headers={"retry-after": str(math.ceil(wait))},
        )  # fmt: skip


def leave(key: Key | None, tokens: int) -> None:
    """A request of a key has ended, and took so many tokens."""
    if key:
        key.leave(tokens)
