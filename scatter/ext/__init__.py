"""Small helpers for other people's frameworks, where `scatter_agent.start()` alone is not enough.

Each module imports its framework, and nothing else of scatter imports any of them. This is the one
part of the library that may start the agent. What needs no helper is in `docs/integrations/`.
"""
