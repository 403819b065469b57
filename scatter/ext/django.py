"""Django: an application that starts the agent in processes that serve.

INSTALLED_APPS = [..., "scatter.ext.django.ScatterConfig"]
SCATTER = {"namespace": "shop", "track": ["shop.*"]}  # as for `scatter_agent.start`; optional
"""

from __future__ import annotations

import os
import sys

from django.apps import AppConfig

_SERVING = ("runserver", "runserver_plus", "testserver")


class ScatterConfig(AppConfig):  # type: ignore[misc]
    """Starts the agent unless this is a command of `manage.py` that serves nothing."""

    name = "scatter.ext.django"
    label = "scatter"

    def ready(self) -> None:
        """Start the agent; Django calls this in every process, also in `manage.py migrate`."""
        import scatter_agent
        from django.conf import settings

        program = os.path.basename(sys.argv[0]) if sys.argv else ""
        is_command = program in ("manage.py", "django-admin", "__main__.py")
        if not is_command or (sys.argv[1:2] and sys.argv[1] in _SERVING):
            scatter_agent.start(**getattr(settings, "SCATTER", {}))
