"""SQLAlchemy Core statements as the drivers take them: compiled once, executed without SQLAlchemy.

Its engine costs 100 to 150 µs of processor per statement, the drivers themselves 20 to 50. So SQLAlchemy
writes our SQL (one set of statements for both databases) and converts values by the types of the columns;
executing is a call of the driver. See ``docs/decisions/0007-thin-drivers.md``.
"""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from sqlalchemy import Dialect, Executable, Float
from sqlalchemy.sql.compiler import SQLCompiler

Converter = Callable[[Any], Any]
Row = Any
"""A row: a named tuple of the statement's columns."""
Values = Mapping[str, Any]
NO_VALUES: Final[Values] = MappingProxyType({})


class Result:
    """The rows of a statement, all of them read: named tuples."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> Sequence[Any]:
        return self._rows

    def first(self) -> Any | None:
        """The first row, or None."""
        return self._rows[0] if self._rows else None

    def one(self) -> Any:
        """The only row."""
        (row,) = self._rows
        return row

    def scalars(self) -> list[Any]:
        """The first column of all rows."""
        return [row[0] for row in self._rows]

    def scalar(self) -> Any | None:
        """The first column of the first row; None when there is no row."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """The first column of the only row."""
        return self.one()[0]


class Connection(Protocol):
    """What a transaction script and a reading function get: statements in, rows out."""

    async def execute(self, statement: Executable, values: Values = NO_VALUES) -> Result:
        """Run a statement with the values of its parameters. A list is one parameter: store/rows.py."""
        ...


class Compiled:
    """A statement as text, with the order of its parameters and what to do with values."""

    def __init__(self, statement: Executable, dialect: Dialect, names: Sequence[str]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(names))  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)
        if compiled.post_compile_params:
            raise NotImplementedError("a list goes to the database as one parameter: store/rows.py")
        self.sql = str(compiled)
        self._parameters = [_Parameter(compiled, name) for name in compiled.positiontup or ()]
        self._converters = _converters(statement, dialect)
        self._row: Callable[[Sequence[Any]], Row] | None = None

    def arguments(self, values: Values) -> list[Any]:
        """The values in the driver's order. Raises KeyError for one that is missing."""
        return [parameter.value(values) for parameter in self._parameters]

    def result(self, columns: Callable[[], Sequence[str]], rows: Sequence[Sequence[Any]]) -> Result:
        """Rows of the driver by name; ``columns`` tells the names when the first rows arrive."""
        if not rows:
            return Result(())
        row = self._row
        if row is None:
            row = self._row = _row_kind(columns())
        if not self._converters:
            return Result([row(found) for found in rows])
        return Result([row(self._converted(found)) for found in rows])

    def _converted(self, found: Sequence[Any]) -> list[Any]:
        values = list(found)
        for place, convert in self._converters:
            values[place] = convert(values[place])
        return values


def _row_kind(columns: Sequence[str]) -> Callable[[Sequence[Any]], Row]:
    kind: Any = namedtuple("Row", columns, rename=True)  # type: ignore[misc]
    make: Callable[[Sequence[Any]], Row] = kind._make
    return make


class _Parameter:
    __slots__ = ("_constant", "_convert", "_name", "_required")

    def __init__(self, compiled: SQLCompiler, name: str) -> None:
        bind = compiled.binds[name]
        self._name = bind.key
        self._required = bind.required
        self._convert = bind.type.dialect_impl(compiled.dialect).bind_processor(compiled.dialect)
        self._constant = None if bind.required else bind.effective_value

    def value(self, values: Values) -> Any:
        given = values[self._name] if self._required else values.get(self._name, self._constant)
        return given if self._convert is None else self._convert(given)


def _converters(statement: Executable, dialect: Dialect) -> list[tuple[int, Converter]]:
    columns = getattr(statement, "exported_columns", ())
    # Both drivers give floats as floats; SQLAlchemy would ask for the type on the wire, which we do not have.
    found = (
        None
        if isinstance(column.type, Float)
        else column.type.dialect_impl(dialect).result_processor(dialect, None)
        for column in columns
    )
    return [(place, convert) for place, convert in enumerate(found) if convert is not None]


class Statements:
    """The compiled statements of a database. A statement is executed with the same parameters each time."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._compiled: WeakKeyDictionary[Executable, Compiled] = WeakKeyDictionary()

    def get(self, statement: Executable, values: Values) -> Compiled:
        compiled = self._compiled.get(statement)
        if compiled is None:
            compiled = self._compiled[statement] = Compiled(statement, self._dialect, list(values))
        return compiled
