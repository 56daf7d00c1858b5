"""From rows to examples: finds out how rows are laid out and makes prompt and response of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from tenfold.errors import ConfigError, DataError, nearest
from tenfold.tasks.examples import Columns, Example, Prompt, make_prompt
from tenfold.tasks.messages import as_messages, chat_example
from tenfold.tasks.prompts import Placeholder, Template, as_text
from tenfold.tasks.settings import TaskSettings
from tenfold.tasks.tokenised import token_example

NEEDED = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "completion": ("prompt", "completion"),
    "tokens": ("input_ids",),
}
WHOLE = ("messages", "sharegpt", "tokens")  # formats without templates
PROMPTS = {"alpaca": "{instruction}", "completion": "{prompt}"}
RESPONSES = {"alpaca": "{output}", "completion": "{completion}"}
ALPACA_RAW = (  # https://github.com/tatsu-lab/stanford_alpaca
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{instruction}\n\n### Response:\n"
)
ALPACA_RAW_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)


def build(rows: Sequence[Columns], settings: TaskSettings, source: str) -> list[Example]:
    """An example of every row. source: what error messages call it. Raises DataError, ConfigError."""
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    kind = find_format(columns, settings, source)
    if kind == "sharegpt":
        rows = [as_messages(row, f"{source}: row {i + 1}") for i, row in enumerate(rows)]
    if kind in ("messages", "sharegpt"):
        return [chat_example(i, row, settings, f"{source}: row {i + 1}") for i, row in enumerate(rows)]
    if kind == "tokens":
        return [token_example(i, row, settings, f"{source}: row {i + 1}") for i, row in enumerate(rows)]
    layout = Layout.make(kind, columns, settings, source)
    return [layout.example(i, row) for i, row in enumerate(rows)]


def find_format(columns: Sequence[str], settings: TaskSettings, source: str) -> str:
    """The format of the rows; templates decide over columns. Raises DataError where columns lack."""
    asked: str = settings.data_format
    if asked == "auto":
        known = [kind for kind, needed in NEEDED.items() if set(needed) <= set(columns)]
        asked = next((kind for kind in known if kind not in WHOLE or not settings.prompt), "columns")
    for name in NEEDED.get(asked, ()):
        if name not in columns and not settings.prompt:
            raise DataError(f"data_format: {asked} needs {_lack(name, columns, source)}")
    return asked


@dataclass(frozen=True)
class Layout:
    """Makes prompt and response of rows with named columns."""

    prompt: Template
    short: Template  # the prompt where the column 'input' is empty
    response: Template
    label: str | None
    absent: Columns  # what a row has that doesn't say so
    settings: TaskSettings
    source: str

    @classmethod
    def make(cls, kind: str, columns: Sequence[str], settings: TaskSettings, source: str) -> "Layout":
        """The layout of rows with these columns. Raises DataError for a template that names others."""
        if kind == "alpaca" and "input" not in columns:
            columns = (*columns, "input")
        prompt, short = _prompts(kind, columns, settings, source)
        response = _response(kind, columns, settings, source)
        label = _label(response, settings)
        named = [("prompt", c) for c in prompt.columns] + [("response", c) for c in response.columns]
        for key, column in [*named, *([("label_column", label)] if label else [])]:
            if column not in columns:
                raise DataError(f"{key}: {_lack(column, columns, source)}")
        absent = {"input": ""} if kind == "alpaca" else {}
        return cls(prompt, short, response, label, absent, settings, source)

    def example(self, index: int, row: Columns) -> Example:
        """One row's example. Raises DataError, with the row's number."""
        where, given, row = f"{self.source}: row {index + 1}", row, {**self.absent, **row}
        template = self.prompt if row.get("input") else self.short
        for column in (*template.columns, *self.response.columns):
            if column not in row:
                raise DataError(f"{where} has no column {column!r}")
        response, label = self._answer(row, where)
        text = template.fill(row)
        values = [as_text(row[column]) for column in template.columns]
        content, asked = "\n".join(values) or text or response, "\n".join(filter(None, values)) or text
        return Example(index, make_prompt(text, self.settings), response, given, label, content, asked=asked)

    def _answer(self, row: Columns, where: str) -> tuple[str, str | None]:
        for column in self.response.columns:
            if row[column] is None:
                raise DataError(f"{where}: column {column!r} of the response is null")
        label = self._label_text(row, where)
        response = self.response.fill(row if label is None else {**row, str(self.label): label})
        options = self.settings.options
        if options and response.strip() not in options:
            raise DataError(f"options: {where}: response {response!r} is none of {', '.join(options)}")
        return response, response.strip() if options and label is None else label

    def _label_text(self, row: Columns, where: str) -> str | None:
        if self.label is None:
            return None
        value, labels = as_text(row.get(self.label)), self.settings.labels
        if labels and value not in labels:
            raise DataError(f"labels: {where}: {self.label} {value!r} is none of {', '.join(labels)}")
        return labels.get(value, value)


def fill_prompt(columns: Columns, settings: TaskSettings) -> Prompt:
    """The prompt of named columns, without a response: for use. Raises DataError for a missing column."""
    kind = "alpaca" if "instruction" in columns else "completion"
    if kind == "alpaca":
        columns = {"input": "", **columns}
    prompt, short = _prompts(kind, tuple(columns), settings, "the request")
    template = prompt if columns.get("input") else short
    for column in template.columns:
        if column not in columns:
            raise DataError(f"prompt: {_lack(column, tuple(columns), 'the request')}")
    return make_prompt(template.fill(columns), settings)


def _prompts(kind: str, columns: Sequence[str], settings: TaskSettings, source: str) -> tuple[Template, Template]:
    """The templates for rows with and without a value in the column 'input'."""
    text = settings.prompt if settings.prompt is not None else PROMPTS.get(kind)
    if text is None:
        raise ConfigError(f"prompt: needed for the columns of {source} ({', '.join(columns)})")
    template = Template.parse(text)
    if kind != "alpaca" or settings.prompt is not None:
        return template, template
    if settings.prompt_style == "raw":
        return Template.parse(ALPACA_RAW_INPUT), Template.parse(ALPACA_RAW)
    return Template.parse("{instruction}\n\n{input}"), template


def _response(kind: str, columns: Sequence[str], settings: TaskSettings, source: str) -> Template:
    if settings.response is None and settings.label_column:
        return Template((Placeholder(settings.label_column),))
    text = settings.response if settings.response is not None else RESPONSES.get(kind)
    if text is None:
        raise ConfigError(f"response: needed for the columns of {source} ({', '.join(columns)}), or label_column")
    return Template.parse(text)


def _label(response: Template, settings: TaskSettings) -> str | None:
    if settings.label_column or not settings.labels:
        return settings.label_column
    if len(response.columns) != 1:
        raise ConfigError("label_column: which of the response's columns do the labels stand for?")
    return response.columns[0]


def _lack(name: str, columns: Sequence[str], source: str) -> str:
    hint = nearest(name, list(columns))
    if not hint and (".csv" in source or ".tsv" in source):
        hint = "; a file without a header line needs `columns`, one with other separators `delimiter`"
    shown = ", ".join(column if len(column) < 60 else f"{column[:57]}..." for column in columns)
    return f"{{{name}}} is no column of {source}; there are {shown}{hint}"
