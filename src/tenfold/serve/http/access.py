"""The outermost layer: a line of JSON for each request, without a word of any prompt or key."""

import json
import logging
import secrets
import time
import traceback
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenfold.serve.http.problems import Problem

log = logging.getLogger("tenfold.access")
NOTES = "tenfold.notes"
LONGEST = 100
LEFT = 499
"""nginx's status for a client that left before its answer; only logs and metrics show it."""


def note(scope: Scope, **facts: Any) -> None:
    """What the line should say too; names, counts and seconds only."""
    scope.setdefault(NOTES, {}).update(facts)


class Access:
    """Logs each request when it has ended, and answers for what nobody foresaw."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, number, status = time.perf_counter(), secrets.token_hex(8), 0
        scope[NOTES] = {}

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = number
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - the client gets an answer, the log the place without the values
            note(scope, error=type(error).__name__, trace=places(error))
            if not status:
                await _fail(sending)
        finally:
            notes = {"status": status or LEFT, **scope[NOTES]}
            write("request", id=number, method=scope["method"], path=scope["path"][:LONGEST],
                  seconds=round(time.perf_counter() - began, 4), **notes)  # fmt: skip


def write(event: str, **facts: Any) -> None:
    """One line of the log."""
    log.info("%s", line(event, **facts))


def line(event: str, **facts: Any) -> str:
    """What happened, as JSON."""
    return json.dumps({"time": round(time.time(), 3), "event": event, **facts}, ensure_ascii=True, default=str)


def places(error: BaseException) -> list[str]:
    """Where an error came up, without its message, which may hold what a client wrote."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]


async def _fail(send: Send) -> None:
    body = json.dumps(Problem(500, "an error of the server; its log says where").body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
