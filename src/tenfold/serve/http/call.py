"""One request from its arrival to its last token."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from fastapi import Request

from tenfold.errors import AdapterError, DataError, TenfoldError
from tenfold.evaluate import BASE_LABEL
from tenfold.generate.event import Event
from tenfold.serve.asking import Wanted
from tenfold.serve.bridge import FAILED, Ticket
from tenfold.serve.choosing import Choice
from tenfold.serve.http import guard, shapes
from tenfold.serve.http.access import note
from tenfold.serve.http.problems import Problem, problem_of, unknown_model
from tenfold.serve.http.schemas import ChatBody, CompletionBody
from tenfold.serve.http.shapes import Shape
from tenfold.serve.http.state import State
from tenfold.serve.job import Job
from tenfold.serve.keys import Key
from tenfold.serve.service import some_seed
from tenfold.serve.skills import AUTO, Skill, names


class Call:
    """What belongs to one request. ``begin`` it, and ``close`` it with the status that it ended with."""

    def __init__(self, request: Request, key: Key | None, body: ChatBody | CompletionBody, shape: Shape) -> None:
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
                self.job = await self._start()
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

    async def _start(self) -> Job:
        skill, choice = await self._skill()
        prompts = shapes.prompts(self.body, skill)
        texts = [one for one in prompts if not isinstance(one, list)]
        tokens = await self.service.encode(texts) if texts else [one for one in prompts if isinstance(one, list)]
        self._check(tokens)
        body = self.body
        seed = some_seed()
        wanted = Wanted(
            [body.sampling(seed, number) for number in range(body.n)],
            body.most,
            body.stops,
            body.told,
            body.json_wanted,
        )
        try:
            return await self.service.start(skill, choice, tokens, wanted, self.key.name if self.key else "")
        except AdapterError as error:  # it was unloaded meanwhile, or its files cannot be read any more
            there = skill.mixed or skill.name in {BASE_LABEL, *(one.name for one in self.service.skills.all())}
            raise Problem(503, str(error), code="adapter_unavailable") if there else unknown_model(skill.name) from None

    async def _skill(self) -> tuple[Skill, Choice | None]:
        """Whom the request means. Raises Problem 404 for what is not there or not for this key."""
        model = self.body.model
        try:
            if model == AUTO:
                skill, choice = await self.service.choose(shapes.asked(self.body), self._may)
            else:
                skill, choice = self.service.find(model), None
        except AdapterError as error:
            if model == AUTO:
                raise Problem(404, str(error), param="model", code="model_not_found") from None
            raise unknown_model(model) from None
        if not self._may(names(skill.name)):
            raise unknown_model(model)
        return skill, choice

    def _may(self, wanted: list[str]) -> bool:
        return self.key is None or self.key.may(wanted)

    def _check(self, prompts: list[list[int]]) -> None:
        limits, room = self.service.limits, self.service.room
        vocabulary = self.service.base.model.config.get_text_config().vocab_size
        if len(prompts) * self.body.n > limits.answers:
            raise Problem(
                400, f"{len(prompts)} prompts times n {self.body.n}: at most {limits.answers} answers", param="n"
            )
        if (self.body.most or 0) > limits.new_tokens:
            raise Problem(
                400, f"max_tokens: at most {limits.new_tokens}", param="max_tokens", code="max_tokens_too_large"
            )
        for tokens in prompts:
            if len(tokens) > room:
                message = f"the prompt has {len(tokens)} tokens; at most {room}"
                raise Problem(400, message, param="messages", code="context_length_exceeded")
            if any(not 0 <= token < vocabulary for token in tokens):
                raise DataError(f"prompt: tokens are numbers from 0 to {vocabulary - 1}")

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
