"""The full screen of `scatter top`: `app` is the screen, `rows` what is in its tables.

Only modules of this package import textual, which is an extra.

Invariants
1. The loop of the screen never asks the store: a thread follows the fleet, others do what keys
   ask for.
2. What others have reported, pushed or written is shown as plain text: no markup, no control
   characters.
3. Nothing is told by colour alone, and all of it can be done with the keyboard.
"""
