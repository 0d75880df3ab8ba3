"""What a test task runs: the tests in one folder of a project.

python -m examples.demo.run_tests PROJECT FOLDER RESULTS
"""

import sys
import time
import unittest
from pathlib import Path

from examples.demo.results import write_result


def main(project: Path, folder: Path, results: Path) -> int:
    suite = unittest.defaultTestLoader.discover(str(folder), top_level_dir=str(project))
    start = time.perf_counter()
    outcome = unittest.TextTestRunner(verbosity=2).run(suite)
    result = {
        "kind": "test",
        "folder": str(folder),
        "tests": outcome.testsRun,
        "failed": len(outcome.failures) + len(outcome.errors),
        "seconds": time.perf_counter() - start,
    }
    write_result(results, f"tests-{folder.name}", result)
    return 0 if outcome.wasSuccessful() and outcome.testsRun else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
