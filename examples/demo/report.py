"""What the report task runs, after all others: add up their results.

python -m examples.demo.report RESULTS
"""

import sys
from pathlib import Path

from examples.demo.results import Result, read_results

REPORT = "report.txt"


def totals(results: list[Result]) -> str:
    """The totals in two lines."""
    files = [result for result in results if result["kind"] == "compile"]
    folders = [result for result in results if result["kind"] == "test"]
    lines, functions, bytecode = (
        sum(result[count] for result in files) for count in ("lines", "functions", "bytecode")
    )
    tests, failed = (sum(result[count] for result in folders) for count in ("tests", "failed"))
    return (
        f"{len(files)} files compiled: {lines:,} lines, {functions:,} functions, {bytecode:,} bytes of code\n"
        f"{len(folders)} test folders: {tests} tests, {failed} failed"
    )


def main(directory: Path) -> None:
    text = totals(read_results(directory))
    (directory / REPORT).write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
