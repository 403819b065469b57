"""`python -m scatter` is the `scatter` command."""

from scatter.cli import main

main()
