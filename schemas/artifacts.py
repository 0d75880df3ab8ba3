"""Request and response bodies of the queue's artifact endpoints (``queue-behaviour.md`` 8)."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from schemas.base import INTEGRAL, Document, DocumentUnion, Request, RequestUnion, Text
from schemas.ids import PRINTABLE_PATTERN, ProjectId, Slugid
from schemas.queue import TaskCredentials
from schemas.times import Time

MAX_NAME: Final = 1024
"""Characters of an artifact's name."""

StorageType = Literal["s3", "object", "reference", "link", "error"]
ErrorReason = Literal[
    "file-missing-on-worker",
    "invalid-resource-on-worker",
    "too-large-file-on-worker",
    "file-not-readable-on-worker",
]
"""Why a worker could not upload what the task promised."""

_CHARACTER: Final = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})"
_HOST: Final = r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)"
_USER: Final = r"(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|%[0-9A-Fa-f]{2})*@)?"
_URI: Final = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.\-]*:(?://{_USER}{_HOST}(?::[0-9]*)?(?:/{_CHARACTER}*)?|(?!//){_CHARACTER}*)"
    rf"(?:\?(?:{_CHARACTER}|\?)*)?(?:#(?:{_CHARACTER}|\?)*)?"
)


def _uri(text: str) -> str:
    if _URI.fullmatch(text) is None:
        raise ValueError("must be an absolute URI of RFC 3986")
    return text


Url = Annotated[Text, AfterValidator(_uri), Field(json_schema_extra={"format": "uri"})]
ContentType = Annotated[str, StringConstraints(strict=True, max_length=255)]
ContentLength = Annotated[int, Field(ge=0), INTEGRAL]
Name = Annotated[Text, Field(max_length=MAX_NAME)]
ObjectName = Annotated[
    str, StringConstraints(strict=True, pattern=f"^(?:{PRINTABLE_PATTERN})$", min_length=1)
]


# ---- createArtifact and finishArtifact ------------------------------------------------------------------


class S3ArtifactRequest(Request):
    """Bytes that the client uploads with one PUT."""

    storage_type: Literal["s3"]
    expires: Time
    content_type: ContentType
    content_length: ContentLength | None = None


class ObjectArtifactRequest(Request):
    """Bytes that the client uploads through the object service; visible when finished."""

    storage_type: Literal["object"]
    expires: Time
    content_type: ContentType
    content_length: ContentLength | None = None


class ReferenceArtifactRequest(Request):
    """Something that lies elsewhere."""

    storage_type: Literal["reference"]
    expires: Time
    url: Url
    content_type: ContentType


class LinkArtifactRequest(Request):
    """Another name for an artifact of the same run."""

    storage_type: Literal["link"]
    expires: Time
    artifact: Text
    content_type: ContentType | None = None


class ErrorArtifactRequest(Request):
    """Why there is no such artifact."""

    storage_type: Literal["error"]
    expires: Time
    reason: ErrorReason
    message: Annotated[str, StringConstraints(strict=True, max_length=4096)]


def _storage_type(value: Any) -> Any:
    found = value.get("storageType") if isinstance(value, dict) else getattr(value, "storage_type", None)
    return found if isinstance(found, str) else None


BY_STORAGE_TYPE: Final = Discriminator(
    _storage_type,
    custom_error_type="storage_type",
    custom_error_message="`storageType` must be given and be one of the storage types",
)

ArtifactRequest = (
    S3ArtifactRequest
    | ObjectArtifactRequest
    | ReferenceArtifactRequest
    | LinkArtifactRequest
    | ErrorArtifactRequest
)


class PostArtifactRequest(
    RequestUnion[
        Annotated[
            Annotated[S3ArtifactRequest, Tag("s3")]
            | Annotated[ObjectArtifactRequest, Tag("object")]
            | Annotated[ReferenceArtifactRequest, Tag("reference")]
            | Annotated[LinkArtifactRequest, Tag("link")]
            | Annotated[ErrorArtifactRequest, Tag("error")],
            BY_STORAGE_TYPE,
        ]
    ]
):
    schema_name = "post-artifact-request"


class ObjectCredentials(TaskCredentials):
    """Temporary credentials for one object of the object service."""

    schema_name = "object-credentials"


class S3ArtifactResponse(Document):
    """Where to PUT the bytes, until when, and with which content type."""

    storage_type: Literal["s3"] = "s3"
    put_url: Url
    expires: Time
    content_type: ContentType


class ObjectArtifactResponse(Document):
    """What the upload to the object service needs, and may use until ``expires``."""

    storage_type: Literal["object"] = "object"
    name: ObjectName
    project_id: ProjectId
    upload_id: Slugid
    expires: Time
    credentials: ObjectCredentials


class ReferenceArtifactResponse(Document):
    storage_type: Literal["reference"] = "reference"


class LinkArtifactResponse(Document):
    storage_type: Literal["link"] = "link"


class ErrorArtifactResponse(Document):
    storage_type: Literal["error"] = "error"


class PostArtifactResponse(
    DocumentUnion[
        Annotated[
            Annotated[S3ArtifactResponse, Tag("s3")]
            | Annotated[ObjectArtifactResponse, Tag("object")]
            | Annotated[ReferenceArtifactResponse, Tag("reference")]
            | Annotated[LinkArtifactResponse, Tag("link")]
            | Annotated[ErrorArtifactResponse, Tag("error")],
            BY_STORAGE_TYPE,
        ]
    ]
):
    schema_name = "post-artifact-response"


class FinishArtifactRequest(Request):
    schema_name = "finish-artifact-request"

    upload_id: Slugid


# ---- what is there --------------------------------------------------------------------------------------


class ArtifactResponse(Document):
    """One artifact; ``content_length`` only if it was given."""

    schema_name = "artifact-response"

    storage_type: StorageType
    name: Name
    expires: Time
    content_type: ContentType
    content_length: ContentLength | None = None


class ListArtifactsResponse(Document):
    schema_name = "list-artifacts-response"

    artifacts: tuple[ArtifactResponse, ...]
    continuation_token: Text | None = None


class GetArtifactResponse(Document):
    """Where the bytes are; browsers follow the header ``location`` instead."""

    schema_name = "get-artifact-response"

    storage_type: Text
    url: Url


class S3ArtifactContent(Document):
    storage_type: Literal["s3"] = "s3"
    url: Url


class ObjectArtifactContent(Document):
    """Which object of the object service it is, and credentials to download it."""

    storage_type: Literal["object"] = "object"
    name: ObjectName
    credentials: ObjectCredentials


class ReferenceArtifactContent(Document):
    storage_type: Literal["reference"] = "reference"
    url: Url


class ErrorArtifactContent(Document):
    storage_type: Literal["error"] = "error"
    reason: Text
    message: Text


class ArtifactContentResponse(
    DocumentUnion[
        Annotated[
            Annotated[S3ArtifactContent, Tag("s3")]
            | Annotated[ObjectArtifactContent, Tag("object")]
            | Annotated[ReferenceArtifactContent, Tag("reference")]
            | Annotated[ErrorArtifactContent, Tag("error")],
            BY_STORAGE_TYPE,
        ]
    ]
):
    """Where to get the bytes of an artifact; links are followed."""

    schema_name = "artifact-content-response"
