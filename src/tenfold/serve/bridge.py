"""Between many coroutines and the one thread that owns the engine."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeVar

from tenfold.errors import ModelError
from tenfold.generate import Request
from tenfold.generate.event import Event, Stats
from tenfold.generate.live import Live

T = TypeVar("T")
Command = Callable[[], None]
FAILED = "the engine failed on this request, or stopped"
log = logging.getLogger("tenfold.serve")


Inbox = asyncio.Queue[tuple["Ticket", Event]]


class Ticket:
    """One request under way, and what it has got so far.

    number: which of its job's it is. began: when it was asked, in seconds of ``time.perf_counter``; first, last: when
    its first and its last token came.
    """

    def __init__(self, request: Request, number: int, inbox: Inbox, release: Command) -> None:
        self.request, self.number, self.began = request, number, time.perf_counter()
        self.first: float | None = None
        self.last: float | None = None
        self.tokens = 0
        self._inbox = inbox
        self._release: Command | None = release

    def deliver(self, event: Event, now: float) -> None:
        """One more event; for the loop's thread."""
        if event.tokens:
            self.first, self.last = self.first or now, now
            self.tokens += len(event.tokens)
        self._inbox.put_nowait((self, event))

    def release(self) -> None:
        """Nothing of it is under way any more."""
        if self._release:
            self._release()
            self._release = None


class Bridge:
    """Runs an engine in a thread of its own. Its methods are for the thread of one asyncio loop.

    make: a new engine, at first and after a failure. watch: called after each step, in the engine's thread.
    """

    def __init__(self, make: Callable[[], Live], watch: Callable[[Stats], None] = lambda stats: None) -> None:
        self._make, self._watch = make, watch
        self._live = make()
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._tickets: dict[int, Ticket] = {}
        self._numbers: dict[Ticket, int] = {}
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._closed = False
        self.stats = self._live.stats()
        self.failures = 0

    def start(self) -> None:
        """Begin; call it where the asyncio loop runs."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def close(self) -> None:
        """End what is under way, and the thread."""
        self._commands.put(self._close)
        await asyncio.to_thread(self._thread.join)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    async def submit(self, tickets: Sequence[Ticket], tenant: str) -> None:
        """Ask the engine for all or none; raises what ``Live.submit`` raises. Each is released however it ends."""
        try:
            await self.call(lambda: self._submit(tickets, tenant))
        except asyncio.CancelledError:
            self.cancel(tickets)
            raise

    def cancel(self, tickets: Sequence[Ticket]) -> None:
        """End requests that nobody waits for any more; those that have ended stay as they are."""
        self._commands.put(lambda: self._cancel(tickets))

    async def call(self, function: Callable[[], T]) -> T:
        """Run a function in the engine's thread, between two steps -> what it returns or raises."""
        future: asyncio.Future[T] = self._loop.create_future()
        if not self.alive:
            raise ModelError("the engine has stopped")
        self._commands.put(lambda: self._answer(function, future))
        return await future

    def _answer(self, function: Callable[[], T], future: "asyncio.Future[T]") -> None:
        try:
            found = function()
        except Exception as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
            failure = error
            self._loop.call_soon_threadsafe(_settle, future, lambda one: one.set_exception(failure))
        else:
            self._loop.call_soon_threadsafe(_settle, future, lambda one: one.set_result(found))

    def _run(self) -> None:
        try:
            while not self._closed:
                if self._live.idle or not self._commands.empty():
                    self._commands.get()()
                    continue
                self._tell(self._step())
                self._watch(self.stats)
        finally:
            self._tell([Event(number, finish="error", error="the server stops") for number in self._tickets])

    def _step(self) -> list[Event]:
        try:
            events = self._live.step()
            self.stats = self._live.stats()
        except Exception as error:
            log.error("a step failed", exc_info=error)
            events = [Event(number, finish="error", error=FAILED) for number in self._tickets]
            self._live, self.failures = self._make(), self.failures + 1
        return events

    def _tell(self, events: list[Event]) -> None:
        told = [(self._tickets[event.number], event) for event in events if event.number in self._tickets]
        self._loop.call_soon_threadsafe(_deliver, told, time.perf_counter())
        for ticket, event in told:
            if event.finish:
                del self._tickets[event.number], self._numbers[ticket]
                ticket.release()

    def _submit(self, tickets: Sequence[Ticket], tenant: str) -> None:
        for done, ticket in enumerate(tickets):
            try:
                number = self._live.submit(ticket.request, tenant=tenant)
            except BaseException:
                self._cancel(tickets[:done])
                for other in tickets[done:]:
                    other.release()
                raise
            self._tickets[number], self._numbers[ticket] = ticket, number

    def _cancel(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            if ticket in self._numbers:
                self._live.cancel(self._numbers[ticket])

    def _close(self) -> None:
        self._closed = True


def _settle(future: "asyncio.Future[T]", settle: Callable[["asyncio.Future[T]"], None]) -> None:
    """For the loop's thread; whoever waited may have left."""
    if not future.done():
        settle(future)


def _deliver(told: list[tuple[Ticket, Event]], now: float) -> None:
    for ticket, event in told:
        ticket.deliver(event, now)
