"""Sends requests to a running service byte for byte as they were made up, signed or not."""

import http.client
import json
import shlex
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from taskbus import Credentials

TIMEOUT: Final = 30.0


@dataclass(frozen=True)
class Request:
    """One request; ``target`` is the raw path and query, ``body`` None for none at all."""

    method: str
    target: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def as_curl(self, root_url: str) -> str:
        """How to send it again; who calls must sign it."""
        words = ["curl", "--globoff", "--path-as-is", "-X", self.method]
        for name, value in self.headers:
            words += ["-H", f"{name}: {value}"]
        if self.body is not None:
            words += ["--data-binary", self.body.decode("utf-8", "backslashreplace")]
        return shlex.join([*words, root_url + self.target])


@dataclass(frozen=True)
class Reply:
    """What was answered; header names in lower case."""

    status: int
    headers: dict[str, list[str]]
    body: bytes

    def json(self) -> Any:
        """The body as JSON values. Raises ValueError."""
        return json.loads(self.body)


class Caller:
    """One connection to the service at ``root_url``, kept open. Without credentials nothing is signed."""

    def __init__(self, root_url: str, credentials: Credentials | None = None) -> None:
        self.root_url = root_url
        self._credentials = credentials
        self._connection = http.client.HTTPConnection(urlsplit(root_url).netloc, timeout=TIMEOUT)

    def close(self) -> None:
        self._connection.close()

    def send(self, request: Request, *, signed: bool = True) -> Reply:
        """The reply to a request. Raises OSError or HTTPException when there is none."""
        try:
            return self._send(request, signed=signed)
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request opens it anew
            raise

    def _send(self, request: Request, *, signed: bool) -> Reply:
        connection = self._connection
        connection.putrequest(request.method, request.target, skip_accept_encoding=True)
        for name, value in request.headers:
            connection.putheader(name, value)
        if signed and self._credentials is not None:
            url = self.root_url + request.target
            authorization = self._credentials.authorization(request.method, url, request.body)
            connection.putheader("Authorization", authorization)
        if request.body is not None:
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        response = connection.getresponse()
        headers: dict[str, list[str]] = {}
        for name, value in response.getheaders():
            headers.setdefault(name.lower(), []).append(value)
        if headers.get("content-type", [""])[0].startswith("text/event-stream"):
            first = response.readline()  # the rest has no end
            connection.close()
            return Reply(response.status, headers, first)
        return Reply(response.status, headers, response.read())

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The JSON that a plain call answers, which must succeed."""
        content = None if body is None else json.dumps(body).encode()
        headers = () if body is None else (("Content-Type", "application/json"),)
        reply = self.send(Request(method, path, content, headers))
        assert reply.status in (200, 204), f"{method} {path}: {reply.status} {reply.body.decode()}"
        return reply.json() if reply.body else None
