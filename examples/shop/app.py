"""A small price service: `GET /price?item=coffee&quantity=3`, `GET /health`.

It prints its address as one line of JSON when it is ready, and ends on SIGTERM.
"""

import argparse
import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pricing
import scatter_agent


class Shop(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a GET request."""
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path == "/health":
            self.answer(200, {"agent": str(scatter_agent.status())})
        elif address.path != "/price":
            self.answer(404, {"error": f"there is no {address.path}"})
        else:
            self.answer(*total(query))

    def answer(self, status: int, body: dict[str, Any]) -> None:
        """Send a JSON body."""
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the terminal quiet."""


def total(query: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Return status and body for a question about a price."""
    try:
        item, quantity = query.get("item", "coffee"), int(query.get("quantity", "1"))
        cost = pricing.price(item, quantity)
    except (KeyError, ValueError) as error:
        return 400, {"error": repr(error)}
    return 200, {"item": item, "quantity": quantity, "total": cost, "asked": pricing.asked}


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description="A small price service.")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one")
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Shop)
    scatter_agent.start(application="shop")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever(poll_interval=0.1)
    scatter_agent.stop()
    sys.exit(0)


if __name__ == "__main__":
    main()
