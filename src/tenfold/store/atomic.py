"""Files and folders that have their old content or their new one, whenever the process or the disk ends.

What is being written stands beside its place as ``.NAME.part``; a later write of the same name clears it
away. One process writes a place at a time; any number may read it.
"""

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenfold.errors import RunError

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def write(path: Path, content: str | bytes) -> None:
    """Write a whole file (text as UTF-8) and make sure that it is on the disk.

    Raises RunError, with the old file untouched, where that is not possible.
    """
    part = _sibling(path, "part")
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        _sync(path.parent)


@contextmanager
def folder(place: Path) -> Iterator[Path]:
    """A new, empty folder to fill; when the block ends well it stands at ``place`` instead of what was there.

    Raises RunError, with the old folder untouched, where that is not possible; an exception in the block
    leaves the old folder too.
    """
    place = place.resolve()
    work = _sibling(place, "part")
    with told(place):
        recover(place)
        if place.exists() and not place.is_dir():
            raise NotADirectoryError(0, "there is a file of that name")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            yield work
            for path in (*work.rglob("*"), work):
                _sync(path)
            _put(work, place)
            _sync(place.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def recover(place: Path) -> None:
    """Bring back a folder whose replacement was cut short, on systems that cannot swap two in one step."""
    place = place.resolve()
    old = _sibling(place, "old")
    if old.is_dir() and not place.exists():
        old.rename(place)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def told(place: Path) -> Iterator[None]:
    """What the system refuses becomes one line about ``place``."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {place}: {error.strerror or error}") from error


def _sibling(path: Path, what: str) -> Path:
    return path.parent / f".{path.name}.{what}"


def _put(work: Path, place: Path) -> None:
    """Give ``work`` the name ``place``; what stood there, if anything, is then at ``work`` or gone."""
    if not place.exists():
        work.rename(place)
    elif not _exchange(work, place):
        old = _sibling(place, "old")
        place.rename(old)
        work.rename(place)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system or its file system cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    paths = AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other)
    return bool(rename(*paths, RENAME_EXCHANGE) == 0)


def _sync(path: Path) -> None:
    """Everything about a file or folder is on the disk when this returns."""
    if os.name != "posix":  # other systems cannot open folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
