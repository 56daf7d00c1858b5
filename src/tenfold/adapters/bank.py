"""All adapters on one base: which there are, where they sit, and what the current pass uses."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tenfold import plugins
from tenfold.adapters._base import Adapter, Kind, Layer
from tenfold.adapters.composition import Frame
from tenfold.adapters.host import Host
from tenfold.adapters.targets import match
from tenfold.base.model import Base
from tenfold.errors import AdapterError


@dataclass(frozen=True)
class Installed:
    """One adapter: its kind by name, its settings, and its part on each layer by dotted name."""

    kind: str
    config: Any
    modules: dict[str, Adapter]

    @property
    def size(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for module in self.modules.values() for p in module.parameters())


class Bank:
    """Owns the adapters of a base. The base's own parameters and names stay untouched.

    What a pass uses is said by ``use(frame)`` and by nothing else; outside of it the base runs alone.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self.adapters: dict[str, Installed] = {}
        self._hosts: dict[str, Host] = {}
        self._frame: Frame | None = None

    def add(self, name: str, kind: str, config: Any, *, seed: int = 0, layers: list[Layer] | None = None) -> Installed:
        """A new adapter, untrained, on the layers that its settings select; on those given, one to be filled.

        Its numbers depend on seed and layer only, not on what else is in the bank. Raises AdapterError
        for a name in use and for targets that match nothing.
        """
        if name in self.adapters:
            raise AdapterError(f"adapter {name!r} is in the bank already; remove it first")
        module: Kind = plugins.find("tenfold.adapters", kind)
        born = layers is None
        layers = match(self.base.model, module.targets(config)) if layers is None else layers
        parts = {}
        for layer in layers:
            part = module.Adapter(config, layer, _generator(seed, layer.name))
            frozen = self.base.model.get_submodule(layer.name)
            parts[layer.name] = part.to(next(iter(frozen.parameters())).device)
            if born:
                part.begin(frozen)
        for layer in layers:  # only now, so that an adapter that could not be built leaves nothing behind
            host = self._hosts.get(layer.name) or self._host(layer)
            host.adapters[name] = parts[layer.name]
        self.adapters[name] = Installed(kind, config, parts)
        return self.adapters[name]

    def remove(self, name: str) -> None:
        """Take an adapter out; layers without any run as if there had never been one."""
        for layer in self.get(name).modules:
            host = self._hosts[layer]
            del host.adapters[name]
            if not host.adapters:
                host.close()
                del self._hosts[layer]
        del self.adapters[name]

    def get(self, name: str) -> Installed:
        """The adapter of that name; AdapterError with the known names otherwise."""
        if name not in self.adapters:
            known = ", ".join(sorted(self.adapters)) or "none"
            raise AdapterError(f"no adapter {name!r} in the bank; there are: {known}")
        return self.adapters[name]

    def parameters(self, name: str) -> dict[str, nn.Parameter]:
        """An adapter's parameters by ``layer.attribute``, in the model's order."""
        modules = self.get(name).modules.items()
        return {f"{layer}.{key}": p for layer, module in modules for key, p in module.named_parameters()}

    @contextmanager
    def use(self, frame: Frame) -> Iterator[None]:
        """Forward passes inside use this frame. With gradients, the block must include the backward pass."""
        for segment in frame.segments:
            for name, _ in segment.composition:
                self.get(name)
        before, self._frame = self._frame, frame
        try:
            yield
        finally:
            self._frame = before

    def _host(self, layer: Layer) -> Host:
        module = self.base.model.get_submodule(layer.name)
        self._hosts[layer.name] = Host(layer, module, lambda: self._frame)
        return self._hosts[layer.name]


def _generator(seed: int, layer: str) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed}/{layer}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
