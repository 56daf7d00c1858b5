"""Run a sweep in a process that gets SIGKILL after so many calls of a function: ``child.py FILE TARGET COUNT``."""

import os
import pkgutil
import signal
import sys

from tenfold import sweep


def main(file, target, count):
    owner, _, name = target.rpartition(".")
    place, left = pkgutil.resolve_name(owner), int(count)
    function = getattr(place, name)

    def deadly(*arguments, **settings):
        nonlocal left
        found = function(*arguments, **settings)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(place, name, deadly)
    sweep.run(sweep.load(file))


if __name__ == "__main__":
    main(*sys.argv[1:])
