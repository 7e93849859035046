"""Which build the tests run: the sources (default), or the installed, compiled package.

`TANDEM_TEST_COMPILED=1 .venv/bin/pytest` tests what `make build` installed; the repository then
stands last on the path, for the tests' own helpers only.
"""

import os
import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent)
sys.path[:] = [entry for entry in sys.path if entry not in ("", ROOT)]
if os.environ.get("TANDEM_TEST_COMPILED") == "1":
    sys.path.append(ROOT)
else:
    sys.path.insert(0, ROOT)
