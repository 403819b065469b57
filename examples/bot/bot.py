"""The bot: one connection to a room that it keeps for months.

    python bot.py HOST PORT

A line of the room is JSON: `{"who": "ann", "text": "!hello"}`.
"""

import asyncio
import json
import sys

import replies
import scatter_agent

NAME = "bot"


async def talk(host: str, port: int) -> None:
    """Answer until the room closes."""
    reader, writer = await asyncio.open_connection(host, port)
    while line := await reader.readline():
        said = json.loads(line)
        if said["who"] == NAME:
            continue
        answer = await replies.reply(said["who"], said["text"])
        if answer is not None:
            writer.write(json.dumps({"who": NAME, "text": answer}).encode() + b"\n")
            await writer.drain()


if __name__ == "__main__":
    scatter_agent.start(application="bot")
    try:
        asyncio.run(talk(sys.argv[1], int(sys.argv[2])))
    except KeyboardInterrupt:
        pass
