"""How much a request may send, as what, and how long that may take."""

import asyncio

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenfold.serve.http.problems import Problem

PATIENCE = 30.0
"""Seconds that a body may take to arrive."""


class BodyLimit:
    """Refuses bodies of more bytes, announced or not, that are not JSON, or never end: 413, 415, 408."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        problem = self._announced(Headers(scope=scope)) if scope["type"] == "http" else None
        if problem:
            await JSONResponse(problem.body(), problem.status_code)(scope, receive, send)
            return
        seen, whole = 0, False
        deadline = asyncio.get_running_loop().time() + PATIENCE

        async def receiving() -> Message:
            nonlocal seen, whole
            try:
                async with asyncio.timeout_at(None if whole else deadline):
                    message = await receive()
            except TimeoutError:
                raise Problem(408, f"the body did not arrive within {PATIENCE:g} seconds", code="timeout") from None
            seen, whole = seen + len(message.get("body", b"")), not message.get("more_body", False)
            if seen > self.limit:
                raise self._too_large()
            return message

        await self.app(scope, receiving, send)

    def _announced(self, headers: Headers) -> Problem | None:
        length, kind = headers.get("content-length", "0"), headers.get("content-type", "")
        if not length.isdigit() or int(length) > self.limit:
            return self._too_large()
        has_body = length != "0" or "transfer-encoding" in headers
        if has_body and kind.partition(";")[0].strip().lower() != "application/json":
            return Problem(415, "the body must be application/json", code="unsupported_media_type")
        return None

    def _too_large(self) -> Problem:
        return Problem(413, f"the body has more than {self.limit} bytes", code="body_too_large")
