"""A small service to be watched: `python -m alertd.demo.sample --port N` answers GET with 200.

SIGUSR1 makes it flaky (every other answer is 503, beginning with the next), SIGUSR2 makes it well again. It starts
quickly: the standard library alone.
"""

from __future__ import annotations

import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Sample(HTTPServer):
    """The service; `is_flaky` and `was_well` decide the next answer."""

    is_flaky = False
    was_well = True

    def next_status(self) -> int:
        """Return the status of the next answer."""
        self.was_well = not (self.is_flaky and self.was_well)
        return 200 if self.was_well else 503


class _Answer(BaseHTTPRequestHandler):
    server: Sample

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(self.server.next_status())
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Keep quiet."""


def main() -> None:
    """Serve until killed."""
    server = Sample(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), _Answer)

    def turn(number: int, _frame: object) -> None:
        server.is_flaky = number == signal.SIGUSR1

    signal.signal(signal.SIGUSR1, turn)
    signal.signal(signal.SIGUSR2, turn)
    server.serve_forever()


if __name__ == "__main__":
    main()
