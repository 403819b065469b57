"""What the bot answers. Edit me, save, and read on in the room."""

import asyncio

import scatter

points: dict[str, int] = {}  # state: the bot remembers, whatever becomes of the code


@scatter.track
async def reply(who: str, text: str) -> str | None:
    """Return the answer to a message, None for none."""
    await asyncio.sleep(0)  # where a bot would ask somebody
    word, _, rest = text.partition(" ")
    if word == "!thanks":
        points[rest] = points.get(rest, 0) + 1
        return f"{rest} has {points[rest]} points"
    if word == "!hello":
        return f"hello {who}"
    return None
