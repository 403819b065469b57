"""Flask: every view and handler is tracked, with the source left alone."""

from __future__ import annotations

from typing import Any

from scatter.ext.reach import track_app


def integrate_app(app: Any) -> tuple[str, ...]:
    """Track the modules of an application's views and handlers, each whole.

    Views and blueprints that are added later are tracked with the first request. Start the agent as
    well: `scatter_agent.start()`.

    Args:
        app: A Flask application.

    Returns:
        The full names of the functions that are tracked now.

    """
    serve = app.wsgi_app

    def wsgi_app(environ: Any, start_response: Any) -> Any:
        if app.wsgi_app is wsgi_app:
            app.wsgi_app = serve
        track_app(app)
        return serve(environ, start_response)

    app.wsgi_app = wsgi_app
    return track_app(app)
