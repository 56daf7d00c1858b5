import io

import pytest
from rich.console import Console

from tenfold.cli.progress import Lines, drawing, rate
from tenfold.progress import SILENT


@pytest.fixture
def paper():
    return Console(file=io.StringIO(), force_terminal=False, width=200)


def test_a_log_gets_a_line_every_ten_seconds(paper):
    now = [0.0]
    lines = Lines(paper, clock=lambda: now[0])
    with lines.start("training", 100, "steps") as task:
        for _ in range(50):
            now[0] += 1
            task.note("loss 1.5")
            task.advance(2)
    assert paper.file.getvalue().splitlines() == [
        "training: 20/100 steps, 2.0 steps/s, 40 s left, loss 1.5",
        "training: 40/100 steps, 2.0 steps/s, 30 s left, loss 1.5",
        "training: 60/100 steps, 2.0 steps/s, 20 s left, loss 1.5",
        "training: 80/100 steps, 2.0 steps/s, 10 s left, loss 1.5",
        "training: 100/100 steps, 2.0 steps/s, 0 s left, loss 1.5",
        "training: 100 steps in 50.0 s, 2.0 steps/s, loss 1.5",
    ]


def test_short_work_leaves_no_line_and_notes_do(paper):
    with drawing(paper) as progress:
        with progress.start("a moment", None, "rows") as task:
            task.advance()
        progress.note("[brackets] stay")
    assert paper.file.getvalue() == "[brackets] stay\n"


def test_a_terminal_gets_bars_with_rate_and_time_left():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    now = [100.0]
    with drawing(console, clock=lambda: now[0]) as progress:
        task = progress.start("training [dates]", 40, "steps")
        for _ in range(2):
            now[0] += 3
            task.advance(6)
        task.note("loss 0.5")
        progress.progress.refresh()
        unknown = progress.start("reading", None, "rows")
        unknown.finish()
        unknown.finish()
        task.finish()
    shown = console.file.getvalue()
    assert "training [dates]" in shown
    assert "12/40 steps  2.0 steps/s" in shown
    assert "0:00:14" in shown
    assert "training [dates]: 12 steps in 6.0 s, 2.0 steps/s, loss 0.5" in shown
    assert "reading:" not in shown


@pytest.mark.parametrize(
    ("done", "seconds", "said"),
    [(0, 5, ""), (10, 5, "2.0 rows/s"), (1, 5, "5.0 s/rows"), (5000, 5, "1000 rows/s"), (3, 0, "")],
)
def test_rates(done, seconds, said):
    assert rate(done, seconds, "rows") == said


def test_silence():
    with SILENT.start("x", 3, "y") as task:
        task.advance()
        task.note("n")
    SILENT.note("n")
