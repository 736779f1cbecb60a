"""Vendors' services on this machine: they send prepared answers, and record the requests."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from contrast_tasks.web.answers import Answer


class _Loopback:
    """A server on a free port that records the requested paths in `seen`; stop it when done."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                vendor.seen.append(self.path)
                answer = vendor.answer(self.path)
                self.send_response_only(answer.status)  # no date but the test's
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "content-length" not in answer.headers:
                    self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, path: str) -> Answer:
        raise NotImplementedError

    @property
    def address(self) -> str:
        """Return the address prefix that replaces the vendor's."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        """Stop serving and join the thread."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class FakeVendor(_Loopback):
    """Serves `answers` by path, and 404 for other paths."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        super().__init__()

    def answer(self, path: str) -> Answer:
        return self.answers.get(path, Answer(status=404))


class Vendor(_Loopback):
    """Serves the answers of each path in order, and then the last one again."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        super().__init__()

    def answer(self, path: str) -> Answer:
        queue = self.answers.get(path, [Answer(status=404)])
        return queue.pop(0) if len(queue) > 1 else queue[0]


class Clock:
    """A clock that advances only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
