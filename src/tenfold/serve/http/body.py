"""How much a request may send, and as what."""

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenfold.serve.http.problems import Problem


class BodyLimit:
    """Refuses bodies of more bytes, announced or not, and bodies that are not JSON: 413 and 415."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        problem = self._announced(Headers(scope=scope)) if scope["type"] == "http" else None
        if problem:
            await JSONResponse(problem.body(), problem.status_code)(scope, receive, send)
            return
        seen = 0

        async def receiving() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
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
