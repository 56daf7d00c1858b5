"""The settings of a task and of the sources of its rows."""

import codecs
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, model_validator

from tenfold.tasks.prompts import Template, as_text

Format = Literal["auto", "columns", "alpaca", "messages", "sharegpt", "completion", "tokens"]
Style = Literal["chat", "raw"]
Scalar = str | int | float | bool
Text = Annotated[str, BeforeValidator(as_text, json_schema_input_type=Scalar)]  # YAML reads 0 as a number
TEMPLATE_NAMES = ("prompt", "prompt_format", "prompt_formate")


def _check_template(text: str) -> str:
    Template.parse(text)
    return text


def _check_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(f"unknown encoding {name!r}; for instance utf-8, cp1252, latin-1, utf-16") from None
    return name


TemplateText = Annotated[str, AfterValidator(_check_template)]
Encoding = Annotated[str, AfterValidator(_check_encoding)]


class SourceSettings(BaseModel):
    """Where rows come from and how their file is read."""

    model_config = ConfigDict(extra="forbid", validate_default=False)

    path: str | None = Field(
        None,
        description="File of rows, relative to the config file: .json, .jsonl, .csv, .tsv, .parquet; any "
        "other name is plain text, one row a line, in the column 'text'. Each also with .gz. Or made rows: "
        "synthetic:KIND?split=train&rows=800.",
    )
    dataset_name: str | None = Field(
        None, description="Data set on the Hugging Face hub, or the folder of one, instead of path."
    )
    dataset_subset: str | None = Field(None, description="Subset (configuration) of the hub data set.")
    dataset_split: str | None = Field(None, description="Split of the hub data set; train where not said.")
    max_rows: int | None = Field(None, ge=1, description="Use only the first so many rows, in the file's order.")
    encoding: Encoding | None = Field(
        None,
        description="Encoding of text files, e.g. cp1252; UTF-8 (a byte order mark is fine) by default.",
    )
    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="Character between the fields, with quotes as in CSV. By default a comma for .csv, and "
        "for .tsv a tab, with no meaning given to quotes.",
    )
    columns: list[str] | None = Field(
        None, min_length=1, description="Names of the columns of a CSV or TSV file that has no header line."
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, given: Any) -> Any:
        """A key with nothing after it is as good as not written."""
        return {k: v for k, v in given.items() if v is not None} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _one_source(self) -> "SourceSettings":
        if self.path and self.dataset_name:
            raise ValueError("path and dataset_name are two sources; give one of them")
        if self.dataset_name is None and (self.dataset_subset or self.dataset_split) and self.path:
            raise ValueError("dataset_subset and dataset_split go with dataset_name, not with path")
        return self


def _as_source(given: Any) -> Any:
    return {"path": given} if isinstance(given, str) else given


Source = Annotated[SourceSettings, BeforeValidator(_as_source, json_schema_input_type=str | SourceSettings)]


class TaskSettings(SourceSettings):
    """One task: its rows, how they become prompts and responses, how it is measured."""

    eval_path: Source | None = Field(
        None,
        description="Evaluation rows, read as path is: a file, or settings of a source of their own, where "
        "what is not said is taken from the task ({dataset_split: validation}).",
    )
    validation_path: Source | None = Field(
        None, description="Rows for the validation loss during training; written like eval_path."
    )
    eval_sets: dict[str, Source] = Field(
        default_factory=dict,
        description="Several named evaluation sets, each like eval_path: {matched: ..., mismatched: ...}.",
    )
    val_set_size: float | None = Field(
        None,
        ge=0,
        description="Rows cut from the training rows for validation: a share below 1 or a number of rows.",
    )
    eval_max_rows: int | None = Field(None, ge=1, description="Use only the first so many rows of each evaluation set.")
    repeat: int = Field(1, ge=1, description="How many times each training row stands in an epoch.")
    weight: float = Field(
        1.0,
        gt=0,
        description="Weight of this task's rows in the loss of an adapter that several tasks train.",
    )
    mixture_rate: FiniteFloat | None = Field(
        None,
        gt=0,
        description="schedule mixture: how often rows of this task are drawn, beside those of the others; beats "
        "mixture_temperature.",
    )

    data_format: Format = Field(
        "auto",
        description="How rows are laid out: alpaca (instruction, input, output), messages, sharegpt (conversations), "
        "completion (prompt, completion), tokens (input_ids with labels or label, as transformers has them), columns "
        "(anything, with templates); auto finds out from the columns.",
    )
    prompt: TemplateText | None = Field(
        None,
        description="Template of the prompt: {name} is a column, {{ and }} are braces. Also written "
        "prompt_format or prompt_formate.",
    )
    response: TemplateText | None = Field(
        None, description="Template of the response; by default the label column or what the format says."
    )
    system: str | None = Field(None, description="System message of the chat.")
    prompt_style: Style = Field("chat", description="chat: through the model's chat template; raw: the text as it is.")
    label_column: str | None = Field(
        None,
        description="Column of the label; where labels are given, by default the response's only column.",
    )
    labels: dict[Text, Text] = Field(
        default_factory=dict,
        description="Text for each value of the label column, used in the response: {entailment: 0}.",
    )
    options: list[Text] | None = Field(
        None, min_length=2, description="All possible responses, for accuracy by their likelihood."
    )
    sequence_len: int | None = Field(
        None, ge=8, description="Most tokens of a row; a longer one loses the left of its prompt."
    )
    train_on_inputs: bool = Field(False, description="Loss on every token, not only on the response.")

    metrics: list[str] = Field(default_factory=list, description="Names of the metrics to evaluate by.")
    max_new_tokens: int | None = Field(None, ge=1, description="Most tokens to generate for an answer.")
    stop: list[str] = Field(default_factory=list, description="Texts that end an answer.")

    allow_overlap: bool = Field(
        False,
        description="Validation and evaluation rows may stand among training rows: a comparison (`tenfold sweep`) then "
        "takes the task, and marks it in every table.",
    )
    adapter_path: str | None = Field(None, description="Folder of a PEFT adapter to start from.")
    train: bool = Field(True, description="Train the adapter; false keeps the one from adapter_path as it is.")
    seed: int | None = Field(None, description="Seed of the cut for val_set_size; the run's where not said.")

    @model_validator(mode="before")
    @classmethod
    def _one_template_name(cls, given: Any) -> Any:
        """Take the prompt's other names for ``prompt``."""
        if not isinstance(given, dict):
            return given
        written = [name for name in TEMPLATE_NAMES if given.get(name) is not None]
        if len(written) > 1:
            raise ValueError(f"{' and '.join(written)} are names of one setting; give one of them")
        rest = {k: v for k, v in given.items() if k not in TEMPLATE_NAMES}
        return {**rest, "prompt": given[written[0]]} if written else rest

    @model_validator(mode="after")
    def _fits_together(self) -> "TaskSettings":
        if self.val_set_size and self.val_set_size >= 1 and self.val_set_size % 1:
            raise ValueError(f"val_set_size {self.val_set_size} is neither a share below 1 nor a number of rows")
        if self.val_set_size and self.validation_path:
            raise ValueError("validation_path and val_set_size both give validation rows; give one of them")
        if self.eval_path and "eval" in self.eval_sets:
            raise ValueError("eval_path is the evaluation set 'eval'; give eval_sets another name")
        for name, other in self.others().items():
            if (other.dataset_split or other.dataset_subset) and not (other.dataset_name or self.dataset_name):
                raise ValueError(f"{name}: dataset_split and dataset_subset need a dataset_name")
        if self.system and self.prompt_style == "raw":
            raise ValueError("system needs prompt_style chat; in raw text write it into the prompt")
        return self

    @property
    def classes(self) -> list[str]:
        """All possible responses, in order: the options, else the texts of the labels."""
        return [one.strip() for one in self.options or dict.fromkeys(self.labels.values())]

    def others(self) -> dict[str, SourceSettings]:
        """The sources beside the training rows, by the key where each is written."""
        named = {"validation_path": self.validation_path, "eval_path": self.eval_path}
        sets = {f"eval_sets.{name}": source for name, source in self.eval_sets.items()}
        return {key: source for key, source in named.items() if source} | sets

    def source(self, other: SourceSettings | None = None) -> SourceSettings:
        """The task's own source, or another of its sources with what that doesn't say taken from the task."""
        said = {} if other is None else other.model_dump(exclude_unset=True)
        unsaid = set(SourceSettings.model_fields) - {"max_rows"} if other else set(SourceSettings.model_fields)
        if "path" in said or "dataset_name" in said:
            unsaid -= {"path", "dataset_name", "dataset_subset", "dataset_split"}
        own = self.model_dump(include=unsaid, exclude_unset=True)
        return SourceSettings(**{**own, **said})
