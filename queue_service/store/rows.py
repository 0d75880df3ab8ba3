"""Many rows as one parameter: a constant statement text, whatever the length of the list.

``Rows("given", task_id=Text, version=Integer)`` is a FROM clause whose rows are given at execution as
one JSON array of objects. So a list of 64 costs the same number of statements, and the same prepared
statement, as a list of one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Column, Text, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.types import TypeEngine


class Rows(TableClause):
    """A FROM clause over a JSON parameter; its columns have the given types."""

    inherit_cache = True

    def __init__(self, name: str, /, **columns: type[TypeEngine[Any]] | TypeEngine[Any]) -> None:
        super().__init__(name, *(Column(key, kind) for key, kind in columns.items()))
        self.rows_parameter = bindparam(name, type_=Text)
        self._parameter = name
        self._key = next(iter(columns))

    def parameters(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """The statement's parameter for these rows; each is a mapping by column name, of all columns."""
        return {self._parameter: to_json(list(rows)).decode()}

    def of(self, values: Sequence[Any]) -> dict[str, str]:
        """The statement's parameter for a list of values of its only column."""
        key = self._key
        return {self._parameter: to_json([{key: value} for value in values]).decode()}


@compiles(Rows, "postgresql")
def _recordset(element: Rows, compiler: SQLCompiler, asfrom: bool = False, **kw: Any) -> str:
    if not asfrom:
        return compiler.preparer.format_table(element)
    types = compiler.dialect.type_compiler_instance
    columns = ", ".join(f"{column.name} {types.process(column.type)}" for column in element.columns)
    parameter = compiler.process(element.rows_parameter, **kw)
    return f"json_to_recordset(CAST({parameter} AS json)) AS {element.name}({columns})"


@compiles(Rows, "sqlite")
def _json_each(element: Rows, compiler: SQLCompiler, asfrom: bool = False, **kw: Any) -> str:
    if not asfrom:
        return compiler.preparer.format_table(element)
    columns = ", ".join(f"value ->> '{column.name}' AS {column.name}" for column in element.columns)
    parameter = compiler.process(element.rows_parameter, **kw)
    return f"(SELECT {columns} FROM json_each({parameter})) AS {element.name}"
