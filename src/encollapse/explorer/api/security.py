"""What every request has to be: to this machine, from this page, and small."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

MOST_BYTES = 2_500_000
"""Largest body of a request."""

_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")

SECONDS = 20.0
"""How long the rest of a request may keep the server waiting."""

# Nothing is fetched from, framed by or sent to anywhere else. Plotly writes style elements, hence unsafe-inline.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityMiddleware:
    """Middleware: refuse other hosts (a name that was pointed at this machine), other pages and large bodies.

    A page of another address can send a browser here without asking, but neither with our address as its origin nor
    with a body that says it is JSON or a file.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or answer why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = _refusal(headers, scope["method"], scope["path"])
        if refusal is not None:
            await PlainTextResponse(refusal[1], status_code=refusal[0])(scope, receive, send)
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        body = _Body(receive)
        try:
            await self.app(scope, body.receive, send_guarded)
        except BodyError as error:
            await PlainTextResponse(str(error), status_code=error.status)(scope, receive, send_guarded)


class BodyError(Exception):
    """A body that is refused, with the status of the refusal."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def _refusal(headers: Headers, method: str, path: str) -> tuple[int, str] | None:
    if not _HOST.fullmatch(headers.get("host", "")):
        return 421, "this server answers on the loopback address only"
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "none") if path.startswith("/api/") else "none"
    if origin not in (None, f"http://{headers['host']}") or site not in ("none", "same-origin"):
        return 403, "requests from other pages are refused"
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method == "POST" and kind not in ("application/json", "application/octet-stream"):
        return 415, "the body has to be application/json, or application/octet-stream for a file"
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MOST_BYTES:
        return 413, f"the request is larger than {MOST_BYTES} bytes"
    return None


class _Body:
    """What comes of a body, counted, for requests that do not say their length, and waited for in bounds."""

    def __init__(self, receive: Any) -> None:
        self._receive, self._seen, self._whole = receive, 0, False

    async def receive(self) -> Any:
        """The next message. After the body it is the word that the client has gone, for which nothing is too late."""
        try:
            message = await asyncio.wait_for(self._receive(), None if self._whole else SECONDS)
        except TimeoutError:
            raise BodyError(408, f"the request was not sent within {SECONDS:g} seconds") from None
        self._whole = not message.get("more_body", False)
        self._seen += len(message.get("body", b""))
        if self._seen > MOST_BYTES:
            raise BodyError(413, f"the request is larger than {MOST_BYTES} bytes")
        return message
