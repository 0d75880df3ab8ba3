"""The table of the object service's endpoints: one declaration each."""

from typing import Final

from queue_service.api.endpoint import Endpoint
from queue_service.api.object_api import ObjectApi
from schemas import objects as shapes

_UPLOAD: Final = "object:upload:<projectId>:<name>"
_DOWNLOAD: Final = "object:download:<name>"

OBJECT_ENDPOINTS: Final = (
    Endpoint(
        name="createUpload",
        method="put",
        route="/upload/<name>",
        category="Upload",
        title="Begin an upload",
        description=(
            "Settles the object's project, expiry and uploadId, and chooses one of the proposed ways to "
            "upload. Until the upload is finished the call can be repeated, for another URL or another way; "
            "an upload that is not finished within a day is forgotten."
        ),
        handler=ObjectApi.create_upload,
        scopes=_UPLOAD,
        deferred=True,
        input=shapes.CreateUploadRequest,
        output=shapes.CreateUploadResponse,
        multi_segment="name",
    ),
    Endpoint(
        name="finishUpload",
        method="post",
        route="/finish-upload/<name>",
        category="Upload",
        title="Finish an upload",
        description="All bytes are there: from now on the object can be downloaded, and never changes.",
        handler=ObjectApi.finish_upload,
        scopes=_UPLOAD,
        deferred=True,
        input=shapes.FinishUploadRequest,
        multi_segment="name",
    ),
    Endpoint(
        name="startDownload",
        method="put",
        route="/start-download/<name>",
        category="Download",
        title="Begin a download",
        description="How to download, chosen from the ways the client accepts; 406 when there is none.",
        handler=ObjectApi.start_download,
        refuses=(406, 410),
        scopes=_DOWNLOAD,
        input=shapes.DownloadObjectRequest,
        output=shapes.DownloadObjectResponse,
        multi_segment="name",
    ),
    Endpoint(
        name="object",
        method="get",
        route="/metadata/<name>",
        category="Download",
        title="Get what is known of an object",
        description="Its project and when it expires. For the bytes, use startDownload.",
        handler=ObjectApi.metadata,
        refuses=(410,),
        scopes=_DOWNLOAD,
        output=shapes.GetObjectResponse,
        multi_segment="name",
    ),
    Endpoint(
        name="download",
        method="get",
        route="/download/<name>",
        category="Download",
        title="Download an object",
        description="Redirects to the bytes: for browsers and other plain HTTP clients.",
        handler=ObjectApi.download,
        refuses=(410,),
        scopes=_DOWNLOAD,
        multi_segment="name",
        redirects=True,
    ),
)
"""Every endpoint of the object service; the handlers are methods of :class:`ObjectApi`."""
