"""Request and response bodies of the object service: uploads and downloads of bytes by URL."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from schemas.artifacts import Url
from schemas.base import INTEGRAL, Document, DocumentUnion, Request, Text
from schemas.ids import ProjectId, Slugid
from schemas.times import Time

MAX_OBJECT_NAME: Final = 1100
"""Characters of an object's name: as long as that of an artifact, with its task and run before it."""
MAX_INLINE: Final = 64 * 1024
"""Characters of base64 that may travel inside createUpload; clients send up to 8 KiB of bytes so."""


ContentType = Annotated[str, StringConstraints(strict=True, pattern="^[ -~]{0,255}$")]
"""A line of printable ASCII: it is sent as a header."""


class Hashes(Request):
    """Digests of the bytes, hexadecimal. Readers check them; many refuse an object without any."""

    sha256: Annotated[str, StringConstraints(strict=True, pattern="^[0-9a-f]{64}$")] | None = None
    sha512: Annotated[str, StringConstraints(strict=True, pattern="^[0-9a-f]{128}$")] | None = None

    def given(self) -> dict[str, str]:
        """The digests that are there, by algorithm."""
        return self.model_dump(exclude_none=True)


class DataInlineUpload(Request):
    """The bytes themselves, for a small object."""

    content_type: ContentType
    object_data: Annotated[str, StringConstraints(strict=True, max_length=MAX_INLINE)]


class PutUrlUpload(Request):
    """The bytes follow with one PUT."""

    content_type: ContentType
    content_length: Annotated[int, Field(ge=0, le=2**53), INTEGRAL]


class ProposedUploadMethods(Request):
    """The ways the client can upload; the service chooses one."""

    data_inline: DataInlineUpload | None = None
    put_url: PutUrlUpload | None = None


class CreateUploadRequest(Request):
    schema_name = "create-upload-request"

    project_id: ProjectId
    upload_id: Slugid
    expires: Time
    hashes: Hashes = Field(default_factory=Hashes)
    proposed_upload_methods: ProposedUploadMethods = Field(default_factory=ProposedUploadMethods)


class PutUrl(Document):
    """One PUT with exactly these headers, until ``expires``."""

    url: Url
    expires: Time
    headers: dict[Text, Text]


class UploadMethod(Document):
    """The way that was chosen; none of the members when none was proposed."""

    data_inline: Literal[True] | None = None
    put_url: PutUrl | None = None


class CreateUploadResponse(Document):
    schema_name = "create-upload-response"

    project_id: ProjectId
    upload_id: Slugid
    expires: Time
    upload_method: UploadMethod


class FinishUploadRequest(Request):
    schema_name = "finish-upload-request"

    project_id: ProjectId
    upload_id: Slugid
    hashes: Hashes = Field(default_factory=Hashes)


class AcceptedMethods(Request):
    simple: Literal[True] | None = None
    get_url: Literal[True] | None = None


class DownloadObjectRequest(Request):
    """The ways the client can download."""

    schema_name = "download-object-request"

    accept_download_methods: AcceptedMethods


class SimpleDownload(Document):
    method: Literal["simple"] = "simple"
    url: Url


class GetUrlDownload(Document):
    """A URL that ends at ``expires``; then the client asks again. The bytes must have these hashes."""

    method: Literal["getUrl"] = "getUrl"
    url: Url
    expires: Time
    hashes: Hashes


def _method(value: object) -> object:
    found = value.get("method") if isinstance(value, Mapping) else getattr(value, "method", None)
    return found if isinstance(found, str) else None


class DownloadObjectResponse(
    DocumentUnion[
        Annotated[
            Annotated[SimpleDownload, Tag("simple")] | Annotated[GetUrlDownload, Tag("getUrl")],
            Discriminator(_method),
        ]
    ]
):
    schema_name = "download-object-response"


class GetObjectResponse(Document):
    """What is known of an object, but for how to get its bytes."""

    schema_name = "get-object-response"

    project_id: ProjectId
    expires: Time
