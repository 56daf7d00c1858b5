"""Which rows an optimizer step takes: every row of every epoch once, in an order that only the seed decides."""

from collections import Counter
from itertools import chain

import lanes
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.adapters import compose
from tenfold.base.layout import Row
from tenfold.config.settings import TrainingSettings
from tenfold.training import plan
from tenfold.training.batches import Batches
from tenfold.training.plan import Feed, Lane

SIZES = st.integers(1, 7)
FEEDS = st.lists(st.integers(0, 12), min_size=1, max_size=3).filter(any)


def make(feeds, seed=0, **training):
    """Batches over feeds of so many rows, each row told by its token."""
    own = TrainingSettings(**training)
    lane = Lane("x", ("x",), tuple(Feed(f"task {i}", compose("x"), n) for i, n in enumerate(feeds)),
                plan.steps(own, sum(feeds)), own)  # fmt: skip
    rows = [[Row([i, k, 7], [False, True, True], k) for k in range(n)] for i, n in enumerate(feeds)]
    return Batches(lane, rows, seed)


def taken(batches, step):
    """The rows of one step as (feed, number)."""
    found = []
    for micro in batches.step(step):
        for feed, rows in micro.feeds.items():
            assert rows
            found += [(feed, row.key) for row in rows]
            assert all(row.tokens[0] == feed for row in rows)
    return found


def every_row(feeds):
    return sorted((i, k) for i, n in enumerate(feeds) for k in range(n))


@settings(deadline=None)
@given(feeds=FEEDS, micro=SIZES, accumulated=SIZES, epochs=st.integers(1, 4), seed=st.integers(0, 2**63 - 1))
def test_every_epoch_has_every_row_once(feeds, micro, accumulated, epochs, seed):
    sizes = {"micro_batch_size": micro, "gradient_accumulation_steps": accumulated}
    batches = make(feeds, seed, num_epochs=epochs, **sizes)
    steps = [taken(batches, step) for step in range(batches.lane.steps)]
    assert all(len(step) == micro * accumulated for step in steps[:-1])
    stream = list(chain(*steps))
    assert Counter(stream) == dict.fromkeys(every_row(feeds), epochs)
    for epoch in range(epochs if len(feeds) == 1 else 0):  # a pass puts the rows of a feed together
        assert sorted(stream[epoch * sum(feeds) : (epoch + 1) * sum(feeds)]) == every_row(feeds)


@settings(deadline=None)
@given(
    rows=st.integers(1, 40), micro=SIZES, accumulated=SIZES, seed=st.integers(0, 99),
    epochs=st.floats(0.01, 3.5, allow_nan=False),
)  # fmt: skip
def test_fractional_epochs_take_their_share(rows, micro, accumulated, seed, epochs):
    sizes = {"micro_batch_size": micro, "gradient_accumulation_steps": accumulated}
    batches = make([rows], seed, num_epochs=epochs, **sizes)
    steps = [taken(batches, step) for step in range(batches.lane.steps)]
    assert all(0 < len(step) <= micro * accumulated for step in steps)
    assert all(len(step) == micro * accumulated for step in steps[:-1])
    assert len(list(chain(*steps))) == max(1, round(rows * epochs))
    assert batches.epoch(batches.lane.steps) == max(1, round(rows * epochs)) / rows


def test_shares_that_floats_cannot_say_add_no_step():
    assert 100 * 1.1 > 110
    assert make([100], num_epochs=1.1, micro_batch_size=10).lane.steps == 11


@settings(deadline=None)
@given(rows=st.integers(1, 20), micro=SIZES, steps=st.integers(1, 30))
def test_steps_go_on_over_as_many_epochs_as_it_takes(rows, micro, steps):
    batches = make([rows], num_epochs=0.1, steps=steps, micro_batch_size=micro)
    assert batches.lane.steps == steps
    stream = list(chain(*(taken(batches, step) for step in range(steps))))
    assert len(stream) == steps * micro
    for start in range(0, len(stream) - rows + 1, rows):
        assert sorted(stream[start : start + rows]) == every_row([rows])


@settings(deadline=None)
@given(rows=st.integers(2, 30), seed=st.integers(0, 99), order=st.permutations(range(6)))
def test_a_step_depends_on_seed_and_number_alone(rows, seed, order):
    """In whatever order steps are asked for, as after resuming."""
    sizes = {"micro_batch_size": 4, "num_epochs": 5, "steps": 6}
    first = make([rows], seed, **sizes)
    wanted = {step: taken(first, step) for step in range(6)}
    second = make([rows], seed, **sizes)
    assert {step: taken(second, step) for step in order} == wanted


def test_other_seeds_and_epochs_have_other_orders():
    one, other = (make([50], seed, micro_batch_size=50, num_epochs=2) for seed in (1, 2))
    orders = [taken(batches, step) for batches in (one, other) for step in range(2)]
    assert len({tuple(order) for order in orders}) == 4


def test_micro_batches_say_what_they_hold():
    batches = make([3, 2], micro_batch_size=5)
    (micro,) = batches.step(0)
    assert micro.supervised == 5 * 2
    assert micro.weight(batches.lane) == 10
    heavy = Lane("x", ("x",), (Feed("a", (), 3, 0.5), Feed("b", (), 2, 2.0)), 1, batches.lane.training)
    assert micro.weight(heavy) == 3 * 2 * 0.5 + 2 * 2 * 2.0


def test_a_lane_of_ragged_rows_counts_what_can_be_predicted():
    rows = lanes.ragged(6, everything=True)
    batches = Batches(lanes.make_lane("a", rows, micro_batch_size=6, steps=1), [rows], 0)
    assert batches.step(0)[0].supervised == sum(len(row.tokens) - 1 for row in rows)
