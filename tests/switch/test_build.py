import importlib.util
import os

from switch.build import build_name, is_compiled


def test_a_module_from_a_py_file_counts_as_interpreted() -> None:
    assert not is_compiled("switch.build")


def test_a_module_from_a_shared_object_counts_as_compiled() -> None:
    assert is_compiled("_ssl") or importlib.util.find_spec("_ssl").origin == "built-in"  # type: ignore[union-attr]


def test_an_unknown_module_counts_as_interpreted() -> None:
    assert not is_compiled("no_such_module_anywhere")


def test_the_build_under_test_is_the_one_asked_for() -> None:
    wanted = "compiled" if os.environ.get("TANDEM_TEST_COMPILED") == "1" else "interpreted"
    assert build_name() == wanted
