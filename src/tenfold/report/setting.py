"""What a run follows from: its config as it was given, data, seed, base, machine and versions."""

from collections.abc import Mapping
from typing import Any

from tenfold.pages.markup import Markup, element, folded, join, table
from tenfold.pages.page import Section
from tenfold.report.source import Source
from tenfold.store import documents
from tenfold.store.run import CONFIG


def section(source: Source) -> Section:
    """Tables of environment and fingerprints; the config and the plan are folded."""
    plan = source.plan
    ground = {
        "seeds" if len(source.runs) > 1 else "seed": ", ".join(
            str(run.read_json("plan.json")["seed"]) for run in source.runs
        ),
        "base's float weights": _short(plan["base_model"]),
        "quantisation": plan.get("base_quantization") or "none",
        "float type": plan["dtype"],
        **{f"rows of {name}": _short(value) for name, value in plan["rows"].items()},
    }
    config = source.folder / CONFIG
    text = config.read_text("utf-8") if config.is_file() else ""
    parts = [
        _listed("What the numbers follow from", ground),
        environment(source.machine),
        folded("config.yaml", element("pre", text)) if text else "",
        folded("plan.json", element("pre", documents.text(_slim(plan)).decode())),
    ]
    return Section("Settings", join(parts))


def environment(machine: Mapping[str, Any]) -> Markup:
    """Machine, versions and date, as ``machine.json`` has them."""
    given = {
        **{key: value for key, value in machine.items() if isinstance(value, str) and value},
        **machine.get("machine", {}),
        **machine.get("versions", {}),
    }
    return _listed("Machine and versions", given) if given else Markup("")


def _listed(title: str, given: Mapping[str, object]) -> Markup:
    rows = [[key.replace("_", " "), value] for key, value in given.items()]
    return join([element("h3", title), table(("what", "value"), rows, left=(0, 1), name=title.lower())])


def _short(digest: str) -> str:
    return f"{digest[:16]}…" if len(digest) > 17 else digest


def _slim(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan with the number of layers in place of their names."""
    slim = {
        name: {**own, "layers": f"{len(own['layers'])} layers"} if "layers" in own else own
        for name, own in plan.get("adapters", {}).items()
    }
    return {**plan, "adapters": slim}
