"""Run the first script of docs/transport.md against a server on loopback: `python tests/transport/standalone.py`.

It needs nothing but the installed package, without its extras. Of aiowery, only the transport may be loaded afterwards.
"""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "transport.md"
URL: Final = "http://127.0.0.1:8765"
"""The URL in the script."""
ALLOWED: Final = re.compile(r"aiowery(\._base(\.public_names)?|\.transport(\._\w+)?)?")
"""The modules of the package that may be loaded: the transport, and the loader of public names."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep standard error empty."""


def run_script(url: str) -> None:
    """Run the script, which prints the status of a response from this URL."""
    found = re.search(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    assert URL in found[1]
    names: dict[str, Any] = {}
    exec(found[1].replace(URL, url), names)  # noqa: S102 - it is the page's own script
    asyncio.run(names["main"]())


def main() -> int:
    """Run the script, and return 1 if it has loaded another part of the package."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    run_script(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    own = {name for name in sys.modules if name.partition(".")[0] == "aiowery"}
    others = sorted(name for name in own if not ALLOWED.fullmatch(name))
    if others:
        sys.stderr.write(f"the transport must stand alone, but these were loaded too: {', '.join(others)}\n")
    return int(bool(others))


if __name__ == "__main__":
    sys.exit(main())
