"""JSON over HTTP for services of clouds, with the standard library alone: a request has a deadline, an answer a size, and a failure says whether it was sent.

A token is sent over encrypted connections only, and to nobody that an answer redirects to.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Final

from plait.errors import ConfigurationError, ExecutionProviderException, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from email.message import Message

_MAX_BYTES: Final = 16 << 20
_HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})
#: Google's names of an error for more requests in a minute than a project, a user or a thing may have.
_TOO_MANY: Final = frozenset(
    {
        "rateLimitExceeded",
        "userRateLimitExceeded",
        "RATE_LIMIT_EXCEEDED",
        "resourceOperationRateExceeded",
        "RESOURCE_OPERATION_RATE_EXCEEDED",
    }
)
#: Pages of one list. Nobody has so many blocks.
_MAX_PAGES: Final = 200


class RequestFailed(ExecutionProviderException):
    """A service refused a request, or gave no answer.

    Attributes:
        what: the request: method and path.
        status: of the answer; 0 when there was none.
        code: the service's own name of the error.
        reason: what it says.
        sent: whether the request may have reached it.
    """

    def __init__(self, what: str, status: int, code: str, reason: str, sent: bool = True) -> None:
        super().__init__(what, status, code, reason, sent)
        self.what = what
        self.status = status
        self.code = code
        self.reason = reason
        self.sent = sent

    @property
    def throttled(self) -> bool:
        """Whether there were too many requests at the moment: it did nothing, and will not say so again later. Google says that as 403."""
        return self.status == 429 or (self.status == 403 and self.code in _TOO_MANY)

    @property
    def refused(self) -> bool:
        """Whether the service said no, and will say so again."""
        return 400 <= self.status < 500 and self.status != 408 and not self.throttled

    def __str__(self) -> str:
        how = f"{self.status} {self.code}".strip() if self.status else "no answer"
        return f"{self.what}: {how}: {self.reason}"


class Rest:
    """A service.

    Args:
        base: address that paths are below.
        token: gives the token of the moment.
        timeout_s: that one request may take.

    Raises:
        ConfigurationError: the address is not encrypted, and not on this machine.
    """

    def __init__(self, base: str, token: Callable[[], str], timeout_s: float) -> None:
        parts = urllib.parse.urlsplit(base)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
            raise ConfigurationError(f"the service {base!r}: expected an address that begins with https://")
        self._base = base.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirect)

    def call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Sends a request; the answer, which is empty when there is none.

        Raises:
            RequestFailed: it was refused, or there is no answer.
        """
        url = f"{self._base}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        try:
            token = self._token()
        except Exception as error:  # libraries of others raise what they like
            raise RequestFailed(f"{method} {path}", 0, "", f"no credentials: {text_of(error)}", sent=False) from error
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if body is not None or method in {"POST", "PUT"}:
            headers["Content-Type"] = "application/json"
        data = json.dumps(body or {}).encode() if "Content-Type" in headers else None
        text = self._send(f"{method} {path}", urllib.request.Request(url, data, headers, method=method))  # noqa: S310 - looked at above
        if not text.strip():
            return {}
        try:
            answer = json.loads(text)
        except ValueError:
            raise RequestFailed(f"{method} {path}", 0, "", f"the answer is no JSON: {text[:200]!r}") from None
        return answer if isinstance(answer, dict) else {"items": answer}

    def pages(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """A list, page by page, as Google's services give them."""
        asked = dict(query)
        for _ in range(_MAX_PAGES):
            page = self.call("GET", path, asked)
            yield page
            if not page.get("nextPageToken"):
                return
            asked["pageToken"] = str(page["nextPageToken"])

    def fetch(self, url: str) -> str:
        """Text from an address that the service gave, which is good without a token.

        Raises:
            RequestFailed: there is no answer.
            ConfigurationError: it is not encrypted.
        """
        plain = Rest(url, str, self._timeout_s)
        return plain._send(f"GET {urllib.parse.urlsplit(url).path}", urllib.request.Request(url))  # noqa: S310 - looked at; its own class

    def _send(self, what: str, request: urllib.request.Request) -> str:
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return _text(answer)
        except urllib.error.HTTPError as error:
            with error:
                code, reason = _reason(error)
            raise RequestFailed(what, error.code, code, reason) from None
        except urllib.error.URLError as error:  # while connecting
            unsent = isinstance(error.reason, (ConnectionRefusedError, socket.gaierror, ssl.SSLError))
            raise RequestFailed(what, 0, "", str(error.reason), sent=not unsent) from None
        except (OSError, http.client.HTTPException) as error:
            raise RequestFailed(what, 0, "", str(error) or type(error).__name__) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        del req, fp, code, msg, headers, newurl


def _text(answer: Any) -> str:
    return str(answer.read(_MAX_BYTES).decode("utf-8", "replace"))


def _reason(error: urllib.error.HTTPError) -> tuple[str, str]:
    """Name and text of an error, as both clouds write them: ``{"error": {"code": …, "message": …}}``."""
    try:
        text = _text(error)
        said = json.loads(text)["error"]
        details = said.get("errors") or [{}]
        return str(details[0].get("reason") or said.get("status") or said.get("code") or ""), str(
            said.get("message", "")
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError, IndexError):
        return "", str(error.reason)
