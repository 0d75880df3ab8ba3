"""The table of the artifact endpoints: one declaration each."""

from typing import Final

from queue_service.api.artifact_api import ArtifactApi
from queue_service.api.endpoint import Endpoint
from schemas import artifacts as shapes

_CATEGORY: Final = "Artifacts"
_RUN: Final = "/task/<taskId>/runs/<runId>"
_CREATE: Final = "queue:create-artifact:<taskId>/<runId>"
_GET: Final = {"AllOf": [{"each": "queue:get-artifact:<name>", "for": "name", "in": "names"}]}
_LIST: Final = "queue:list-artifacts:<taskId>:<runId>"
_LIST_LATEST: Final = "queue:list-artifacts:<taskId>"
_PAGED: Final = ("continuationToken", "limit")

ARTIFACT_ENDPOINTS: Final = (
    Endpoint(
        name="createArtifact",
        method="post",
        route=f"{_RUN}/artifacts/<name>",
        category=_CATEGORY,
        title="Create an artifact",
        description=(
            "Gives a running run an artifact, and tells how to upload its bytes if it has any. What readers "
            "rely on never changes: repeated with the same name, the call must mean the same, and may only "
            "prolong the artifact."
        ),
        handler=ArtifactApi.create_artifact,
        scopes=_CREATE,
        input=shapes.PostArtifactRequest,
        output=shapes.PostArtifactResponse,
        multi_segment="name",
    ),
    Endpoint(
        name="finishArtifact",
        method="put",
        route=f"{_RUN}/artifacts/<name>",
        category=_CATEGORY,
        title="Finish an artifact",
        description="Shows an artifact of storage type `object` to readers, once all of it is uploaded.",
        handler=ArtifactApi.finish_artifact,
        scopes=_CREATE,
        input=shapes.FinishArtifactRequest,
        multi_segment="name",
    ),
    Endpoint(
        name="getArtifact",
        method="get",
        route=f"{_RUN}/artifacts/<name>",
        category=_CATEGORY,
        title="Download an artifact",
        description=(
            "Redirects to the bytes; links are followed, with the scope for every name on the way. An "
            "`error` artifact answers 424 with its reason and message."
        ),
        handler=ArtifactApi.get_artifact,
        refuses=(410, 424),
        scopes=_GET,
        deferred=True,
        output=shapes.GetArtifactResponse,
        multi_segment="name",
        redirects=True,
    ),
    Endpoint(
        name="getLatestArtifact",
        method="get",
        route="/task/<taskId>/artifacts/<name>",
        category=_CATEGORY,
        title="Download an artifact of the latest run",
        description="As getArtifact, of the run with the highest id, whatever its state.",
        handler=ArtifactApi.get_latest_artifact,
        refuses=(410, 424),
        scopes=_GET,
        deferred=True,
        output=shapes.GetArtifactResponse,
        multi_segment="name",
        redirects=True,
    ),
    Endpoint(
        name="listArtifacts",
        method="get",
        route=f"{_RUN}/artifacts",
        category=_CATEGORY,
        title="List the artifacts of a run",
        description="All of them by name, in pages; also those whose upload is not finished.",
        handler=ArtifactApi.list_artifacts,
        scopes=_LIST,
        query=_PAGED,
        output=shapes.ListArtifactsResponse,
    ),
    Endpoint(
        name="listLatestArtifacts",
        method="get",
        route="/task/<taskId>/artifacts",
        category=_CATEGORY,
        title="List the artifacts of the latest run",
        description="As listArtifacts, of the run with the highest id, whatever its state.",
        handler=ArtifactApi.list_latest_artifacts,
        scopes=_LIST_LATEST,
        query=_PAGED,
        output=shapes.ListArtifactsResponse,
    ),
    Endpoint(
        name="artifactInfo",
        method="get",
        route=f"{_RUN}/artifact-info/<name>",
        category=_CATEGORY,
        title="Get what is known of an artifact",
        description="One entry of the list; a link is not followed.",
        handler=ArtifactApi.artifact_info,
        scopes=_LIST,
        output=shapes.ArtifactResponse,
        multi_segment="name",
    ),
    Endpoint(
        name="latestArtifactInfo",
        method="get",
        route="/task/<taskId>/artifact-info/<name>",
        category=_CATEGORY,
        title="Get what is known of an artifact of the latest run",
        description="As artifactInfo, of the run with the highest id, whatever its state.",
        handler=ArtifactApi.latest_artifact_info,
        scopes=_LIST_LATEST,
        output=shapes.ArtifactResponse,
        multi_segment="name",
    ),
    Endpoint(
        name="artifact",
        method="get",
        route=f"{_RUN}/artifact-content/<name>",
        category=_CATEGORY,
        title="Get how to fetch an artifact",
        description="For programs: always JSON, by the storage type of what the links lead to.",
        handler=ArtifactApi.artifact,
        refuses=(410,),
        scopes=_GET,
        deferred=True,
        output=shapes.ArtifactContentResponse,
        multi_segment="name",
    ),
    Endpoint(
        name="latestArtifact",
        method="get",
        route="/task/<taskId>/artifact-content/<name>",
        category=_CATEGORY,
        title="Get how to fetch an artifact of the latest run",
        description="As artifact, of the run with the highest id, whatever its state.",
        handler=ArtifactApi.latest_artifact,
        refuses=(410,),
        scopes=_GET,
        deferred=True,
        output=shapes.ArtifactContentResponse,
        multi_segment="name",
    ),
)
"""Every endpoint of the queue service about artifacts; the handlers are methods of :class:`ArtifactApi`."""
