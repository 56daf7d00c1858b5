"""Whatever goes wrong while something is written, what was there before is still there."""

import errno
import os
import resource
import signal
import threading

import pytest

from tenfold.errors import RunError
from tenfold.store import atomic


def fill(folder, content):
    with atomic.folder(folder) as work:
        (work / "deep").mkdir()
        (work / "deep" / "one").write_text(content)
        (work / "two").write_text(content)


def fill_half(folder):
    with atomic.folder(folder) as work:
        (work / "two").write_text("new")
        raise KeyError


def content(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(params=["swap", "two steps"])
def system(request, monkeypatch):
    """Both ways of replacing a folder: where the system can swap two in one step, and where it cannot."""
    if request.param == "two steps":
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)


@pytest.mark.usefixtures("system")
def test_a_folder_is_replaced_as_a_whole(tmp_path):
    fill(tmp_path / "a", "old")
    (tmp_path / "a" / "left over").write_text("old")
    fill(tmp_path / "a", "new")
    assert content(tmp_path / "a") == {"deep/one": "new", "two": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.usefixtures("system")
def test_an_exception_leaves_the_old_folder(tmp_path):
    fill(tmp_path / "a", "old")
    with pytest.raises(KeyError):
        fill_half(tmp_path / "a")
    assert content(tmp_path / "a") == {"deep/one": "old", "two": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_through_a_link(tmp_path):
    fill(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    fill(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == {"deep/one": "new", "two": "new"}


def test_new_folders_get_the_usual_rights(tmp_path):
    fill(tmp_path / "a", "new")
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_reader_never_sees_a_half_state(tmp_path):
    for name in "xy":
        (tmp_path / name).mkdir()
    if not atomic._exchange(tmp_path / "x", tmp_path / "y"):
        pytest.skip("this system, or its file system, cannot swap two folders in one step")
    place, missing, done = tmp_path / "a", [], threading.Event()
    fill(place, "0")

    def read():
        while not done.is_set():
            missing.append(not (place / "two").is_file())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(50):
        fill(place, str(i))
    done.set()
    reader.join()
    assert missing
    assert not any(missing)
    assert content(place) == {"deep/one": "49", "two": "49"}


def test_a_kill_between_the_two_steps_is_mended(tmp_path):
    fill(tmp_path / "a", "old")
    (tmp_path / "a").rename(tmp_path / ".a.old")
    (tmp_path / ".a.part").mkdir()
    atomic.recover(tmp_path / "a")
    assert content(tmp_path / "a") == {"deep/one": "old", "two": "old"}
    fill(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def in_a_fork(work):
    """Run it in a process of its own, and say how that ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_killed_writer_leaves_the_old_folder(tmp_path):
    fill(tmp_path / "a", "old")

    def write():
        with atomic.folder(tmp_path / "a") as work:
            (work / "two").write_text("new")
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_fork(write) == -signal.SIGKILL
    assert content(tmp_path / "a") == {"deep/one": "old", "two": "old"}
    fill(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_leaves_the_old_state(tmp_path):
    places, said = [tmp_path / "file", tmp_path / "folder"], tmp_path / "said"
    atomic.write(places[0], "old")
    fill(places[1], "old")

    def write():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # a write fails half way, as on a full disk
        for place, act in zip(places, (atomic.write, fill), strict=True):
            with pytest.raises(RunError) as error:
                act(place, "x" * 5000)
            with said.open("a") as file:
                file.write(f"{error.value}\n")

    assert in_a_fork(write) == 0
    assert said.read_text().splitlines() == [f"cannot write {place}: {os.strerror(errno.EFBIG)}" for place in places]
    assert places[0].read_text() == "old"
    assert content(places[1]) == {"deep/one": "old", "two": "old"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "said"]


def test_no_room_for_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"cannot write .*: "), atomic.folder(tmp_path / "file" / "a"):
        pass
    with pytest.raises(RunError, match=r"cannot write .*: "):
        atomic.write(tmp_path / "file" / "a", "text")
    assert (tmp_path / "file").read_text() == "mine"
