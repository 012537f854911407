"""The application behind the page: files of the page, and answers that depend on the request alone."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from encollapse._internal.json_values import plain
from encollapse._internal.typing import FloatArray
from encollapse.encodings.registry import ENCODINGS
from encollapse.errors import EncollapseError, FileFormatError
from encollapse.explorer.api.request_queue import QueueFullError, RequestQueue
from encollapse.explorer.api.security import SecurityMiddleware
from encollapse.explorer.state import matrix_input, state
from encollapse.explorer.state.fields import FieldError
from encollapse.explorer.state.problem import held, option_kind, resolved
from encollapse.explorer.views import bias_path, snippets, tooltips
from encollapse.explorer.views.bias_path import SupersededError
from encollapse.explorer.views.design import design, target_of
from encollapse.explorer.views.dynamics import dynamics
from encollapse.explorer.views.runs import RunsFolder
from encollapse.explorer.views.solution import picture

STATIC = Path(__file__).parents[1] / "static"


def application(runs: RunsFolder | None = None) -> Starlette:
    """Make the application. It keeps nothing of a visitor but the number of the last request."""
    explorer = _Explorer(runs)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        yield
        explorer.queue.close()

    return Starlette(
        routes=[
            Route("/", _page),
            Route("/plotly.js", _plotly),
            Route("/api/start", explorer.start),
            Route("/api/picture", explorer.answer(_picture), methods=["POST"]),
            Route("/api/line", explorer.answer(explorer.line), methods=["POST"]),
            Route("/api/snippets", explorer.answer(_snippets), methods=["POST"]),
            Route("/api/design", explorer.answer(_design), methods=["POST"]),
            Route("/api/dynamics", explorer.answer(_dynamics), methods=["POST"]),
            Route("/api/matrix", explorer.matrix, methods=["POST"]),
            Route("/api/runs", explorer.summary),
            Route("/api/runs/{trial}", explorer.trial),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(SecurityMiddleware)],
        exception_handlers={UnicodeEncodeError: _no_text, ClientDisconnect: _nobody},
        lifespan=lifespan,
    )


async def _gone(request: Request) -> None:
    """Return once nobody waits for the answer."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _no_text(request: Request, error: Exception) -> Response:
    """Half a character, such as a lone surrogate: no text that could be shown or sent."""
    return _json({"errors": {"address": "the request holds characters that are no text"}}, status=400)


async def _nobody(request: Request, error: Exception) -> Response:
    """For whoever has gone."""
    return Response(status_code=400)


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html")


async def _plotly(request: Request) -> Response:
    import plotly

    source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return FileResponse(source, media_type="text/javascript", headers={"Cache-Control": "private, max-age=86400"})


class Question(BaseModel):
    """What the page asks: its controls as text, and which of its requests this is."""

    client: str = Field(max_length=64)
    order: int
    values: dict[str, Any]
    lenient: bool = False
    previous: Any = None
    hold: float | None = Field(default=None, gt=0, allow_inf_nan=False)


Work = Callable[[state.State, Question, Callable[[], bool]], dict[str, Any]]


class _Explorer:
    """Answers of one server: the threads that compute, and the study folder if there is one."""

    def __init__(self, runs: RunsFolder | None) -> None:
        self.runs, self.queue = runs, RequestQueue()

    async def start(self, request: Request) -> Response:
        """What the page has to know once: the encodings, defaults, limits and texts."""
        return _json(
            {
                "encodings": _catalog(),
                "defaults": state.defaults(),
                "tooltips": tooltips.tooltips(),
                "runs": self.runs is not None,
                "slider": [bias_path.decay_at(p) for p in range(bias_path.STEPS + 1)],
                "limits": {"characters": matrix_input.MOST_CHARACTERS, "classes": matrix_input.MOST_CLASSES},
            }
        )

    def answer(self, work: Work) -> Callable[[Request], Awaitable[Response]]:
        """Make an endpoint: read the controls, compute in a thread, say beside which field something is wrong."""

        async def endpoint(request: Request) -> Response:
            try:
                body = Question.model_validate_json(await request.body())
            except ValidationError:
                return _json(
                    {"errors": {"address": "The request of the page cannot be read. Reload the page."}}, status=400
                )
            chosen, errors = state.parse(body.values)
            if errors and not body.lenient:
                return _json({"errors": errors})
            try:
                result = await self.queue.run(
                    body.client,
                    request.url.path,
                    body.order,
                    lambda wanted: work(chosen, body, wanted),
                    lambda: _gone(request),
                )
            except QueueFullError:
                return _json(
                    {"errors": {"address": "Too many requests wait for an answer. Try again in a moment."}}, status=503
                )
            except FieldError as error:
                return _json({"errors": errors | {error.field: error.message}})
            except SupersededError:
                return _json({"superseded": True})
            return _json({"errors": errors, "address": state.address(chosen), **result})

        return endpoint

    def line(self, chosen: state.State, body: Question, wanted: Callable[[], bool]) -> dict[str, Any]:
        """The line along the bias decay, with the trained networks that belong to it."""
        matching = [] if self.runs is None else self.runs.points_of(chosen)
        return {"line": bias_path.line(chosen, wanted), "points": matching}

    async def matrix(self, request: Request) -> Response:
        """Read a file that was chosen in the browser. It is held in memory and nowhere else."""
        field = request.query_params.get("field", "matrix")
        name = request.query_params.get("name", "")
        if field not in ("matrix", "similarity", f"{state.PREFIX}S"):
            return _json({"errors": {"address": "no such field"}}, status=400)
        content = await request.body()
        try:
            values = await asyncio.to_thread(matrix_input.from_file, name, content)
        except ValueError as error:
            return _json({"errors": {field: str(error)}})
        return _json({"text": matrix_input.as_text(values), "shape": list(values.shape)})

    async def summary(self, request: Request) -> Response:
        """The study as it is now."""
        if self.runs is None:
            return _json({"error": "no study folder was given"}, status=404)
        answer = await _reading(self.runs.summary)
        # What the browser has is shown again where nothing has changed since: then only the tag travels.
        tag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
        known = {"ETag": tag, "Cache-Control": "no-cache"}
        answer.headers.update(known)
        return Response(status_code=304, headers=known) if request.headers.get("if-none-match") == tag else answer

    async def trial(self, request: Request) -> Response:
        """One trial, found by its identity among those of the study."""
        if self.runs is None:
            return _json({"error": "no study folder was given"}, status=404)
        runs, wanted = self.runs, request.path_params["trial"]
        return await _reading(lambda: runs.trial(wanted))


async def _reading(read: Callable[[], dict[str, Any] | None]) -> Response:
    try:
        found = await asyncio.to_thread(read)
    except (EncollapseError, FileFormatError, OSError) as error:
        return _json({"error": f"the study folder cannot be read now: {type(error).__name__}"}, status=503)
    if found is None:
        return _json({"error": "the study has no such trial"}, status=404)
    return _json(found)


def _picture(chosen: state.State, body: Question, wanted: Callable[[], bool]) -> dict[str, Any]:
    chosen = _settled(chosen, body)
    return {"picture": picture(chosen, _previous(body.previous)), "address": state.address(chosen)}


def _design(chosen: state.State, body: Question, wanted: Callable[[], bool]) -> dict[str, Any]:
    chosen = _settled(chosen, body, len(target_of(chosen)[0]))
    return {"design": design(chosen, _previous(body.previous)), "address": state.address(chosen)}


def _dynamics(chosen: state.State, body: Question, wanted: Callable[[], bool]) -> dict[str, Any]:
    chosen = _settled(chosen, body)
    return {"dynamics": dynamics(chosen, wanted), "address": state.address(chosen)}


def _settled(chosen: state.State, body: Question, num_classes: int | None = None) -> state.State:
    """The state with the decays that its recipe, or the threshold to keep, implies."""
    if chosen.recipe != "none":
        return resolved(chosen, num_classes)
    return chosen if body.hold is None else held(chosen, body.hold, num_classes)


def _snippets(chosen: state.State, body: Question, wanted: Callable[[], bool]) -> dict[str, Any]:
    return {"snippets": snippets.snippets(chosen), "file": snippets.encoding_file(chosen)}


def _previous(value: Any) -> FloatArray | None:
    """Points that the page says it drew last. Anything else counts as none."""
    if not isinstance(value, list) or not 0 < len(value) <= matrix_input.MOST_CLASSES:
        return None
    try:
        points = np.array(value, dtype=np.float64)
    except (ValueError, TypeError):
        return None
    fine = points.shape == (len(value), 3) and np.isfinite(points).all() and np.abs(points).max() <= 2
    return points if fine else None


def _catalog() -> list[dict[str, Any]]:
    listed = []
    for name, entry in ENCODINGS.items():
        example = entry.example_for(4)
        options = [
            {
                "name": option,
                "kind": option_kind(entry, option),
                "default": _shown(example.get(option, None if default.default is default.empty else default.default)),
            }
            for option, default in entry.options.items()
        ]
        listed.append({"name": name, "summary": entry.summary.replace("`", ""), "options": options})
    return listed


def _shown(value: Any) -> str:
    return "" if value is None else json.dumps(value)


def _json(value: dict[str, Any], status: int = 200) -> JSONResponse:
    return JSONResponse(plain(value), status_code=status, headers={"Cache-Control": "no-store"})
