"""Answers on their way to the client: whole, or as a stream of events."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from tenfold.generate.event import Event
from tenfold.generate.request import TokenLogprob
from tenfold.serve.http.access import LEFT
from tenfold.serve.http.call import Call
from tenfold.serve.http.problems import Problem, problem_of
from tenfold.serve.http.shapes import FINISH, Part

T = TypeVar("T")
DONE = b"data: [DONE]\n\n"


class GoneError(Exception):
    """The client left before its answer."""


@dataclass
class Growing:
    """One answer so far. at: characters of it."""

    text: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish: str | None = None
    at: int = 0

    def add(self, event: Event, told: bool) -> Part:
        """Some more -> just that."""
        part = Part(event.text, event.logprobs if told else None, FINISH.get(event.finish or ""), self.at)
        self.text.append(event.text)
        self.logprobs += event.logprobs
        self.finish, self.at = part.finish, self.at + len(event.text)
        return part


async def respond(call: Call) -> Response:
    """The whole way of one request. Raises Problem."""
    await call.begin()
    if call.body.stream:
        return Stream(call)
    status = LEFT
    try:
        body = await unless_gone(call.request, whole(call))
        status = 200
        return JSONResponse(body, headers=call.headers())
    except GoneError:
        return Response(status_code=LEFT)
    except Problem as problem:
        status = problem.status_code
        raise
    finally:
        call.close(status)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do some work for a client, and stop where it leaves. Raises GoneError then."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise GoneError
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()


async def whole(call: Call) -> dict[str, Any]:
    """All answers, when the last one has ended."""
    assert call.job is not None
    told, grown = call.body.told is not None, [Growing() for _ in call.job.tickets]
    async for ticket, event in call.events():
        grown[ticket.number].add(event, told)
    tokenizer = call.service.coding.tokenizer
    parts = [Part("".join(one.text), one.logprobs if told else None, one.finish) for one in grown]
    choices = [call.shape.whole(i, part, tokenizer) for i, part in enumerate(parts)]
    return call.frame(call.shape.name, choices, usage=call.usage(), tenfold=call.decision())


async def stream(call: Call) -> AsyncGenerator[bytes, None]:
    """The same in chunks, ending with the counts where they are wanted, and [DONE]; or with an error."""
    assert call.job is not None
    shape, tokenizer, options = call.shape, call.service.coding.tokenizer, call.body.stream_options
    told, grown = call.body.told is not None, [Growing() for _ in call.job.tickets]
    opening = [choice for i in range(len(grown)) if (choice := shape.opening(i))]
    yield _event(call.frame(shape.piece, opening, tenfold=call.decision()))
    try:
        async for ticket, event in call.events():
            part = grown[ticket.number].add(event, told)
            if part.text or part.finish or part.logprobs:
                yield _event(call.frame(shape.piece, [shape.chunk(ticket.number, part, tokenizer)]))
    except Problem as problem:
        call.close(problem.status_code)
        yield _event(problem_of(problem).body())
        return
    if options.include_usage:
        yield _event(call.frame(shape.piece, [], usage=call.usage()))
    call.close(200)
    yield DONE


class Stream(StreamingResponse):
    """Server-sent events, closed however they end: also where the client left before the first."""

    def __init__(self, call: Call) -> None:
        headers = {**call.headers(), "cache-control": "no-store", "x-accel-buffering": "no"}
        self.call, self.events = call, stream(call)
        super().__init__(self.events, headers=headers, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.call.close(LEFT)
            with suppress(RuntimeError):
                await self.events.aclose()


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
