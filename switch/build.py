"""Which build runs: the one that mypyc compiled, or the plain sources."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec


def is_compiled(module: str = "switch.wire.message") -> bool:
    """Whether Python takes `module` from a shared object; the whole message path is built as one."""
    spec = find_spec(module)
    return spec is not None and spec.origin is not None and spec.origin.endswith(tuple(EXTENSION_SUFFIXES))


def build_name() -> str:
    """`compiled` or `interpreted`, for `--version`, logs and metrics."""
    return "compiled" if is_compiled() else "interpreted"
