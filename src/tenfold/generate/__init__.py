"""Generation: many requests of any adapters decoded together, and the probability of given rows."""

from tenfold.generate.engine import Engine
from tenfold.generate.request import GREEDY, Completion, Request, Sampling
from tenfold.generate.score import Score, score

__all__ = ["GREEDY", "Completion", "Engine", "Request", "Sampling", "Score", "score"]
