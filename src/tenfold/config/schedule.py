"""The settings of the order in which things train: the schedule, its stages, what holds against forgetting."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

Seed = Annotated[int, Field(ge=0, lt=2**63)]


class FeedSettings(BaseModel):
    """Rows of one task in one stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    active: list[str] | None = Field(
        None, description="Tasks (or adapters) that are active on the rows; the task's own by default, [] is the base."
    )
    share: float = Field(1.0, gt=0, le=1, description="Share of the task's training rows, by a seeded shuffle.")


class StageSettings(BaseModel):
    """One stage of ``schedule: custom``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(None, min_length=1, description="What the plan calls it.")
    train: list[str] = Field(min_length=1, description="Tasks (or adapters) that train, or base.")
    rows: dict[str, FeedSettings] = Field(min_length=1, description="What is active on which task's rows.")
    num_epochs: FiniteFloat | None = Field(None, gt=0, description="As at the top, for this stage.")
    steps: int | None = Field(None, ge=1, description="As at the top, for this stage.")
    learning_rate: FiniteFloat | None = Field(None, gt=0, description="As at the top, for this stage.")

    @field_validator("rows", mode="before", json_schema_input_type=list[str] | dict[str, FeedSettings | None])
    @classmethod
    def _names_alone(cls, given: Any) -> Any:
        """A list of tasks is each with what is usual; so is a task with nothing behind it."""
        if isinstance(given, list) and all(isinstance(name, str) for name in given):
            return {name: {} for name in given}
        return {name: own or {} for name, own in given.items()} if isinstance(given, dict) else given


class ScheduleSettings(BaseModel):
    """What is set once for a whole run about its stages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedule: Literal["concurrent", "sequential", "mixture", "custom"] = Field(
        "concurrent",
        description="Order of the stages. concurrent: all adapters side by side; sequential: one task after the other, "
        "with joint stages on all so far (MLT); mixture: one adapter on all tasks; custom: as stages says.",
    )
    finetune_first: bool = Field(
        False, description="sequential: the first task trains the whole model, which is the base of all that follows."
    )
    train_ratio: float = Field(
        0.5,
        ge=0,
        le=1,
        description="sequential: share of every task's training rows, by a seeded shuffle, in the joint stage after "
        "each task's own; 0 leaves the joint stages out.",
    )
    composition: Literal["stacked", "own"] = Field(
        "stacked",
        description="sequential: what is active on a row. stacked: all adapters so far; own: its task's alone.",
    )
    joint_epochs: FiniteFloat | None = Field(
        None, gt=0, description="sequential: epochs of a joint stage; num_epochs by default."
    )
    joint_steps: int | None = Field(
        None, ge=1, description="sequential: optimizer steps of a joint stage; beats joint_epochs; steps by default."
    )
    loras: dict[str, str] = Field(
        default_factory=dict,
        description="Folders of adapters that are loaded at the start, by name; one that has a task's name is that "
        "task's, and trained with it.",
    )
    mixture_temperature: FiniteFloat | None = Field(
        None,
        gt=0,
        description="mixture: rows are drawn from each task at a rate of its rows to the power of one over this; 1 is "
        "as they are, large is all alike. By default every row once an epoch.",
    )
    mixture_limit: int | None = Field(
        None, ge=1, description="mixture: rows of a task that count at most when its rate is found."
    )
    stages: list[StageSettings] = Field(default_factory=list, description="custom: the stages, in order.")
    replay_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        description="sequential: share of each earlier task's rows that a task's own stage takes in too, where tasks "
        "share weights (composition stacked, or adapter full).",
    )
    orthogonality: FiniteFloat = Field(
        0.0,
        ge=0,
        description="sequential, custom: weight of O-LoRA's penalty, which keeps the directions that a new adapter "
        "reads apart from those of the adapters before it.",
    )
    distillation: FiniteFloat = Field(
        0.0,
        ge=0,
        description="Weight of the divergence from the base on the prompts of the rows that train (learning without "
        "forgetting).",
    )
    evaluate_stages: bool | None = Field(
        None,
        description="Measure every task before the first stage and after each; by default where sequential or custom "
        "has several.",
    )
    seeds: list[Seed] | None = Field(
        None, min_length=1, description="Run everything once for each of these seeds, in seed-S of the run's folder."
    )

    @field_validator("seeds")
    @classmethod
    def _once_each(cls, given: list[int] | None) -> list[int] | None:
        if given and len(set(given)) < len(given):
            raise ValueError(f"{given} given, but each seed can be run only once")
        return given
