"""`python -m scatter_agent`."""

from scatter_agent.commands import main

main()
