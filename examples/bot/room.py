"""A small chat room on this machine, with two people who talk and the bot; prints what is said."""

import argparse
import asyncio
import json
import sys
from itertools import cycle
from pathlib import Path

TALK = (("ann", "!hello"), ("bob", "!thanks ann"))


class Room:
    """Hands on to everybody what one says."""

    def __init__(self) -> None:
        """Open nobody's room; `serve` opens it."""
        self.present: set[asyncio.StreamWriter] = set()
        self.came = asyncio.Event()
        self.empty = asyncio.Event()

    async def serve(self) -> asyncio.Server:
        """Open the room on a free port of this machine."""
        return await asyncio.start_server(self.welcome, "127.0.0.1", 0)

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on what a newcomer says, until it leaves."""
        self.present.add(writer)
        self.empty.clear()
        self.came.set()
        try:
            while line := await reader.readline():
                self.say(**json.loads(line))
        except ConnectionError:
            pass  # it left in the middle of a word
        finally:
            self.present.discard(writer)
            writer.close()
            if not self.present:
                self.empty.set()

    def say(self, who: str, text: str) -> None:
        """Say something to everybody, and to the terminal."""
        print(f"{who}: {text}", flush=True)
        for writer in self.present:
            writer.write(json.dumps({"who": who, "text": text}).encode() + b"\n")


async def main(pause_s: float) -> None:
    """Open the room, bring the bot, talk."""
    room = Room()
    server = await room.serve()
    host, port = server.sockets[0].getsockname()
    program = str(Path(__file__).with_name("bot.py"))
    bot = await asyncio.create_subprocess_exec(sys.executable, program, host, str(port))
    try:
        await room.came.wait()
        for who, text in cycle(TALK):
            if bot.returncode is not None:
                sys.exit(f"The bot left with exit status {bot.returncode}.")
            room.say(who, text)
            await asyncio.sleep(pause_s)
    finally:
        if bot.returncode is None:
            bot.terminate()
        await bot.wait()
        if room.present:
            await room.empty.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two messages")
    try:
        asyncio.run(main(parser.parse_args().pause))
    except KeyboardInterrupt:
        pass
