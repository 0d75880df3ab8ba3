"""Middleware: the order, and that the next one is called exactly once (M-1)."""

from typing import Any

import pytest

from taskbus.jobs.hooks import NextNotCalled, wrapped


def noted(name: str, log: list[str]) -> Any:
    async def middleware(given: str, next: Any) -> str:
        log.append(f"{name} begins")
        result = await next(given + name)
        log.append(f"{name} ends")
        return str(result)

    return middleware


async def test_the_first_is_the_outermost_and_may_alter_what_is_passed_on() -> None:
    log: list[str] = []

    async def inner(given: str) -> str:
        log.append(f"inner {given}")
        return given.upper()

    assert await wrapped([noted("a", log), noted("b", log)], inner)("x") == "XAB"
    assert log == ["a begins", "b begins", "inner xab", "b ends", "a ends"]


async def test_without_middleware_there_is_only_the_inner_function() -> None:
    async def inner(given: int) -> int:
        return given + 1

    assert await wrapped([], inner)(1) == 2


async def test_one_that_does_not_call_the_next_is_an_error() -> None:
    async def forgets(given: int, next: Any) -> int:
        return given

    with pytest.raises(NextNotCalled, match="forgets returned without having called `next`"):
        await wrapped([forgets], forgets)(1)  # type: ignore[arg-type]


async def test_one_that_calls_the_next_twice_is_an_error() -> None:
    calls = []

    async def inner(given: int) -> int:
        calls.append(given)
        return given

    async def repeats(given: int, next: Any) -> int:
        await next(given)
        return int(await next(given))

    with pytest.raises(NextNotCalled, match="repeats called `next` a second time"):
        await wrapped([repeats], inner)(1)
    assert calls == [1]


async def test_what_one_raises_after_the_next_is_the_error_of_the_whole() -> None:
    async def inner(given: int) -> int:
        return given

    async def fails(given: int, next: Any) -> int:
        await next(given)
        raise ValueError("after")

    with pytest.raises(ValueError, match="after"):
        await wrapped([fails], inner)(1)


async def test_one_that_raises_instead_of_calling_the_next_is_no_fault() -> None:
    async def inner(given: int) -> int:
        raise AssertionError("must not be called")

    async def refuses(given: int, next: Any) -> int:
        raise PermissionError("not today")

    with pytest.raises(PermissionError):
        await wrapped([refuses], inner)(1)
