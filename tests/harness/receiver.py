"""A receiver of webhooks on loopback: it notes what comes, and answers as a test scripts it."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from standardwebhooks.webhooks import Webhook

from tests.harness.certificates import Pair

SECRET = "whsec_dGhpcnR5LXR3byBieXRlcyBvZiBhIHRlc3QncyBzZWNyZXQh"


class Delivery(NamedTuple):
    """One message: its id, and its content once the signature was seen to be right."""

    id: str
    event: dict[str, Any]


class Receiver:
    """Serves inside ``with``. ``answer`` gives the status for each delivery, after ``hold`` where that is set; 302 leads to /elsewhere.
    With a ``certificate`` it is reached by TLS alone."""

    def __init__(self, certificate: Pair | None = None) -> None:
        self.deliveries: list[Delivery] = []
        self.paths: list[str] = []
        self.answer: Callable[[Delivery], int] = lambda _: 204
        self.hold: threading.Event | None = None
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.paths.append(self.path)
                delivery = Delivery(self.headers["webhook-id"], Webhook(SECRET).verify(body, dict(self.headers)))
                receiver.deliveries.append(delivery)
                if receiver.hold is not None:
                    receiver.hold.wait(30)
                status = receiver.answer(delivery)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            # The handshake is the handler's thread's: one that fails ends no other.
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}/hook"

    def of(self, kind: str) -> list[Delivery]:
        """The deliveries of one type of event."""
        return [delivery for delivery in list(self.deliveries) if delivery.event["type"] == kind]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.hold is not None:
            self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
