"""Train a config in a process of its own that ends at a certain call: ``child.py CONFIG TARGET COUNT SIGNAL [resume]``.

TARGET is ``module:name`` of a function; after its COUNT-th call the process gets the signal. Or it is ``after``: COUNT
seconds after the job has begun. Instead of resume, anew clears what is there.
"""

import os
import pkgutil
import signal
import sys
import threading

from tenfold import training
from tenfold.config import Config


def deadly(function, count, number):
    later = count <= 0

    def called(*arguments, **settings):
        nonlocal count
        if later:
            timer = threading.Timer(-count, os.kill, (os.getpid(), number))
            timer.daemon = True
            timer.start()
        found = function(*arguments, **settings)
        count -= 1
        if count == 0:
            os.kill(os.getpid(), number)
        return found

    return called


def main(config, target, count, number, *more):
    target, count = (
        ("tenfold.training.job:Job.settle_plan", -float(count)) if target == "after" else (target, int(count))
    )
    owner, _, name = target.rpartition("." if "." in target.partition(":")[2] else ":")
    place = pkgutil.resolve_name(owner)
    setattr(place, name, deadly(getattr(place, name), count, signal.Signals[number]))
    finished = training.run(Config.load(config), resume="resume" in more, overwrite="anew" in more)
    print("interrupted" if finished.interrupted else "finished")


if __name__ == "__main__":
    main(*sys.argv[1:])
