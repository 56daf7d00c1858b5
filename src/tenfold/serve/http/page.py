"""The page: three files from the package, nothing from elsewhere."""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import Response

router = APIRouter(include_in_schema=False)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}  # fmt: skip
TYPES = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


def serve(name: str) -> Response:
    """One of the page's files."""
    content = files("tenfold.serve").joinpath("page", name).read_bytes()
    return Response(content, media_type=TYPES[name], headers=HEADERS)


@router.get("/")
def index() -> Response:
    """The page itself."""
    return serve("index.html")


@router.get("/page/{name}")
def part(name: str) -> Response:
    """What the page is made of."""
    if name not in TYPES:
        return Response(status_code=404)
    return serve(name)
