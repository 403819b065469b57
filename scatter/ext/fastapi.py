"""FastAPI and Starlette: every endpoint and dependency is tracked, with the source left alone."""

from __future__ import annotations

from typing import Any

from scatter.ext.reach import track_app


def integrate_app(app: Any) -> tuple[str, ...]:
    """Track the modules of an application's endpoints, dependencies and handlers, each whole.

    Routes and routers that are added later are tracked as soon as the application is first called.
    Start the agent as well: `scatter_agent.start()`.

    Args:
        app: A FastAPI or Starlette application.

    Returns:
        The full names of the functions that are tracked now.

    """
    build = app.build_middleware_stack

    def build_middleware_stack() -> Any:
        track_app(app)
        return build()

    app.build_middleware_stack = build_middleware_stack
    return track_app(app)
