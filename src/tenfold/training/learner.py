"""What a lane trains, with its optimizer: an adapter of the bank, or the base itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.optim import Optimizer

from tenfold import plugins
from tenfold.adapters import Bank
from tenfold.adapters._base import Kind
from tenfold.base.families import within
from tenfold.training import optim
from tenfold.training.plan import BASE_LEARNER, Lane, Stage


@dataclass(frozen=True)
class Learner:
    """Parameters that step together, by name, and the constants that they were born with."""

    name: str
    lane: Lane
    parameters: Mapping[str, nn.Parameter]
    optimizer: Optimizer
    constants: Mapping[str, Tensor] = field(default_factory=dict)

    def step(self, number: int) -> tuple[float, Tensor]:
        """Apply the gradients of optimizer step ``number`` and clear them -> (learning rate, gradient norm)."""
        training = self.lane.training
        rate = training.learning_rate * optim.factor(training, self.lane.steps, number)
        optim.set_rate(self.optimizer, rate)
        norm = optim.clip(self.parameters.values(), training.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return rate, norm


def make(bank: Bank, stage: Stage) -> list[Learner]:
    """The learners of a stage. Afterwards just their parameters require gradients, of all that there are."""
    bank.base.model.requires_grad_(False)
    for name in bank.adapters:
        for parameter in bank.parameters(name).values():
            parameter.requires_grad_(False)
    found = []
    for lane in stage.lanes:
        for name in lane.learners:
            parameters, rates = _trainable(bank, name)
            constants = {} if name == BASE_LEARNER else bank.constants(name)
            for parameter in parameters.values():
                parameter.requires_grad_(True)
            optimizer = optim.make(lane.training, parameters, rates)
            found.append(Learner(name, lane, parameters, optimizer, constants))
    return found


def _trainable(bank: Bank, name: str) -> tuple[Mapping[str, nn.Parameter], Mapping[str, float]]:
    if name == BASE_LEARNER:
        named = bank.base.model.named_parameters()
        return {key: p for key, p in named if not within(key, bank.base.heads)}, {}
    installed = bank.get(name)
    kind: Kind = plugins.find("tenfold.adapters", installed.kind, ("rates",))
    return bank.parameters(name), kind.rates(installed.config)


def release(bank: Bank, learners: list[Learner]) -> None:
    """Nothing requires gradients any more."""
    for learner in learners:
        for parameter in learner.parameters.values():
            parameter.requires_grad_(False)
    bank.base.model.requires_grad_(False)
