"""What every request has to be: to this machine, from this page, and small."""

from __future__ import annotations

import re
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

MOST_BYTES = 2_500_000
"""Largest body of a request."""

_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")

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
    """Middleware: refuse other hosts (a name that was pointed at this machine), other origins and large bodies."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or answer why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = _refusal(headers)
        if refusal is not None:
            await PlainTextResponse(refusal[1], status_code=refusal[0])(scope, receive, send)
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await self.app(scope, _limited(receive), send_guarded)


def _refusal(headers: Headers) -> tuple[int, str] | None:
    if not _HOST.fullmatch(headers.get("host", "")):
        return 421, "this server answers on the loopback address only"
    origin = headers.get("origin")
    if origin is not None and not _ORIGIN.fullmatch(origin):
        return 403, "requests from other pages are refused"
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MOST_BYTES:
        return 413, f"the request is larger than {MOST_BYTES} bytes"
    return None


def _limited(receive: Any) -> Any:
    """Count what comes, for requests that do not say their length."""
    seen = 0

    async def counted() -> Any:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MOST_BYTES:
            return {"type": "http.disconnect"}
        return message

    return counted
