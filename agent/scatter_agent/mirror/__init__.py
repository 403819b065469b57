"""The mirror: one process of a host that keeps a copy of namespaces for all the others.

`daemon` is the process, with an agent for each namespace; `copy` is what such an agent keeps, by
`chain` and `relay`. Following, verifying and waiting are the agent's own (`scatter_agent.work`).

Not here: the layout of the directory (`scatter.store.layout`).
"""
