"""The isolation contract: what else is in the batch, comes, goes or is replaced changes no request's greedy tokens.

For every kind in the folder, alone and in soft mixtures, over random schedules.
"""

import functools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peer import fill, tiny_base
from worlds import alone, prompts, same

from tenfold import plugins
from tenfold.adapters import Bank, compose
from tenfold.base.probe import settle
from tenfold.errors import AdapterError
from tenfold.generate import Live, Pool, Request
from tenfold.generate.event import Answer
from tenfold.store import card, save

KINDS = plugins.names("tenfold.adapters")
NEW, TIED = 6, 0.01  # of all tokens so many may come after a near-tie that went the other way
PROMPTS = [*prompts(3, high=12), *prompts(3, seed=1, shared=40, low=1, high=12)]
MIXTURES = [((KINDS[i], 0.7), (KINDS[i - 1], 0.5)) for i in range(len(KINDS))]
TARGETS = [(), *(((kind, 1.0),) for kind in KINDS), *MIXTURES]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two generations of an adapter of every kind on disk, and what transformers gives with them."""
    place, bank = tmp_path_factory.mktemp("kinds"), Bank(tiny_base())
    for seed, kind in enumerate(KINDS):
        for generation in range(2):
            name = f"{kind}{generation}"
            bank.add(name, kind, plugins.find("tenfold.adapters", kind).Config(), seed=seed)
            fill(bank.parameters(name).values(), 10 * seed + generation, spread=0.3)
            save(bank, name, place / name, card.describe(bank.base))
    truth = functools.cache(lambda prompt, composition: alone(bank, PROMPTS[prompt], composition, NEW))
    return place, truth, settle(bank.base)


STEPS = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, len(PROMPTS) - 1), st.integers(0, len(TARGETS) - 1)),
    st.tuples(st.just("submit"), st.integers(0, len(PROMPTS) - 1), st.integers(0, len(TARGETS) - 1)),
    st.tuples(st.just("step"), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("cancel"), st.integers(0, 20), st.just(0)),
    st.tuples(st.just("replace"), st.integers(0, len(KINDS) - 1), st.integers(0, 1)),
    st.tuples(st.just("drop"), st.integers(0, len(KINDS) - 1), st.just(0)),
)


class Run:
    """One schedule, on a bank of its own."""

    def __init__(self, world, rows, prefill, cache):
        self.place, self.truth, way = world
        base = tiny_base()
        base.way = way
        self.bank = Bank(base)
        self.pool = Pool(self.bank, max_bytes=300_000, max_ram_bytes=100_000)
        self.live = Live(self.bank, max_rows=rows, prefill_tokens=prefill, max_cache_bytes=cache * 512)
        self.there = {}
        self.asked, self.pins, self.answers = {}, {}, {}
        for kind in KINDS:
            self.replace(KINDS.index(kind), 0)

    def replace(self, kind, generation):
        self.pool.put(KINDS[kind], self.place / f"{KINDS[kind]}{generation}")
        self.there[KINDS[kind]] = generation

    def drop(self, kind, _):
        if self.there.pop(KINDS[kind], None) is not None:
            self.pool.drop(KINDS[kind])

    def submit(self, prompt, target):
        pins = []
        try:
            for name, _ in TARGETS[target]:
                pins.append(self.pool.pin(name)[0])
        except AdapterError:  # dropped, or no room beside those in use
            for pin in pins:
                self.pool.unpin(pin)
            return
        weights = [weight for _, weight in TARGETS[target]]
        number = self.live.submit(Request(PROMPTS[prompt], compose(*zip(pins, weights, strict=True)), NEW))
        named = compose(*((f"{name}{self.there[name]}", weight) for name, weight in TARGETS[target]))
        self.asked[number], self.pins[number], self.answers[number] = (prompt, named), pins, Answer()

    def cancel(self, number, _):
        self.live.cancel(number)

    def step(self, count=1, _=0):
        for _ in range(count):
            for event in self.live.step():
                self.answers[event.number].add(event)
                if event.finish:
                    for pin in self.pins.pop(event.number):
                        self.pool.unpin(pin)

    def ties(self):
        """Finish all and compare -> how many tokens came after a near-tie, and all tokens."""
        while not self.live.idle:
            self.step()
        tied = total = 0
        for number, (prompt, composition) in self.asked.items():
            truth, gaps = self.truth(prompt, composition)
            completion = self.answers[number].completion()
            assert completion.finish in ("length", "cancelled")
            assert completion.finish == "cancelled" or len(completion.tokens) == NEW
            length = len(completion.tokens)
            agree, tie = same(completion.tokens, truth[:length], gaps[:length])
            assert agree, (prompt, composition, completion.tokens, truth)
            tied, total = tied + tie * length, total + length
        assert set(self.bank.adapters) <= {f"{n}@{self.pool.generation(n)}" for n in self.pool.names()}
        return tied, total


def test_a_request_gets_what_it_gets_alone_whatever_happens_around_it(world):
    counts = [0, 0]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(
        st.lists(STEPS, min_size=4, max_size=30),
        st.integers(1, 6),
        st.sampled_from([5, 64]),
        st.sampled_from([300, 3000]),
    )
    def check(steps, rows, prefill, cache):
        run = Run(world, rows, prefill, cache)
        for what, first, second in steps:
            getattr(run, what)(first, second)
        tied, total = run.ties()
        counts[0], counts[1] = counts[0] + tied, counts[1] + total

    check()
    assert counts[1] > 500
    assert counts[0] <= TIED * counts[1]


def test_every_kind_beside_all_others_at_once(world):
    run = Run(world, 32, 64, 30000)
    run.pool.max_bytes = None
    for prompt in range(len(PROMPTS)):
        for target in range(len(TARGETS)):
            run.submit(prompt, target)
        run.step(2)
    tied, total = run.ties()
    assert total == NEW * len(PROMPTS) * len(TARGETS)
    assert tied <= TIED * total
