"""One request from its arrival to its last token."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from fastapi import Request

from tenfold.errors import TenfoldError
from tenfold.evaluate import BASE_LABEL
from tenfold.generate.event import Event
from tenfold.serve.bridge import FAILED, Ticket
from tenfold.serve.http import guard, order
from tenfold.serve.http.access import note
from tenfold.serve.http.order import Body
from tenfold.serve.http.problems import Problem, problem_of
from tenfold.serve.http.shapes import Shape
from tenfold.serve.http.state import State
from tenfold.serve.job import Job
from tenfold.serve.keys import Key


class Call:
    """What belongs to one request. ``begin`` it, and ``close`` it with the status that it ended with."""

    def __init__(self, request: Request, key: Key | None, body: Body, shape: Shape) -> None:
        self.request, self.key, self.body, self.shape = request, key, body, shape
        self.state = State.of(request)
        self.service = self.state.service
        self.deadline = asyncio.get_running_loop().time() + self.service.limits.seconds
        self.began = time.perf_counter()
        self.job: Job | None = None
        self._head = {"id": shape.prefix + secrets.token_hex(12), "created": int(time.time())}
        self._closed = False

    async def begin(self) -> Job:
        """Choose, make tokens, ask the engine. Raises Problem, with nothing left under way."""
        self._enter()
        try:
            async with asyncio.timeout_at(self.deadline):
                self.job = await order.start(self.service, self.body, self.key)
        except TimeoutError:
            self.close(504)
            raise self._late() from None
        except TenfoldError as error:
            problem = problem_of(error)
            self.close(problem.status_code)
            raise problem from None
        except BaseException as error:
            self.close(error.status_code if isinstance(error, Problem) else 500)
            raise
        return self.job

    def _enter(self) -> None:
        try:
            if self.service.draining:
                raise Problem(503, "the server is about to stop", code="draining", headers={"retry-after": "1"})
            guard.enter(self.key)
        except Problem as problem:
            self.state.metrics.refused(problem.status_code)
            raise

    async def events(self) -> AsyncIterator[tuple[Ticket, Event]]:
        """What comes. Raises Problem for what ended with an error, or too late."""
        assert self.job is not None
        try:
            async for ticket, event in self.job.events(self.deadline):
                if event.finish in ("error", "cancelled"):
                    raise Problem(500, FAILED, code="engine_failed")
                yield ticket, event
        except TimeoutError:
            raise self._late() from None

    def close(self, status: int) -> None:
        """Count and log how it ended, and leave nothing under way; only the first time matters."""
        if self._closed:
            return
        self._closed = True
        job = self.job
        if job is None:
            self.state.metrics.refused(status)
            guard.leave(self.key, 0)
            return
        job.cancel()
        guard.leave(self.key, job.prompt_tokens + job.new_tokens)
        self.state.metrics.ended(job, status)
        first = [ticket.first for ticket in job.tickets if ticket.first]
        note(
            self.request.scope, adapter=job.skill.name, auto=job.choice is not None, prompt_tokens=job.prompt_tokens,
            new_tokens=job.new_tokens, answers=len(job.tickets), outcome=status,
            first_token_seconds=round(min(first) - self.began, 4) if first else None,
        )  # fmt: skip

    def frame(self, name: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """The object around some choices."""
        assert self.job is not None
        return {
            **self._head, "object": name, "model": self.job.skill.name,
            "system_fingerprint": self.service.base.fingerprint[:16], "choices": choices, **more,
        }  # fmt: skip

    def usage(self) -> dict[str, Any]:
        """Counts of tokens."""
        assert self.job is not None
        prompt, new = self.job.prompt_tokens, self.job.new_tokens
        return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}

    def decision(self) -> dict[str, Any]:
        """Which adapters answer, in which generation, and how the router chose them."""
        assert self.job is not None
        job, choice = self.job, self.job.choice
        chosen = None if choice is None else {
            "adapter": choice.adapter, "probability": choice.probability, "out_of_scope": choice.out_of_scope,
            "reason": choice.reason, "probabilities": dict(choice.probabilities),
        }  # fmt: skip
        adapter = None if job.skill.name == BASE_LABEL else job.skill.name
        return {"adapter": adapter, "generations": dict(job.pins.generations), "choice": chosen}

    def headers(self) -> dict[str, str]:
        """The decision for clients that don't read the body."""
        assert self.job is not None
        found = {"x-tenfold-adapter": quote(self.job.skill.name, safe=" :+()[]")}
        if self.job.choice:
            found["x-tenfold-probability"] = f"{self.job.choice.probability:.4f}"
        return found

    def _late(self) -> Problem:
        return Problem(504, f"no answer within {self.service.limits.seconds:g} seconds", code="timeout")
