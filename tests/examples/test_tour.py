"""The notebook runs from top to bottom, on the real model with few rows."""

import pathlib
import re

import pytest

TOUR = pathlib.Path(__file__).parents[2] / "examples" / "tour.ipynb"
nbformat = pytest.importorskip("nbformat", reason="the notebook is run with nbclient")


@pytest.fixture
def tour():
    return nbformat.read(TOUR, as_version=4)


def test_it_is_kept_without_outputs(tour):
    nbformat.validate(tour)
    cells = [cell for cell in tour.cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.mark.slow
@pytest.mark.real
def test_it_runs_from_top_to_bottom(tour, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="the notebook is run with nbclient")
    pytest.importorskip("ipykernel", reason="the notebook's kernel")
    monkeypatch.setenv("TENFOLD_SMOKE", "1")
    monkeypatch.setenv("TENFOLD_TOUR", str(tmp_path / "tour"))
    nbclient.NotebookClient(
        tour, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    said = "\n".join(output.get("text", "") for cell in tour.cells for output in cell.get("outputs", ()))
    assert re.search(r"dates +train +48 ", said)
    assert re.search(r"dates +exact_match +8 +\d\.\d+ \[", said)
    assert said.count("% sure") == 3
    pictures = [o for cell in tour.cells for o in cell.get("outputs", ()) if "image/png" in o.get("data", {})]
    assert len(pictures) == 2
    assert (tmp_path / "tour" / "adapters" / "spelling" / "adapter_model.safetensors").is_file()
