"""The settings of where a run's numbers are sent while it trains."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tenfold import plugins
from tenfold.config.routing import NONE, Names
from tenfold.errors import nearest

TRACKERS = "tenfold.trackers"
WANDB = "wandb"


class TrackingSettings(BaseModel):
    """What is set once for a whole run about its trackers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    report_to: Names | None = Field(
        None,
        description="Trackers that get the losses and results: wandb, tensorboard, trackio, a list of them, or none. "
        "By default wandb where wandb_project is set, else none.",
    )
    wandb_project: str | None = Field(None, description="Project of wandb and trackio; tenfold by default.")
    wandb_entity: str | None = Field(None, description="Team or user of wandb.")
    wandb_name: str | None = Field(None, description="Name of the run for all trackers; its folder's by default.")
    wandb_watch: Literal["false"] | None = Field(
        None, description="Empty or false: norms of gradients are always logged, histograms are not built."
    )
    wandb_log_model: Literal["end", "false"] | None = Field(
        None, description="end: the adapters become an artifact of wandb; false or empty: they stay where they are."
    )

    @property
    def trackers(self) -> list[str]:
        """The names of the trackers, each once."""
        if self.report_to is None:
            return [WANDB] if self.wandb_project else []
        return [] if self.report_to == [NONE] else list(dict.fromkeys(self.report_to))

    @field_validator("wandb_watch", mode="before", json_schema_input_type=Literal["false", "", False] | None)
    @classmethod
    def _off(cls, given: Any) -> Any:
        return ("false" if given is False else None) if given in (False, "") else given

    @field_validator(
        "wandb_log_model", mode="before", json_schema_input_type=Literal["end", "false", "", True, False] | None
    )
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        """As people write it: true is ``end``."""
        if given is True or given == "true":
            return "end"
        return ("false" if given is False else None) if given in (False, "") else given

    @field_validator("report_to")
    @classmethod
    def _known_trackers(cls, given: list[str] | None) -> list[str] | None:
        known = plugins.names(TRACKERS, ("PACKAGE", "Tracker"))
        for name in given if given not in (None, [NONE]) else ():
            if name not in known:
                raise ValueError(f"{name!r} given; must be {', '.join(known)}, none, or a list{nearest(name, known)}")
        return given
