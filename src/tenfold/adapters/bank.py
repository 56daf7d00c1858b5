"""All adapters on one base: which there are, where they sit, and what the current pass uses."""

import functools
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tenfold import plugins
from tenfold.adapters._base import Adapter, Kind, Layer
from tenfold.adapters.composition import Frame
from tenfold.adapters.host import Host
from tenfold.adapters.switch import Switch
from tenfold.adapters.targets import linear_layers, match
from tenfold.base.model import Base
from tenfold.base.products import Product, products
from tenfold.errors import AdapterError

_installed = itertools.count()


@dataclass(frozen=True)
class Installed:
    """One adapter: its kind by name, its settings, and its part on each layer by dotted name.

    copies: modules that it has in full and for itself, by the dotted names of those that they stand for.
    generation: says what it contains; no two that differ have the same, whatever their names.
    """

    kind: str
    config: Any
    modules: dict[str, Adapter]
    copies: dict[str, nn.Module] = field(default_factory=dict)
    generation: str = field(default_factory=lambda: f"installed {next(_installed)}")

    @property
    def size(self) -> int:
        """Trainable parameters."""
        parts = [*self.modules.values(), *self.copies.values()]
        return sum(p.numel() for module in parts for p in module.parameters())


class Bank:
    """Owns the adapters of a base. The base's own parameters and names stay untouched.

    What a pass uses is said by ``use(frame)`` and by nothing else; outside of it the base runs alone.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self.adapters: dict[str, Installed] = {}
        self._hosts: dict[str, Host] = {}
        self._switches: dict[str, Switch] = {}
        self._frame: Frame | None = None

    def add(
        self,
        name: str,
        kind: str,
        config: Any,
        *,
        seed: int = 0,
        directions: Mapping[str, Tensor] | None = None,
        copies: Mapping[str, nn.Module] | None = None,
    ) -> Installed:
        """A new adapter, untrained, on the layers that its settings select.

        Its numbers depend on seed, layer and directions only, not on what else is in the bank.
        directions: by layer, as ``activations.directions`` gives them, where the kind needs such. copies: modules
        of its own, see ``adapters.copies``.
        Raises AdapterError for a name in use, for targets that match nothing and for settings that want directions.
        """
        self.require_free(name)
        module: Kind = plugins.find("tenfold.adapters", kind)
        if module.needs(config) and directions is None:
            raise AdapterError(
                f"adapter {name!r} begins with what its training rows give the base; train it to have one"
            )
        parts = {}
        for layer in match(self.base.model, module.targets(config)):
            part = module.Adapter(config, layer, _generator(seed, layer.name))
            parts[layer] = part.to(self.device_of(layer))
            try:
                part.begin(self.frozen[layer.name], directions[layer.name] if directions else None)
            except AdapterError as error:
                raise AdapterError(f"layer {layer.name!r}: {error}") from None
        return self.install(name, kind, config, parts, copies)

    def install(
        self,
        name: str,
        kind: str,
        config: Any,
        parts: Mapping[Layer, Adapter],
        copies: Mapping[str, nn.Module] | None = None,
        generation: str | None = None,
    ) -> Installed:
        """Put in an adapter whose parts are built and filled, each on its layer's device, with modules of its own.

        generation: a digest of its content where there is one. Another thread may put in and take out adapters while
        passes run that don't use them: a pass looks names up, and the new one is there once all of its parts are.
        Raises AdapterError for a name in use.
        """
        self.require_free(name)
        for layer, part in parts.items():
            if layer.name not in self._hosts:
                self._hosts[layer.name] = Host(layer, self.frozen[layer.name], lambda: self._frame)
            self._hosts[layer.name].adapters[name] = part
        own = {place: copy.to(self.base.device) for place, copy in (copies or {}).items()}
        for place, copy in own.items():
            if place not in self._switches:
                self._switches[place] = Switch(self.frozen[place], lambda: self._frame)
            self._switches[place].copies[name] = copy
        modules = {layer.name: part for layer, part in parts.items()}
        installed = Installed(kind, config, modules, own, **({"generation": generation} if generation else {}))
        self.adapters[name] = installed
        return installed

    @functools.cached_property
    def frozen(self) -> dict[str, nn.Module]:
        """The base's modules by dotted name."""
        return dict(self.base.model.named_modules())

    @functools.cached_property
    def linear(self) -> dict[str, Layer]:
        """The base's linear layers by dotted name, but for the output head."""
        return linear_layers(self.base.model)

    def device_of(self, layer: Layer) -> torch.device:
        """Where the frozen module's parameters stand."""
        module = self.frozen[layer.name]
        weight = getattr(module, "weight", None)
        return weight.device if isinstance(weight, Tensor) else next(module.parameters()).device

    def require_free(self, name: str) -> None:
        """Raises AdapterError for a name in use."""
        if name in self.adapters:
            raise AdapterError(f"adapter {name!r} is in the bank already; remove it first")

    def remove(self, name: str) -> None:
        """Take an adapter out; layers without any run as if there had never been one."""
        for layer in self.get(name).modules:
            host = self._hosts[layer]
            del host.adapters[name]
            if not host.adapters:
                host.close()
                del self._hosts[layer]
        for place in self.get(name).copies:
            switch = self._switches[place]
            del switch.copies[name]
            if not switch.copies:
                switch.close()
                del self._switches[place]
        del self.adapters[name]

    def rename(self, name: str, other: str) -> None:
        """Call an adapter otherwise. Raises AdapterError for a name in use."""
        self.require_free(other)
        own = self.get(name)
        for layer in own.modules:
            self._hosts[layer].adapters[other] = self._hosts[layer].adapters.pop(name)
        for place in own.copies:
            self._switches[place].copies[other] = self._switches[place].copies.pop(name)
        self.adapters[other] = self.adapters.pop(name)

    def clear(self) -> None:
        """Take all adapters out; the base is then as plain as it was loaded."""
        for name in list(self.adapters):
            self.remove(name)

    def get(self, name: str) -> Installed:
        """The adapter of that name; AdapterError with the known names otherwise."""
        if name not in self.adapters:
            known = ", ".join(sorted(self.adapters)) or "none"
            raise AdapterError(f"no adapter {name!r} in the bank; there are: {known}")
        return self.adapters[name]

    def parameters(self, name: str) -> dict[str, nn.Parameter]:
        """An adapter's parameters by ``layer.attribute``, in the model's order."""
        installed = self.get(name)
        modules = [*installed.modules.items(), *installed.copies.items()]
        return {f"{place}.{key}": p for place, module in modules for key, p in module.named_parameters()}

    def constants(self, name: str) -> dict[str, Tensor]:
        """What an adapter was born with beside its parameters, by ``layer.attribute``."""
        modules = self.get(name).modules.items()
        return {f"{layer}.{key}": t for layer, module in modules for key, t in module.named_buffers()}

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

    @contextmanager
    def swift(self) -> Iterator[None]:
        """Passes inside, which must be without gradients, take the machine's faster products (``base.products``)."""
        hosts, swapped = dict(self._hosts), dict[nn.Module, Product]()
        for name, product in self._products.items():
            if name in hosts:
                hosts[name].product = product
            elif "forward" not in product.layer.__dict__:
                swapped[product.layer] = product.layer.__dict__["forward"] = product
        try:
            yield
        finally:
            for host in hosts.values():
                host.product = None
            for layer, product in swapped.items():
                if layer.__dict__.get("forward") is product:  # a host may have come in the meantime
                    del layer.__dict__["forward"]

    @functools.cached_property
    def _products(self) -> dict[str, Product]:
        return products(self.frozen)

    @property
    def switched(self) -> bool:
        """Whether any adapter has a module of its own."""
        return bool(self._switches)


def _generator(seed: int, layer: str) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed}/{layer}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
