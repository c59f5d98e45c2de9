"""A service over HTTP on this machine, in a thread: what doubles of clouds and clusters stand on. Faults are switched on by tests."""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Asked:
    """A request, as it came."""

    method: str
    path: str
    query: dict[str, str]
    body: dict
    headers: dict[str, str]

    def __str__(self):
        return f"{self.method} {self.path}"


class Refusal(Exception):
    """The service says no."""

    def __init__(self, status, reason, message=""):
        super().__init__(status, reason, message)
        self.status, self.reason, self.message = status, reason, message or reason


@dataclass
class Fault:
    """What goes wrong with requests whose text has ``where`` in it, so many times."""

    where: str
    times: int
    status: int = 0  # 0: the connection is cut
    accepted: bool = True  # whether the request is carried out all the same


@dataclass
class Service:
    """Subclasses answer in `handle`, and show a refusal in `refusal`."""

    asked: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    url: str = ""

    def __post_init__(self):
        self.lock = threading.RLock()

    def handle(self, asked):
        raise NotImplementedError

    def refusal(self, error):
        return {"error": {"code": error.status, "message": error.message, "errors": [{"reason": error.reason}]}}

    # ------------------------------------------------------------------ faults
    def cut(self, where, times=1, *, accepted=True):
        """The answer never comes."""
        self.faults.append(Fault(where, times, 0, accepted))

    def fail(self, where, status, times=1, *, accepted=False):
        """It says that it failed."""
        self.faults.append(Fault(where, times, status, accepted))

    def count(self, where):
        """How many requests had this in their text."""
        return sum(where in str(asked) for asked in self.asked)

    # ------------------------------------------------------------------ the wire
    def answer(self, asked):
        """(status, content, headers as pairs …) or None for no answer."""
        with self.lock:
            self.asked.append(asked)
            fault = next((fault for fault in self.faults if fault.times > 0 and fault.where in str(asked)), None)
            if fault is not None:
                fault.times -= 1
                if not fault.accepted:
                    return (fault.status, self.refusal(Refusal(fault.status, "told to"))) if fault.status else None
            try:
                answer = self.handle(asked)
            except Refusal as error:
                answer = error.status, self.refusal(error)
            if fault is not None:
                return (fault.status, self.refusal(Refusal(fault.status, "told to"))) if fault.status else None
            return answer

    @contextlib.contextmanager
    def running(self):
        """Serves on a port of this machine."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def reply(self):
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length) if length else b""
                path, _, query = self.path.partition("?")
                asked = Asked(
                    self.command,
                    urllib.parse.unquote(path),
                    dict(urllib.parse.parse_qsl(query)),
                    json.loads(raw) if raw else {},
                    {key.title(): value for key, value in self.headers.items()},
                )
                answer = service.answer(asked)
                if answer is None:
                    self.close_connection = True
                    return
                status, content, *headers = answer
                data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = reply  # noqa: N815 - the names that the base class calls

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = False  # closing waits for them

            def handle_error(self, *_):
                pass  # clients that hang up

        server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
