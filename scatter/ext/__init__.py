"""Helpers for frameworks, one module each; a framework is imported in its own helper only.

Most servers need none: `scatter_agent.start()` is enough (`docs/integrations`). This is the one
part of the library that may start the agent, and nothing of the rest needs it.
"""
