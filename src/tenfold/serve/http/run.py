"""The process: one port, one engine, an orderly end."""

import logging
import math
import signal
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from tenfold.errors import ConfigError
from tenfold.serve.http.access import line, log, places, write
from tenfold.serve.http.app import application
from tenfold.serve.http.state import State


class Server(uvicorn.Server):
    """Told to stop, it takes no new requests, lets those under way end, and leaves with 0."""

    def __init__(self, config: uvicorn.Config, state: State, started: Callable[[str], None]) -> None:
        super().__init__(config)
        self.state, self._started = state, started

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See uvicorn; a second Ctrl-C ends at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = self.state.service.draining = True

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """See uvicorn; says where the page is once it can be opened."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            self._started(address(self.config.host, port))


def make(state: State, host: str, port: int, started: Callable[[str], None]) -> Server:
    """A server that is ready to run. started: told where the page is, once it can be opened."""
    config = uvicorn.Config(
        application(state), host=host, port=port, log_level="critical", access_log=False, server_header=False,
        timeout_graceful_shutdown=max(1, math.ceil(state.service.limits.drain_seconds)), lifespan="on", ws="none",
    )  # fmt: skip
    return Server(config, state, started)


def serve(state: State, host: str, port: int, started: Callable[[str], None]) -> None:
    """Serve until the process is told to stop. Raises ConfigError where the address cannot be had."""
    log_to_stdout()
    try:
        make(state, host, port, started).run()
    except SystemExit:
        message = f"--host {host} --port {port}: nothing can listen there; another server may do so already"
        raise ConfigError(message) from None
    write("stopped")


def log_to_stdout() -> None:
    """Lines of JSON: each request, and whatever else tenfold has to say."""
    whole = logging.getLogger("tenfold")
    if not whole.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(Lines())
        whole.addHandler(handler)
    whole.setLevel(logging.INFO)
    whole.propagate = False


class Lines(logging.Formatter):
    """An error's place without its message, which may hold what a client wrote."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        if record.name == log.name:
            return record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        said = {"error": type(error).__name__, "trace": places(error)} if error else {}
        level = record.levelname.lower()
        return line("log", level=level, logger=record.name, message=record.getMessage(), **said)


def address(host: str, port: int) -> str:
    """Where a browser finds it."""
    place = (
        "127.0.0.1" if host in ("", "0.0.0.0") else "[::1]" if host == "::" else f"[{host}]" if ":" in host else host
    )
    return f"http://{place}:{port}/"
