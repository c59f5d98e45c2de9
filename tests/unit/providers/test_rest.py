"""JSON over HTTP: what a failure says, and to whom a token is given."""

from __future__ import annotations

import pickle

import pytest

from plait.errors import ConfigurationError
from plait.providers.rest import RequestFailed, Rest
from tests.fakes.web import Refusal, Service


class Echo(Service):
    def handle(self, asked):
        if asked.path == "/moved":
            return 302, {}, ("Location", f"{self.url}/elsewhere")
        if asked.path == "/text":
            return 200, "no JSON"
        if asked.path == "/list":
            page = int(asked.query.get("pageToken", 0))
            return 200, {"items": [page], **({"nextPageToken": str(page + 1)} if page < 2 else {})}
        if asked.path == "/no":
            raise Refusal(403, "forbidden", "you may not")
        return 200, {
            "method": asked.method,
            "path": asked.path,
            "query": asked.query,
            "body": asked.body,
            "who": asked.headers.get("Authorization"),
        }


@pytest.fixture
def echo():
    with Echo().running() as echo:
        yield echo


@pytest.fixture
def rest(echo):
    return Rest(f"{echo.url}/", lambda: "t0ken", 5.0)


def test_a_request_and_its_answer(rest):
    assert rest.call("POST", "/a/b", {"x": "1 2"}, {"c": 3}) == {
        "method": "POST", "path": "/a/b", "query": {"x": "1 2"}, "body": {"c": 3}, "who": "Bearer t0ken",
    }  # fmt: skip


def test_pages(rest):
    assert [page["items"] for page in rest.pages("/list", {})] == [[0], [1], [2]]


def test_a_refusal_says_what_and_why(rest):
    with pytest.raises(RequestFailed, match="GET /no: 403 forbidden: you may not") as info:
        rest.call("GET", "/no")
    assert info.value.refused
    assert str(pickle.loads(pickle.dumps(info.value))) == str(info.value)


@pytest.mark.parametrize(
    ("status", "refused"), [(400, True), (409, True), (408, False), (429, False), (500, False), (503, False)]
)
def test_what_is_refused_for_good(echo, rest, status, refused):
    echo.fail("/x", status)
    with pytest.raises(RequestFailed) as info:
        rest.call("GET", "/x")
    assert (info.value.status, info.value.refused, info.value.sent) == (status, refused, True)
    assert info.value.throttled == (status == 429)


@pytest.mark.parametrize(
    ("code", "throttled"), [("rateLimitExceeded", True), ("RATE_LIMIT_EXCEEDED", True), ("quotaExceeded", False)]
)
def test_too_many_requests_are_403_at_google(code, throttled):
    error = RequestFailed("POST /x", 403, code, "slower")
    assert (error.throttled, error.refused) == (throttled, not throttled)


def test_no_answer_may_have_been_a_yes(echo, rest):
    echo.cut("/x")
    with pytest.raises(RequestFailed, match="no answer") as info:
        rest.call("PUT", "/x")
    assert (info.value.status, info.value.sent, info.value.refused) == (0, True, False)
    assert echo.count("PUT /x") == 1, "it is not for this room to ask again"


def test_what_is_not_there_was_not_reached():
    with pytest.raises(RequestFailed) as info:
        Rest("http://127.0.0.1:1", str, 5.0).call("GET", "/x")
    assert not info.value.sent


def test_no_json_is_no_answer(rest):
    with pytest.raises(RequestFailed, match="the answer is no JSON: 'no JSON'"):
        rest.call("GET", "/text")


def test_tokens_go_nowhere_else(echo, rest):
    with pytest.raises(RequestFailed, match="302"):
        rest.call("GET", "/moved")
    assert echo.count("/elsewhere") == 0
    assert "t0ken" not in rest.fetch(f"{echo.url}/text") + str(
        [asked.headers for asked in echo.asked if asked.path == "/text"]
    )
    for address in ("http://cloud.example.org", "ftp://127.0.0.1", "file:///etc/passwd"):
        with pytest.raises(ConfigurationError, match="begins with https://"):
            Rest(address, str, 5.0)
    with pytest.raises(ConfigurationError, match="begins with https://"):
        rest.fetch("file:///etc/passwd")
