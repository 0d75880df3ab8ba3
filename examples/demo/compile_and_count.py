"""What a compile task runs: byte-compile one Python file, and count its lines and functions.

python -m examples.demo.compile_and_count FILE RESULTS
"""

import ast
import py_compile
import sys
from pathlib import Path

from examples.demo.results import write_result


def main(file: Path, results: Path) -> None:
    name = "-".join(file.with_suffix("").parts)
    bytecode = results / f"{name}.pyc"
    py_compile.compile(str(file), cfile=str(bytecode), doraise=True)
    source = file.read_text(encoding="utf-8")
    functions = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    result = {
        "kind": "compile",
        "file": str(file),
        "lines": len(source.splitlines()),
        "functions": len(functions),
        "bytecode": bytecode.stat().st_size,
    }
    write_result(results, name, result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
