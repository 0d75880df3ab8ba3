"""The two bases of every shape: what a server must refuse, and what a reader must tolerate.

``Request`` rejects unknown members (a typo never passes silently) and ``null``; ``Document`` tolerates both,
so that a listener or client survives members added later.
"""

from functools import cache
from typing import Annotated, Any, ClassVar, Final, Generic, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, RootModel, StringConstraints, field_validator
from pydantic.alias_generators import to_camel

Shapes = TypeVar("Shapes")


@cache
def _defaults_of(shape: type[BaseModel]) -> dict[str, Any]:
    return {
        name: field.default
        for name, field in shape.model_fields.items()
        if not field.is_required() and field.default_factory is None
    }


class Wire(BaseModel):
    """A frozen value with camelCase names on the wire and snake_case names in Python."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    schema_name: ClassVar[str] = ""
    """Name of the exported JSON Schema, without ending; empty for a part of another shape."""

    def to_wire(self) -> dict[str, Any]:
        """The JSON object as Python values; absent members are left out, never ``None``."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def to_json(self) -> bytes:
        """The JSON object as UTF-8 bytes; absent members are left out."""
        return self.__pydantic_serializer__.to_json(self, by_alias=True, exclude_none=True)

    @classmethod
    def trusted(cls, **members: Any) -> Self:
        """A value of members that are valid already, without validation: ten times as fast.

        For what was validated when it came in. Members that are left out take their defaults.
        """
        made = cls.__new__(cls)
        object.__setattr__(made, "__dict__", {**_defaults_of(cls), **members})
        object.__setattr__(made, "__pydantic_fields_set__", set(members))
        object.__setattr__(made, "__pydantic_extra__", None)
        object.__setattr__(made, "__pydantic_private__", None)
        return made

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Read UTF-8 JSON. Raises pydantic.ValidationError that lists every violation."""
        return cls.model_validate_json(data)


class Request(Wire):
    """What a client sends: unknown members are violations."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _left_out_instead_of_null(cls, value: object) -> object:
        if value is None:
            raise ValueError("must be left out instead of null")
        return value


class Document(Wire):
    """What a server sends: unknown members are ignored by readers."""

    model_config = ConfigDict(extra="ignore")


class RequestUnion(RootModel[Shapes], Wire, Generic[Shapes]):
    """A request that has one of several shapes; ``root`` is the value."""


class DocumentUnion(RootModel[Shapes], Wire, Generic[Shapes]):
    """A document that has one of several shapes; ``root`` is the value. Handlers return the value itself."""


def _integral(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be an integer")
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError("must be an integer")
        return int(value)
    return value


INTEGRAL: Final = BeforeValidator(_integral)
"""Makes an ``int`` a JSON integer: ``5`` and ``5.0`` are, ``"5"`` and ``true`` are not.

Limits stand before it, ``Annotated[int, Field(ge=0), INTEGRAL]``, so that they are the number's own.
"""

Integer = Annotated[int, INTEGRAL]
"""A JSON integer without limits."""

Text = Annotated[str, StringConstraints(strict=True)]
"""A JSON string; numbers are not turned into text."""
