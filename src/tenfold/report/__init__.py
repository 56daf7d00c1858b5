"""One self-contained HTML page for a run or a sweep, with its plots as files beside it."""

import pathlib

from tenfold.errors import RunError
from tenfold.pages.page import Page
from tenfold.progress import SILENT, Progress
from tenfold.report import run, sweep
from tenfold.store import atomic
from tenfold.store.run import PLAN, PLOTS, REPORT

__all__ = ["leave", "write"]


def write(folder: pathlib.Path | str) -> pathlib.Path:
    """Write ``report.html`` and ``plots/`` into the folder of a run or a sweep -> the page.

    Raises RunError for a folder that is neither, and for torn files.
    """
    place = pathlib.Path(folder)
    if (place / sweep.FILE).is_file():
        return _keep(sweep.page(place), place)
    if (place / PLAN).is_file():
        return _keep(run.page(place), place)
    raise RunError(f"no run and no sweep at {place}: it has neither {PLAN} nor {sweep.FILE}")


def leave(folder: pathlib.Path, progress: Progress = SILENT) -> pathlib.Path | None:
    """The same at the end of a run, where a page that can't be made is one line and nothing more."""
    try:
        return write(folder)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run itself is finished and on the disk
        told = " ".join(f"{type(error).__name__}: {error}".split())
        progress.note(f"no report of {folder}: {told}; tenfold report {folder} tries again")
        return None


def _keep(page: Page, folder: pathlib.Path) -> pathlib.Path:
    """``plots/NAME.svg`` and ``plots/NAME.png``, then ``report.html``, each whole or not at all."""
    with atomic.folder(folder / PLOTS) as work:
        for one in (drawing for section in page.sections for drawing in section.drawings):
            (work / f"{one.name}.svg").write_text(one.svg, "utf-8")
            (work / f"{one.name}.png").write_bytes(one.png)
    atomic.write(folder / REPORT, page.html())
    return folder / REPORT
