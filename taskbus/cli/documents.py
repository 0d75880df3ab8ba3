"""JSON that a person types, or has in a file. What cannot be read is a ValueError that names the argument."""

import json
from pathlib import Path
from typing import Any

import typer


def text_of(name: str, file: str) -> str:
    """What the file holds; ``-`` is the standard input."""
    try:
        return typer.get_text_stream("stdin").read() if file == "-" else Path(file).read_text("utf-8")
    except OSError as error:
        raise ValueError(f"{name} {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} {file}: expected UTF-8") from None


def json_value(name: str, text: str) -> Any:
    """Any value."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name}: not JSON: {error}") from None


def json_object(name: str, text: str) -> dict[str, Any]:
    """An object by its members."""
    value = json_value(name, text)
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected a JSON object, got {text.strip()[:80]}")
    return value
