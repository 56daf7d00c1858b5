"""Weights & Biases. Without an account it keeps an offline run in the run's ``wandb/``, for ``wandb sync`` later."""

import importlib
import netrc
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tenfold.trackers._base import Subject

PACKAGE = "wandb"
STEP = "iter"
HOST = "https://api.wandb.ai"


class Tracker:
    """One run of wandb, beside any other that the process has."""

    def __init__(self, subject: Subject) -> None:
        wandb = importlib.import_module(PACKAGE)
        config = subject.config
        self.subject, self.package = subject, wandb
        self.run: Any = wandb.init(
            project=config.wandb_project or "tenfold", entity=config.wandb_entity, name=subject.name,
            group=subject.group, config=subject.settings, dir=str(subject.folder), reinit="create_new",
            mode=None if os.environ.get("WANDB_MODE") or has_account() else "offline",
            settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
        )  # fmt: skip
        self.run.define_metric("*", step_metric=STEP)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One line of its history; the step is a value among others, since lines of one step come one by one."""
        self.run.log({STEP: step, **values})

    def summarise(self, values: Mapping[str, float]) -> None:
        """Into the summary; with ``wandb_log_model: end`` the adapters as an artifact too."""
        self.run.summary.update(dict(values))
        adapters = self.subject.folder / "adapters"
        if self.subject.config.wandb_log_model == "end" and adapters.is_dir():
            artifact = self.package.Artifact(f"{self.subject.name}-adapters", type="model")
            artifact.add_dir(str(adapters))
            self.run.log_artifact(artifact)

    def finish(self) -> None:
        """Send or write what is left."""
        self.run.finish()


def has_account() -> bool:
    """Whether wandb would find a key, in its variable or in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        entries = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return urlsplit(os.environ.get("WANDB_BASE_URL", HOST)).hostname in entries.hosts
