"""What a request brings is in the form that its endpoint declares: path, query, body."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from pydantic import ValidationError

from queue_service.api.endpoint import Endpoint
from queue_service.api.errors import schema_violations
from queue_service.core.errors import InvalidRequestArguments, MalformedPayload
from schemas.base import Wire
from schemas.ids import PARAMETER_PATTERNS, QUERY_PATTERNS

_PARAMETERS: Final = {name: re.compile(pattern) for name, pattern in PARAMETER_PATTERNS.items()}
_QUERIES: Final = {name: re.compile(pattern) for name, pattern in QUERY_PATTERNS.items()}


def check_params(params: Mapping[str, str]) -> None:
    """The parameters of the path are in form. Raises InvalidRequestArguments, naming each that is not."""
    wrong = [
        f" * `{name}` is `{value}` and must match `{PARAMETER_PATTERNS[name]}`"
        for name, value in params.items()
        if _PARAMETERS[name].fullmatch(value) is None
    ]
    if wrong:
        raise InvalidRequestArguments("Invalid URL parameters:\n" + "\n".join(wrong))


def checked_query(endpoint: Endpoint, raw: bytes) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The query by key, and that of its keys which may be repeated.

    Raises InvalidRequestArguments for unknown keys, others that are repeated, and values out of form.
    """
    if not raw:
        return {}, {}
    query: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    wrong: list[str] = []
    for key, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
        if key == "bewit":
            continue
        if key in endpoint.lists and _QUERIES[key].fullmatch(value) is not None:
            lists.setdefault(key, []).append(value)
        elif key not in endpoint.query and key not in endpoint.lists:
            wrong.append(f" * `{key}` is not a parameter of this call")
        elif key in query:
            wrong.append(f" * `{key}` is given more than once")
        elif _QUERIES[key].fullmatch(value) is None:
            wrong.append(f" * `{key}` is `{value}` and must match `{QUERY_PATTERNS[key]}`")
        else:
            query[key] = value
    if wrong:
        raise InvalidRequestArguments("Invalid query-string parameters:\n" + "\n".join(wrong))
    return query, lists


def checked_body(endpoint: Endpoint, payload: Any, *, is_json: bool, absent: bool) -> Wire | None:
    """The body as a value, for an endpoint that takes one.

    Raises InputValidationError that lists what is wrong with it, and MalformedPayload when it is not JSON.
    """
    shape = endpoint.body
    if shape is None:
        return None
    if endpoint.input is None:
        payload = payload if isinstance(payload, dict) else {}
    elif not is_json and not (absent and endpoint.may_be_left_out):
        raise MalformedPayload("The request must have `Content-Type: application/json`.")
    try:
        return shape.model_validate(payload)
    except ValidationError as error:
        raise schema_violations(error) from None
