"""The FastAPI app: the routes of `routes`, every error a problem document, all of it behind `access`."""

from __future__ import annotations

from fastapi import FastAPI

from trainerd import __version__
from trainerd.control import problems
from trainerd.control.access import Access
from trainerd.control.plane import ControlPlane
from trainerd.control.routes import commands, files, orders, runs, status

OPENAPI_PATH = "/v1/openapi.json"


def build_app(plane: ControlPlane) -> FastAPI:
    """The app of one control plane."""
    app = FastAPI(
        title="trainerd",
        version=__version__,
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.plane = plane
    for noun in (status, runs, orders, files, commands):
        app.include_router(noun.router)
    problems.install(app)
    app.add_middleware(Access, owner=plane.owner)
    return app
