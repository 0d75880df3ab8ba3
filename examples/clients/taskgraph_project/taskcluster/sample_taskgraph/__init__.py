"""How this project's tasks become payloads of its worker."""

from taskgraph.transforms.task import payload_builder
from taskgraph.util.schema import Schema


class Shell(Schema, forbid_unknown_fields=False, kw_only=True):
    implementation: str
    os: str
    files: dict[str, str] | None = None


def register(graph_config):
    """Called by taskgraph when it loads the project."""


@payload_builder("shell", schema=Shell)
def build_shell_payload(config, task, task_def):
    task_def["payload"] = {"files": task["worker"].get("files", {})}
    task_def["tags"]["worker-implementation"] = "shell"
