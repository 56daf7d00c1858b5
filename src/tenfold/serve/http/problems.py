"""What went wrong, in the shape that OpenAI's clients read, each with its HTTP status."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tenfold.errors import AdapterError, ConfigError, DataError, ModelError, QueueError, TenfoldError

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
CODES = {404: "not_found", 405: "method_not_allowed"}


class Problem(HTTPException):
    """An answer that is an error. param: the field that is wrong; code: a word for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.param, self.code = param, code

    def body(self) -> dict[str, Any]:
        """``{"error": {...}}`` as OpenAI's clients read it."""
        kind = TYPES.get(self.status_code, "invalid_request_error" if self.status_code < 500 else "server_error")
        return {"error": {"message": self.detail, "type": kind, "param": self.param, "code": self.code}}


def unknown_model(name: str) -> Problem:
    """For a model that is not there, and for one that the key may not use: nobody learns which of both."""
    message = f"the model {name!r:.220} does not exist, or your key may not use it"
    return Problem(404, message, param="model", code="model_not_found")


def problem_of(error: Exception) -> Problem:
    """What an error means to a client."""
    if isinstance(error, Problem):
        return error
    message = " ".join(str(error).split())
    if isinstance(error, QueueError):
        return Problem(503, message, code="queue_full", headers={"retry-after": "1"})
    if isinstance(error, AdapterError | ConfigError | DataError | ModelError):
        return Problem(400, message, param=message.partition(":")[0] if ":" in message else None)
    if isinstance(error, TenfoldError):  # an extra that this server lacks
        return Problem(501, message, code="not_offered")
    return Problem(500, "an error of the server; its log says where")


async def on_http(request: Request, error: Exception) -> JSONResponse:
    """For an address or a method that is not there, and for every Problem."""
    assert isinstance(error, HTTPException)
    status, code = error.status_code, CODES.get(error.status_code)
    problem = error if isinstance(error, Problem) else Problem(status, str(error.detail), code=code)
    return JSONResponse(problem.body(), status, dict(error.headers or {}))


async def on_invalid(request: Request, error: Exception) -> JSONResponse:
    """For a body that is not what it must be; what was given is not repeated."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    message = "unknown field" if first["type"] == "extra_forbidden" else str(first["msg"]).removeprefix("Value error, ")
    problem = Problem(400, f"{where}: {message}" if where else message, param=where or None, code="invalid_body")
    return JSONResponse(problem.body(), 400)


async def on_tenfold(request: Request, error: Exception) -> JSONResponse:
    """For mistakes that tenfold itself found in what was asked."""
    problem = problem_of(error)
    return JSONResponse(problem.body(), problem.status_code, dict(problem.headers or {}))


async def on_failure(request: Request, error: Exception) -> JSONResponse:
    """For what nobody foresaw; the log says where."""
    return JSONResponse(Problem(500, "an error of the server; its log says where").body(), 500)
