"""Every schedule is a pure function from a config to stages, which say all that will happen."""

import pytest
from lanes import DOWN

from tenfold import plugins
from tenfold.config.schedule import ScheduleSettings
from tenfold.training import plan

ROWS = {"upper": 9, "sums": 8, "down": 9}
SIZES = {"num_epochs": None, "steps": None}


@pytest.fixture
def stages(project):
    """The stages of a config of three tasks; on a base for classification with ``heads``."""

    def stages(heads=False, **top):
        config = project(**{"others": {"down": DOWN}, "sums": SIZES, "steps": None, **top})
        found = plan.make(config, {name: ROWS[name] for name in config.tasks}, heads=heads)
        assert [stage.number for stage in found] == list(range(len(found)))
        return found

    return stages


def shown(stage):
    """A stage of one lane in short: its name, what learns, and of each task the rows and what is active on them."""
    (lane,) = stage.lanes
    feeds = {feed.task: (feed.rows, "+".join(name for name, _ in feed.composition)) for feed in lane.feeds}
    return stage.name, "+".join(lane.learners), feeds


def test_the_schedules_are_those_of_the_settings():
    known = ScheduleSettings.model_json_schema()["properties"]["schedule"]["enum"]
    assert sorted(known) == plugins.names("tenfold.training.schedules", ("stages",))


def test_concurrent_is_one_stage_with_a_lane_for_each_task(stages):
    (stage,) = stages()
    assert [(lane.name, lane.learners, lane.steps) for lane in stage.lanes] == [
        ("upper", ("upper",), 3), ("sums", ("sums",), 2), ("down", ("down",), 3),
    ]  # fmt: skip
    assert stage.present == ("upper", "sums", "down")


def test_sequential_stacked_is_a_stage_alone_and_one_together_for_each_task(stages):
    assert [shown(stage) for stage in stages(schedule="sequential")] == [
        ("solo upper", "upper", {"upper": (9, "upper")}),
        ("joint", "upper", {"upper": (4, "upper")}),
        ("solo sums", "sums", {"sums": (8, "upper+sums")}),
        ("joint", "upper+sums", {"upper": (4, "sums+upper"), "sums": (4, "upper+sums")}),
        ("solo down", "down", {"down": (9, "upper+sums+down")}),
        (
            "joint",
            "upper+sums+down",
            {"upper": (4, "sums+down+upper"), "sums": (4, "upper+down+sums"), "down": (4, "upper+sums+down")},
        ),
    ]


def test_sequential_own_sends_each_row_through_its_own_adapter(stages):
    found = stages(schedule="sequential", composition="own", train_ratio=0.25)
    assert [shown(stage) for stage in found[2:4]] == [
        ("solo sums", "sums", {"sums": (8, "sums")}),
        ("joint", "upper+sums", {"upper": (2, "upper"), "sums": (2, "sums")}),
    ]


@pytest.mark.parametrize(("heads", "base"), [(False, ""), (True, "upper")])
def test_finetune_first_makes_the_first_task_part_of_the_base(stages, heads, base):
    found = stages(heads, schedule="sequential", finetune_first=True, composition="own")
    assert [shown(stage) for stage in found] == [
        ("finetune upper", "base+upper" if heads else "base", {"upper": (9, base)}),
        ("solo sums", "sums", {"sums": (8, "sums")}),
        ("joint", "sums", {"upper": (4, base), "sums": (4, "sums")}),
        ("solo down", "down", {"down": (9, "down")}),
        ("joint", "sums+down", {"upper": (4, base), "sums": (4, "sums"), "down": (4, "down")}),
    ]
    assert [stage.note for stage in found if stage.note] == [
        "upper: in the base, replayed through the base, where nothing trains"
    ] * 2
    assert [stage.trains_base for stage in found] == [True, False, False, False, False]
    assert [stage.present for stage in found][-1] == ("upper", "sums", "down")


def test_stacked_on_a_base_with_heads_a_row_s_own_head_is_the_last(stages):
    found = stages(True, schedule="sequential", finetune_first=True)
    assert shown(found[-1])[2] == {
        "upper": (4, "sums+down+upper"), "sums": (4, "down+sums"), "down": (4, "sums+down"),
    }  # fmt: skip
    assert shown(stages(schedule="sequential", finetune_first=True)[-1])[2]["upper"] == (4, "sums+down")


def test_full_finetuning_in_sequence(stages):
    found = stages(schedule="sequential", adapter="full", lora_r=None, train_ratio=0,
                   sums={**SIZES, "lora_r": None, "lora_dropout": None})  # fmt: skip
    assert [shown(stage) for stage in found] == [
        (f"finetune {name}", "base", {name: (rows, "")}) for name, rows in ROWS.items()
    ]


def test_joint_stages_have_a_length_of_their_own(stages):
    found = stages(schedule="sequential", joint_epochs=3)
    assert [stage.steps for stage in found] == [3, 3, 2, 6, 3, 9]
    assert [stage.steps for stage in stages(schedule="sequential", steps=5, joint_steps=2)] == [5, 2] * 3
    assert [stage.steps for stage in stages(schedule="sequential", steps=5, joint_epochs=1)] == [5, 1, 5, 2, 5, 3]


def test_replay_adds_a_share_of_what_came_before(stages):
    found = stages(schedule="sequential", train_ratio=0, replay_ratio=0.25)
    assert [shown(stage)[2] for stage in found][1:] == [
        {"sums": (8, "upper+sums"), "upper": (2, "sums+upper")},
        {"down": (9, "upper+sums+down"), "upper": (2, "sums+down+upper"), "sums": (2, "upper+down+sums")},
    ]


def test_orthogonality_holds_a_new_adapter_apart_from_those_before(stages):
    found = stages(schedule="sequential", train_ratio=0, orthogonality=0.5)
    assert [(lane.apart, lane.orthogonality) for stage in found for lane in stage.lanes] == [
        ((), 0.0), (("upper",), 0.5), (("upper", "sums"), 0.5),
    ]  # fmt: skip


def test_a_mixture_is_one_adapter_on_every_task(stages):
    plain = {"sums": {**SIZES, "lora_r": None, "lora_dropout": None}}
    (stage,) = stages(schedule="mixture", **plain)
    assert shown(stage) == ("mixture", "mixture", {name: (rows, "mixture") for name, rows in ROWS.items()})
    (warm,) = stages(schedule="mixture", mixture_temperature=2, mixture_limit=4, **plain)
    assert [feed.rate for feed in warm.lanes[0].feeds] == [2.0, 2.0, 2.0]
    rates = {name: {"mixture_rate": rate} for name, rate in (("upper", 1), ("sums", 3))}
    (rated,) = stages(schedule="mixture", others={}, upper=rates["upper"], sums={**plain["sums"], **rates["sums"]})
    assert [feed.rate for feed in rated.lanes[0].feeds] == [1.0, 3.0]


def test_custom_stages_are_as_they_are_written(stages):
    written = [
        {"train": ["base"], "rows": {"upper": {"active": []}}, "name": "first", "learning_rate": 0.001},
        {"train": ["sums"], "rows": ["sums"], "steps": 7},
        {"train": ["down", "sums"], "rows": {"sums": {"active": ["sums", "down"], "share": 0.5}, "down": None},
         "num_epochs": 2},
    ]  # fmt: skip
    found = stages(schedule="custom", stages=written)
    assert [shown(stage) for stage in found] == [
        ("first", "base", {"upper": (9, "")}),
        ("stage 1", "sums", {"sums": (8, "sums")}),
        ("stage 2", "down+sums", {"sums": (4, "down+sums"), "down": (9, "down")}),
    ]
    assert [stage.steps for stage in found] == [3, 7, 7]
    assert [stage.lanes[0].training.learning_rate for stage in found] == [0.001, 0.01, 0.01]
    assert [stage.present for stage in found] == [(), ("sums",), ("sums", "down")]


def test_what_is_brought_along_is_there_from_the_start(stages, tmp_path):
    for name in ("down", "french"):
        (tmp_path / name).mkdir()
    found = stages(schedule="sequential", train_ratio=0, loras={"down": "down", "french": "french"})
    assert [shown(stage) for stage in found] == [
        ("solo upper", "upper", {"upper": (9, "down+french+upper")}),
        ("solo sums", "sums", {"sums": (8, "down+french+upper+sums")}),
        ("solo down", "down", {"down": (9, "french+upper+sums+down")}),
    ]
    assert found[-1].present == ("down", "french", "upper", "sums")
