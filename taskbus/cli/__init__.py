"""The command line: ``taskbus serve``, ``worker``, ``task …``, ``listen`` and what else ``--help`` lists."""


def main() -> None:
    """Run the command that ``sys.argv`` names, and exit with its status."""
    from taskbus.cli.app import app

    app(prog_name="taskbus")
