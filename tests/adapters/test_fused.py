"""The fused way against the contract as it reads: the same values, the same gradients."""

import pytest
import torch
from peer import FEW, close, fill, gradients, packed_loss, some_rows, tiny_bank
from torch import nn
from transformers.pytorch_utils import Conv1D

from tenfold import plugins
from tenfold.adapters import Frame, Segment, compose
from tenfold.adapters._base import Layer
from tenfold.adapters.host import Host
from tenfold.adapters.lora import Adapter, Config

GROUPS = [some_rows(9, 5), some_rows(7, seed=1), some_rows(6, 12, seed=2)]
COMPOSITIONS = [compose("a"), compose(), compose("b", ("a", 0.5))]
SEGMENTS = [Segment(0, 4, compose("a")), Segment(6, 7, compose("b", ("a", 0.5))), Segment(7, 12, compose("a"))]


@pytest.fixture
def plain(monkeypatch):
    """Call it, and hosts take the plain way from then on."""
    return lambda: monkeypatch.setattr(Host, "_updates", lambda *_: None)


@pytest.mark.parametrize("family", [*FEW, "bloom"])
def test_whole_models(family, plain):
    bank = tiny_bank(family, "a", "b")
    fused = packed_loss(bank, GROUPS, COMPOSITIONS)
    found = gradients(bank, "a") | gradients(bank, "b")
    with torch.no_grad():
        in_place = packed_loss(bank, GROUPS, COMPOSITIONS, training=False)
    plain()
    wanted = packed_loss(bank, GROUPS, COMPOSITIONS)
    close(fused, wanted)
    close(in_place, wanted)
    for key, gradient in (gradients(bank, "a") | gradients(bank, "b")).items():
        close(found[key], gradient, 2e-5)


def host_on(module, dtype=torch.float32):
    """A host with two filled adapters on one layer, and the frame that it sees."""
    d_in, d_out = (module.nx, module.nf) if isinstance(module, Conv1D) else (module.in_features, module.out_features)
    frame = Frame(SEGMENTS, training=True)
    host = Host(
        Layer("x", d_in, d_out, isinstance(module, Conv1D)), module.to(dtype).requires_grad_(False), lambda: frame
    )
    for seed, (name, rank) in enumerate((("a", 3), ("b", 2))):
        host.adapters[name] = Adapter(Config(lora_r=rank), host.layer, torch.Generator().manual_seed(seed))
        fill(host.adapters[name].parameters(), seed)
    return host


def run(module, host, x, wants_x):
    """Output and all gradients of one layer."""
    x = x.clone().requires_grad_(wants_x)
    for adapter in host.adapters.values():
        adapter.zero_grad()
    out = module(x)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return [
        out.detach(),
        *([x.grad] if wants_x else []),
        *(p.grad for a in host.adapters.values() for p in a.parameters()),
    ]


MODULES = {
    "linear": lambda: nn.Linear(6, 10),
    "no bias": lambda: nn.Linear(6, 10, bias=False),
    "conv1d": lambda: Conv1D(10, 6),
}


@pytest.mark.parametrize("wants_x", [True, False], ids=["x wants", "x does not"])
@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_one_layer(kind, wants_x, dtype, plain):
    module = MODULES[kind]()
    host, x = host_on(module, dtype), torch.randn(2, 6, 6).to(dtype)
    fused = run(module, host, x, wants_x)
    plain()
    for found, wanted in zip(fused, run(module, host, x, wants_x), strict=True):
        assert found.dtype == wanted.dtype
        assert wanted.abs().max() > 0
        close(found, wanted, 1e-5 if dtype == torch.float32 else 2e-2)


def test_gradients_are_those_of_finite_differences():
    module = nn.Linear(6, 10)
    host = host_on(module, torch.float64)
    parameters = [p for adapter in host.adapters.values() for p in adapter.double().parameters()]
    x = torch.randn(12, 6, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x, *_: module(x), (x, *parameters))


def test_one_of_two_adapters_frozen():
    module = nn.Linear(6, 10)
    host = host_on(module)
    host.adapters["b"].requires_grad_(False)
    module(torch.randn(12, 6)).sum().backward()
    assert all(p.grad is None for p in host.adapters["b"].parameters())
    assert all(p.grad.abs().max() > 0 for p in host.adapters["a"].parameters())


def test_no_gradient_is_asked_for_at_all():
    module = nn.Linear(6, 10)
    host = host_on(module)
    for adapter in host.adapters.values():
        adapter.requires_grad_(False)
    assert not module(torch.randn(12, 6)).requires_grad


def test_a_base_that_trains_gets_its_gradient():
    """Then the fused way, which gives the weight none, is not taken."""
    module = nn.Linear(6, 10)
    host_on(module)
    module.requires_grad_(True)
    module(torch.randn(12, 6)).sum().backward()
    assert module.weight.grad.abs().max() > 0
    assert module.bias.grad.abs().max() > 0


def test_what_goes_in_is_not_written_to():
    module = nn.Linear(6, 6)
    host_on(module)
    x = torch.randn(12, 6)
    before = x.clone()
    with torch.no_grad():
        module(x)
    assert torch.equal(x, before)


FACTORS = {
    "all kinds": [
        Segment(0, 3, compose("dora")), Segment(4, 6, compose("ia3")), Segment(6, 9, compose("lora", ("dora", 0.5))),
        Segment(9, 10, compose("ia3")), Segment(10, 12, compose("lora")),
    ],
    "dora and a gap": [Segment(2, 12, compose("dora"))],
    "fusable": [Segment(0, 5, compose("dora")), Segment(5, 8, compose("ia3")), Segment(9, 12, compose("lora"))],
    "dora alone": [Segment(0, 99, compose("dora"))],
    "ia3 alone": [Segment(0, 12, compose("ia3"))],
    "ia3 at a weight": [Segment(0, 12, compose(("ia3", 0.3)))],
    "fff and dora": [Segment(0, 7, compose("fff", "dora")), Segment(7, 12, compose(("fff", 0.4), "lora"))],
}  # fmt: skip


def host_of_kinds(module, segments, dtype=torch.float32):
    """A host with an adapter of every kind that sits on linear layers."""
    d_in, d_out = (module.nx, module.nf) if isinstance(module, Conv1D) else (module.in_features, module.out_features)
    module.to(dtype).requires_grad_(False)
    host = Host(Layer("k_proj", d_in, d_out, isinstance(module, Conv1D)), module, lambda: Frame(segments, True))
    for seed, name in enumerate(("lora", "dora", "ia3", "fff")):
        kind = plugins.find("tenfold.adapters", name)
        part = kind.Adapter(kind.Config(), host.layer, torch.Generator().manual_seed(seed))
        part.begin(module, None)
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)), alpha=0.3)
        host.adapters[name] = part
    return host


@pytest.mark.parametrize("used", FACTORS)
@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_factors_and_products_in_one_layer(kind, used, dtype, plain):
    torch.manual_seed(0)
    module, x = MODULES[kind](), torch.randn(2, 6, 6).to(dtype)
    if getattr(module, "bias", None) is not None:
        nn.init.normal_(module.bias)
    host = host_of_kinds(module, FACTORS[used], dtype)
    x.requires_grad_()

    def there_and_back():
        x.grad = None
        for part in host.adapters.values():
            part.zero_grad()
        out = module(x)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found = {f"{n}.{k}": p.grad for n, part in host.adapters.items() for k, p in part.named_parameters()}
        return {"y": out.detach(), "x": x.grad, **{key: g.clone() for key, g in found.items() if g is not None}}

    fused = there_and_back()
    with torch.no_grad():
        in_place = module(x)
    plain()
    wanted = there_and_back()
    tolerance = 1e-5 if dtype == torch.float32 else 4e-2
    close(in_place, wanted["y"], tolerance)
    assert fused.keys() == wanted.keys()
    assert len(wanted) > 2
    for key, value in wanted.items():
        close(fused[key], value, tolerance)


@pytest.mark.parametrize("segments", [[Segment(0, 4, compose("ia3"))], [Segment(0, 2, compose("ia3"))]], ids=str)
def test_the_gradient_of_a_factor_is_that_of_finite_differences(segments):
    module = nn.Linear(6, 10)
    host = host_of_kinds(module, [*segments, Segment(4, 6, compose("lora"))], torch.float64)
    parameters = [p for name in ("ia3", "lora") for p in host.adapters[name].double().parameters()]
    x = torch.randn(6, 6, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x, *_: module(x), (x, *parameters))
