"""A loop of one's own in the place of the built-in."""

import pytest
from test_resume import metrics, results, stopped, weights

import tenfold
from tenfold.training import passes, plan
from tenfold.training.passes import Part

TIMED = {"rows", "supervised_tokens", "pass_tokens", "epoch"}


def plain(state, hooks):
    """Micro-batch by micro-batch, adapter by adapter, with what the state offers and nothing else of the loop."""
    while state.done < state.stage.steps:
        for number, micros in state.rows().items():
            lane = state.stage.lanes[number]
            total, loss = sum(micro.supervised for micro in micros), 0.0
            noise = (state.seed, state.done) if number in state.drops else None
            for micro in micros:
                for feed, rows in micro.feeds.items():
                    part = Part(number, lane.feeds[feed].composition, rows, 1 / total, noise)
                    loss += passes.run(state.bank, [part]).losses[number]
            for learner in (one for one in state.learners if one.lane is lane):
                rate, norm = learner.step(state.done)
            record = {"step": state.done + 1, "loss": loss, "learning_rate": rate, "grad_norm": float(norm)}
            hooks.log(lane, {**record, "pass_tokens": 0, "seconds": 0.0})
        state.done += 1
        if hooks.after(state.done, state):
            return


def short(folder):
    return [{key: value for key, value in one.items() if key not in TIMED} for one in metrics(folder)]


def test_a_hand_written_loop_gives_the_same_numbers(project):
    usual = tenfold.train(project("usual", interleave="turns")).run.folder.path
    own = tenfold.train(project("own", interleave="turns"), loop=plain).run.folder.path
    assert weights(own) == weights(usual)
    assert short(own) == short(usual)
    assert results(own) == results(usual)


def test_it_runs_each_stage_and_is_resumed(project):
    seen = []

    def watched(state, hooks):
        seen.append((state.stage.name, state.done, sorted(state.optimizers), state.model is state.bank.base.model))
        plain(state, hooks)

    settings = {"schedule": "sequential", "sums": {"num_epochs": None}, "steps": 4, "evaluate_stages": False}
    whole = tenfold.train(project("whole", **settings)).run.folder.path
    config = project("cut", **settings)
    stopped(config, 6)
    tenfold.train(config, resume=True, loop=watched)
    assert weights(config.output_dir) == weights(whole)
    assert seen == [
        ("joint", 2, ["upper"], True),
        ("solo sums", 0, ["sums"], True),
        ("joint", 0, ["sums", "upper"], True),
    ]


def test_what_it_leaves_undone_is_an_interruption(project):
    """A loop that ends early leaves a run that goes on."""

    def lazy(state, hooks):
        hooks.after(state.done, state)

    with pytest.raises(AssertionError, match="the loop ended after 0 of 6 steps, though no hook said so"):
        tenfold.train(project("lazy"), loop=lazy)
    assert plan.BASE_LEARNER == "base"
