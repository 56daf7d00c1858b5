"""The server: OpenAI's API, the adapters' administration, metrics and the page. Needs the extra ``serve``."""

from tenfold import plugins

for _module in ("fastapi", "uvicorn", "prometheus_client"):
    plugins.optional(_module, "serve", "tenfold serve needs")
