"""The order of docs/architecture.md: a part imports only what stands above it there, and nothing in circles."""

import ast
import graphlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tenfold"
TREE = re.compile(r"^  (\w+)(?:\.py|/) ", re.MULTILINE)
ORDER = TREE.findall((ROOT / "docs" / "architecture.md").read_text("utf-8"))
FILES = sorted(SOURCE.rglob("*.py"))
TEXTS = [
    path
    for folder in ("src", "tests", "docs", "examples", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".md", ".yaml", ".toml", ".txt"} and path != pathlib.Path(__file__)
] + [path for path in (ROOT / "README.md", ROOT / "pyproject.toml", ROOT / "Makefile") if path.is_file()]
# Paths of one machine, the folder beside the checkout in which the data came, and package registries.
PRIVATE = re.compile(r"(?<![\w.])/(?:work|opt|root|home)/\w|\.\./shared\b|https?://[\w.-]*(?:pypi|pythonhosted)\.org")


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_in(body: list[ast.stmt]) -> list[ast.Import | ast.ImportFrom]:
    """Import statements that run when the module does: not in functions, not under TYPE_CHECKING."""
    found = []
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not type_checking(node):
            found += imports_in([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])
    return found


def imported(path: pathlib.Path) -> set[str]:
    """The modules of tenfold that a file imports at its top level."""
    names = set()
    for node in imports_in(ast.parse(path.read_text("utf-8")).body):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = {name if name in MODULES else name.rpartition(".")[0] for name in names if name.startswith("tenfold")}
    return found & set(MODULES) - {"tenfold"}


def part(module: str) -> str:
    return module.split(".")[1]


def test_the_document_names_every_part():
    there = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there - {"__init__", "__main__", "__pycache__"} <= set(ORDER)
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module):
    if module in ("tenfold", "tenfold.__main__"):
        return  # the front door: it may show what is in any part
    assert part(module) in ORDER, f"docs/architecture.md doesn't say where {part(module)} stands"
    mine = ORDER.index(part(module))
    below = {name for name in imported(MODULES[module]) if part(name) in ORDER[mine + 1 :]}
    assert not below, f"{module} imports {sorted(below)}, which stand below it in docs/architecture.md"


def test_no_module_imports_itself_through_others():
    """Of a package's __init__, only what it imports counts, not that importing an inner module runs it."""
    graph = {module: imported(path) - {module} for module, path in MODULES.items() if module != "tenfold"}
    assert list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", [path for path in FILES if path != SOURCE / "__init__.py"], ids=module_name)
def test_functions_import_nothing_but_optional_extras(path):
    """An extra's import stands in a function only to become a MissingExtraError. tenfold/__init__ is the front
    door: what it shows is loaded when it is used, so that the command line's help costs no torch."""
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
            names = [ast.unparse(node) for node in inner]
            assert not inner or "MissingExtraError" in ast.unparse(function), f"{path}: {function.name}: {names}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_names_a_machine_or_its_paths(path):
    found = PRIVATE.search(path.read_text("utf-8"))
    assert not found, f"{path} names {found.group() if found else ''}"
