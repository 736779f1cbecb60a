"""A vendor's service on this machine: answers each path with one answer, and remembers what was asked."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from contrast_tasks.attestation.endorsements.fetch import Answer


class FakeVendor:
    """Serves `answers` by path; any other path is 404. Stop it when done."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.seen: list[str] = []
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                vendor.seen.append(self.path)
                answer = vendor.answers.get(self.path, Answer(status=404))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def address(self) -> str:
        """Return the prefix that stands for the vendor's own."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Stop serving and join the thread."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
