"""The tensors of a safetensors file: names, shapes and types checked, then mapped into memory in one step."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from tenfold.errors import AdapterError

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

ALIGNMENT = 64  # bytes, as torch allocates: products of tensors that stand otherwise may round otherwise

Shape = tuple[int, ...]


def write(path: Path, values: Mapping[str, Tensor]) -> None:
    """A safetensors file whose header is filled up, so that tensors that are mapped stand as those in memory do."""
    data = to_bytes(dict(values), {"format": "pt"})
    size = int.from_bytes(data[:8], "little")
    gap = -(8 + size) % ALIGNMENT
    path.write_bytes((size + gap).to_bytes(8, "little") + data[8 : 8 + size] + b" " * gap + data[8 + size :])


def read(path: Path, shapes: Mapping[str, Shape], device: torch.device) -> dict[str, Tensor]:
    """The tensors of a file that holds just these, in float32 on the device.

    On the CPU they may be the file's own pages, mapped privately: what is written to them never reaches the file,
    and a file that is replaced by renaming (as everything here is) leaves them alone. Raises AdapterError for a
    file that is torn, and with the first tensor that is missing, surplus, of another shape or no float.
    """
    try:
        with safe_open(path, "pt") as file:
            given = {key: file.get_slice(key) for key in file.offset_keys()}
            _compare({key: tuple(one.get_shape()) for key, one in given.items()}, shapes)
            types = {key: _float(key, one.get_dtype()) for key, one in given.items()}
            if len(set(types.values())) > 1:
                return {key: file.get_tensor(key).to(device, torch.float32) for key in shapes}
        dtype = next(iter(types.values()), torch.float32)
        return _map({key: shapes[key] for key in given}, path, dtype, device)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"cannot read {path.name}: {str(error).splitlines()[0]}") from None


def shapes(path: Path) -> dict[str, Shape]:
    """The shapes of the tensors in a file. Raises AdapterError for one that is torn."""
    try:
        with safe_open(path, "pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.offset_keys()}
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"cannot read {path.name}: {str(error).splitlines()[0]}") from None


def _compare(given: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> None:
    """Raises AdapterError with the first tensor that is missing, surplus or of another shape."""
    for what, names in ("missing", wanted.keys() - given.keys()), ("surplus", given.keys() - wanted.keys()):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise AdapterError(f"tensor {min(names)!r} is {what}{more}")
    for key, shape in wanted.items():
        if given[key] != shape:
            raise AdapterError(f"tensor {key!r} has shape {given[key]}; base and settings ask for {shape}")


def _float(key: str, name: str) -> torch.dtype:
    if name not in FLOATS:
        raise AdapterError(f"tensor {key!r} is {name}; allowed: {', '.join(FLOATS)}")
    return FLOATS[name]


def _map(shapes: Mapping[str, Shape], path: Path, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """Tensors of one type that follow each other in this order to the end of the file, as safetensors has checked.

    One at a time, each costs ten times as much.
    """
    sizes = [torch.Size(shape).numel() for shape in shapes.values()]
    start = path.stat().st_size - sum(sizes) * dtype.itemsize
    raw = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)[start:]
    numbers = (raw.clone() if start % dtype.itemsize else raw).view(dtype).to(device, torch.float32)
    parts = torch.split(numbers, sizes)
    return {key: part.data.view(shape) for (key, shape), part in zip(shapes.items(), parts, strict=True)}
