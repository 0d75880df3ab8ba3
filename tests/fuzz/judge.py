"""What every reply must be: declared, of its declared shape, no 5xx, and a refusal as the wire has it."""

import re
from typing import Any, Final

import requests
from schemathesis import Case, Response
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from queue_service.api.routing import BadEncoding, Router
from queue_service.catalogue import APIS
from schemas.errors import ERROR_STATUS
from tests.fuzz.caller import Reply, Request

_CHECKS: Final = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_BLOB_CODES: Final = {403: "AuthenticationFailed", 408: "InputError", 411: "InputError", 416: "InputError"}
_FOOTER: Final = re.compile(r"\n\n---\n\n\* method: .*\n\* errorCode: .*\n\* statusCode: .*\n\* time: .*")
_OF_TASKCLUSTER: Final = {
    f"{api.service}.{endpoint.name}"
    for api in APIS
    if api.service in ("auth", "hooks", "index", "object", "purge-cache", "queue")
    for endpoint in api.published
}
"""Calls whose refusals have exactly the members that its clients know."""
_ROUTERS: Final = {api.base_path: Router(api.endpoints) for api in APIS}


class Violation(Exception):
    """A reply that must not be."""


def judge(case: Case, request: Request, reply: Reply, root_url: str) -> None:
    """Raises Violation."""
    _no_failure(reply)
    if _unroutable(request, reply):
        return
    sent = requests.PreparedRequest()
    sent.method, sent.url, sent.body = request.method, root_url + request.target, request.body
    sent.headers = requests.structures.CaseInsensitiveDict(dict(request.headers))
    response = Response(reply.status, reply.headers, reply.body, sent, elapsed=0, verify=False)
    try:
        case.validate_response(response, checks=_CHECKS)
    except FailureGroup as failures:
        raise Violation(
            "; ".join(f"{failure.title}: {failure.message}" for failure in failures.exceptions)
        ) from None
    if reply.status >= 400:
        _refusal(reply, case.operation.definition.raw["operationId"])


def judge_blob(request: Request, reply: Reply) -> None:
    """The same for the bytes of artifacts, which no document describes. Raises Violation."""
    _no_failure(reply)
    if reply.status >= 400 and reply.body and reply.body != b'{"error": "Not found"}':
        _refusal(reply, "blobs.uploadBlob" if request.method == "PUT" else "blobs.downloadBlob", _BLOB_CODES)


def _no_failure(reply: Reply) -> None:
    if reply.status >= 500:
        raise Violation(f"the service failed: {reply.body.decode(errors='replace')[:2000]}")


def _unroutable(request: Request, reply: Reply) -> bool:
    """Whether the request meets no endpoint, and was told so (``queue-behaviour.md`` 1.1)."""
    path = request.target.partition("?")[0]
    base = "/".join(path.split("/")[:4])
    try:
        match = _ROUTERS[base].match(path[len(base) :], request.method.lower())
    except BadEncoding:
        expected, text = 400, "the path is not percent-encoded UTF-8"
    else:
        if match is not None and request.method.lower() in match.methods:
            return False
        expected, text = 404, "Not found"
    if reply.status != expected or reply.json() != {"error": text}:
        raise Violation(f"no endpoint is there, and the answer is {reply.status} {reply.body[:500]!r}")
    return True


def _refusal(reply: Reply, operation: str, codes: dict[int, str] | None = None) -> None:
    """``operation``: its service and its name, as the index has a ``deleteTask``, too."""
    body: Any = reply.json()
    if reply.status == 424:
        return  # the artifact is an error; its document is the answer
    members = {"code", "message", "requestInfo"}
    further: set[str] = set() if operation in _OF_TASKCLUSTER else {"details"}
    if not (isinstance(body, dict) and members <= body.keys() <= members | further):
        raise Violation(f"not the shape of a refusal: {reply.body[:500]!r}")
    if ERROR_STATUS.get(body["code"]) != reply.status and (codes or {}).get(reply.status) != body["code"]:
        raise Violation(f"code {body['code']} with status {reply.status}")
    if not isinstance(body.get("details", {}), dict):
        raise Violation(f"details are no object: {body['details']!r}")
    info = body["requestInfo"]
    if set(info) != {"method", "params", "payload", "time"} or info["method"] != operation.partition(".")[2]:
        raise Violation(f"requestInfo of {operation} is {info}")
    if _FOOTER.search(body["message"]) is None:
        raise Violation(f"no footer: {body['message'][-300:]}")
    if (reply.status == 401) != (reply.headers.get("www-authenticate") == ["hawk"]):
        raise Violation("401 and `www-authenticate: hawk` belong together")
