"""How a database means to execute a statement, as the facts a test asks for."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Executable
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.times import to_ms

PlanKind = Literal["custom", "generic"]
"""PostgreSQL plans a prepared statement for the values it is given, or, after some time, for all values."""

_numbers = itertools.count()

_NODES_OF_INDEXES: Final = ("Index Scan", "Index Only Scan", "Bitmap Index Scan")


@dataclass(frozen=True)
class Plan:
    """``indexes`` that are searched, ``scanned`` tables that are read as a whole, whether rows are sorted."""

    indexes: frozenset[str]
    scanned: frozenset[str]
    sorts: bool
    text: str


async def sqlite_plan(connection: AsyncConnection, statement: Executable, values: Mapping[str, Any]) -> Plan:
    sql, given = _compiled(connection, statement, values)
    rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple(given))
    details = [row.detail for row in rows]
    derived = {detail.split()[1] for detail in details if detail.startswith(("CO-ROUTINE", "MATERIALIZE"))}
    indexes, scanned = set(), set()
    for detail in details:
        words = detail.split()
        if words[0] == "SEARCH" or "USING" in words:
            indexes.add(words[words.index("INDEX") + 1] if "INDEX" in words else f"{words[1]} key")
        elif words[0] == "SCAN" and "VIRTUAL" not in words and words[1:] != ["CONSTANT", "ROW"]:
            scanned.add(words[1])
    return Plan(
        frozenset(indexes),
        frozenset(scanned - derived),
        "USE TEMP B-TREE" in " ".join(details),
        "\n".join(details),
    )


async def postgres_plan(
    connection: AsyncConnection, statement: Executable, values: Mapping[str, Any], kind: PlanKind
) -> Plan:
    sql, given = _compiled(connection, statement, values)
    name = f"plan_{next(_numbers)}"
    await connection.exec_driver_sql(f"SET plan_cache_mode = force_{kind}_plan")
    await connection.exec_driver_sql(f"PREPARE {name} AS {sql}")
    arguments = f"({', '.join(map(_literal, given))})" if given else ""
    found = await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) EXECUTE {name}{arguments}")
    plan = found.scalar_one()
    root = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    nodes = list(_nodes(root))
    return Plan(
        frozenset(node["Index Name"] for node in nodes if node["Node Type"] in _NODES_OF_INDEXES),
        frozenset(node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"),
        any("Sort" in node["Node Type"] for node in nodes),
        json.dumps(root, indent=1),
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _compiled(
    connection: AsyncConnection, statement: Executable, values: Mapping[str, Any]
) -> tuple[str, list[Any]]:
    """The statement as the driver gets it, with its values in their order."""
    compiled = statement.compile(dialect=connection.dialect)  # type: ignore[attr-defined]
    given = compiled.construct_params(values)
    return str(compiled), [_bound(given[name]) for name in compiled.positiontup]


def _bound(value: Any) -> Any:
    return to_ms(value) if isinstance(value, datetime) else value


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
