"""API keys: who may ask for what, and how much. Their file holds digests, or names of environment variables."""

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tenfold.errors import ConfigError
from tenfold.store import documents


class Entry(BaseModel):
    """One key in the file. sha256: of the key, in hexadecimal; env: the variable that holds it, in its place.

    adapters: what it may ask for by ``model``, ``base`` among it; all where it is left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100)
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    env: str | None = None
    adapters: list[str] | None = None
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    parallel: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_secret(self) -> "Entry":
        if (self.sha256 is None) == (self.env is None):
            raise ValueError("give sha256 or env, one of them")
        return self


class Allowance:
    """So much a minute, and no more than that at once. May go below nothing where the price is known only later."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        self._rate = None if per_minute is None else per_minute / 60
        self._most = self._left = float(per_minute or 0)
        self._clock, self._then = clock, clock()

    def wait(self) -> float:
        """Seconds until there is at least one to spend; 0 for now."""
        if self._rate is None:
            return 0.0
        now = self._clock()
        self._left, self._then = min(self._most, self._left + (now - self._then) * self._rate), now
        return max(0.0, (1 - self._left) / self._rate)

    def spend(self, amount: int) -> None:
        """So many are gone."""
        self._left -= amount


class Key:
    """One key in use. name: what logs and fairness call it; never the key itself."""

    def __init__(self, entry: Entry, digest: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.digest, self.adapters = entry.name, digest, entry.adapters
        self._parallel, self._open = entry.parallel, 0
        self._requests = Allowance(entry.requests_per_minute, clock)
        self._tokens = Allowance(entry.tokens_per_minute, clock)
        self._lock = threading.Lock()

    def may(self, names: Collection[str]) -> bool:
        """Whether it may ask for all of these."""
        return self.adapters is None or set(names) <= set(self.adapters)

    def enter(self) -> float:
        """Begin a request -> 0, or the seconds after which it may be tried again."""
        with self._lock:
            if self._parallel is not None and self._open >= self._parallel:
                return 1.0
            wait = max(self._requests.wait(), self._tokens.wait())
            if wait == 0:
                self._requests.spend(1)
                self._open += 1
            return wait

    def leave(self, tokens: int) -> None:
        """End a request that took so many tokens, of its prompt and new ones."""
        with self._lock:
            self._tokens.spend(tokens)
            self._open -= 1


class Keys:
    """All keys of a server; empty lets everybody in."""

    def __init__(self, keys: Collection[Key] = ()) -> None:
        self._keys = list(keys)

    def __len__(self) -> int:
        return len(self._keys)

    @classmethod
    def load(cls, path: Path, environ: Mapping[str, str]) -> "Keys":
        """From a file ``{"keys": [{"name": ..., "sha256": ...}]}``. Raises ConfigError for what is wrong in it."""
        given = documents.read_object(path, ConfigError)
        if set(given) != {"keys"} or not isinstance(given["keys"], list) or not given["keys"]:
            raise ConfigError(f'{path}: it must be {{"keys": [...]}} with one key or more')
        keys = [_key(one, environ, f"{path}: key {number}") for number, one in enumerate(given["keys"], 1)]
        for what in ([key.name for key in keys], [key.digest for key in keys]):
            if len(set(what)) < len(what):
                raise ConfigError(f"{path}: two keys are the same, or have the same name")
        return cls(keys)

    def find(self, secret: str) -> Key | None:
        """The key that was given; compared with each in constant time."""
        digest, found = digest_of(secret), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def digest_of(secret: str) -> bytes:
    """What is kept of a key; keys are long and random, so that one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).digest()


def read_secret(name: str | None, file: Path | None, environ: Mapping[str, str]) -> bytes | None:
    """The digest of a secret in an environment variable or a file; None where neither is named. Raises ConfigError."""
    if name is not None:
        return digest_of(_variable(name, environ, "--admin-key-env"))
    if file is None:
        return None
    try:
        secret = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"--admin-key-file {file}: it cannot be read") from None
    if not secret:
        raise ConfigError(f"--admin-key-file {file}: it is empty")
    return digest_of(secret)


def _key(given: Any, environ: Mapping[str, str], where: str) -> Key:
    try:
        entry = Entry.model_validate(given)
    except ValidationError as error:  # what was given is not repeated: it may be a key in the wrong place
        first = error.errors(include_input=False)[0]
        raise ConfigError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    secret = bytes.fromhex(entry.sha256) if entry.sha256 else digest_of(_variable(str(entry.env), environ, where))
    return Key(entry, secret)


def _variable(name: str, environ: Mapping[str, str], where: str) -> str:
    if not environ.get(name):
        raise ConfigError(f"{where}: the environment has no {name!r}, or it is empty")
    return environ[name]
