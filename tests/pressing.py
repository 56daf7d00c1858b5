"""Ctrl-C at a chosen step of a training."""

import signal


class Press:
    """A progress that presses Ctrl-C in the middle of training step ``number``, ``times`` times."""

    def __init__(self, number, times=1):
        self.number, self.times, self.what = number, times, ""

    def start(self, what, total, unit):
        self.what = what
        return self

    def advance(self, amount=1):
        if self.what.startswith("training"):
            self.number -= amount
            for _ in range(self.times if self.number == 0 else 0):
                signal.raise_signal(signal.SIGINT)

    def note(self, text):
        pass

    finish = note

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass
