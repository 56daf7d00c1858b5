"""Finds a kind by its file name, and optional packages.

A kind is a file in a package that defines what kinds there export.

There is no registry: ``names("tenfold.adapters")`` reads the files' syntax trees, so that listing the
kinds imports none of them (nor torch), and ``find`` imports the one that is asked for.
"""

import ast
import functools
import importlib
import importlib.util
import pathlib
from types import ModuleType

from tenfold.errors import ConfigError, MissingExtraError, nearest

EXPORTS = ("Config", "Adapter")


def names(package: str, exports: tuple[str, ...] = EXPORTS) -> list[str]:
    """The kinds in a package, sorted: its files without a leading ``_`` that define all the exports."""
    return sorted(path.stem for path in _files(package) if set(exports) <= _defined(path))


def find(package: str, name: str, exports: tuple[str, ...] = EXPORTS) -> ModuleType:
    """The module of one kind. Raises ConfigError with the known kinds if there is no such kind."""
    known = names(package, exports)
    if name not in known:
        what = package.rpartition(".")[2].removesuffix("s")
        raise ConfigError(f"unknown {what} {name!r}; known: {', '.join(known)}{nearest(name, known)}")
    return importlib.import_module(f"{package}.{name}")


def optional(module: str, extra: str, need: str) -> ModuleType:
    """A module of a package that an extra installs.

    need: who needs it, as in ``synthetic:dates needs``. Raises MissingExtraError with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0].removesuffix("_lib")
        raise MissingExtraError(f"{need} {package}: pip install 'tenfold[{extra}]'") from None


def _files(package: str) -> list[pathlib.Path]:
    root, *inner = package.split(".")
    spec = importlib.util.find_spec(root)  # the root alone: a dotted name would import what lies between
    places = [pathlib.Path(place, *inner) for place in (spec and spec.submodule_search_locations) or ()]
    assert any(place.is_dir() for place in places), f"{package} is no package"
    return [path for place in places for path in place.glob("*.py") if not path.stem.startswith("_")]


@functools.cache
def _defined(path: pathlib.Path) -> frozenset[str]:
    """What a file defines at its top level by ``class``, ``def`` or ``=``; imports don't count."""
    found: set[str] = set()
    for statement in ast.parse(path.read_text("utf-8")).body:
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found.add(name)
            case ast.Assign(targets=targets):
                found.update(target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case _:
                pass
    return frozenset(found)
