"""Generation: many requests of any adapters decoded together, and the probability of given rows."""

from tenfold.generate.engine import Engine
from tenfold.generate.event import Event, Stats
from tenfold.generate.live import Live
from tenfold.generate.pool import Pool
from tenfold.generate.request import GREEDY, Completion, Request, Sampling, TokenLogprob
from tenfold.generate.score import Score, score

__all__ = [
    "GREEDY",
    "Completion",
    "Engine",
    "Event",
    "Live",
    "Pool",
    "Request",
    "Sampling",
    "Score",
    "Stats",
    "TokenLogprob",
    "score",
]
