"""Builds the package; compiles the message path with mypyc where a C compiler is present.

`TANDEM_COMPILE=0` leaves everything interpreted. The sources are the same either way: a compiled
module lies beside its `.py` as a shared object and Python prefers it.
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import setup

COMPILED = ("switch/wire", "switch/transaction", "switch/call", "switch/policy")
COMPILED_FILES = ("switch/engine.py", "switch/cdr.py")
LEFT_OUT = {"causes.py"}
"""Enums alone: nothing to gain."""


def sources() -> list[str]:
    found = [path for folder in (*COMPILED, "rating") for path in sorted(Path(folder).glob("*.py"))]
    found += [Path(name) for name in COMPILED_FILES if Path(name).exists()]
    return [str(path) for path in found if path.name != "__init__.py" and path.name not in LEFT_OUT]


def extensions() -> list[object]:
    if os.environ.get("TANDEM_COMPILE", "1") == "0":
        print("tandem: left interpreted (TANDEM_COMPILE=0)", file=sys.stderr)
        return []
    if not any(shutil.which(name) for name in (os.environ.get("CC", "cc").split()[0], "gcc", "clang")):
        print("tandem: no C compiler here, left interpreted", file=sys.stderr)
        return []
    from mypyc.build import mypycify

    return list(mypycify(sources(), opt_level="3", debug_level="0", multi_file=False, group_name="tandem"))


setup(ext_modules=extensions())
