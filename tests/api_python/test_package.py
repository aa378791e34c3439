"""The names of the package."""

import ast
from importlib.metadata import version

import pytest

import faceanalytics as fa
from tests.conftest import ROOT


def test_every_name_is_there_and_is_imported_from_where_its_type_is() -> None:
    typed: dict[str, str] = {}
    for node in ast.walk(ast.parse((ROOT / "faceanalytics" / "__init__.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("faceanalytics.", "streamer.")):
            typed |= {alias.name: node.module for alias in node.names}
    found = {name: module for module, names in vars(fa)["_MODULES"].items() for name in names}
    assert found == typed
    assert sorted([*found, "__version__", "aio"]) == sorted(fa.__all__)
    for name in fa.__all__:
        assert getattr(fa, name) is not None
    assert set(fa.__all__) <= set(dir(fa))


def test_the_version_is_that_of_the_installation() -> None:
    assert fa.__version__ == version("faceanalytics")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        fa.analyse  # type: ignore[attr-defined]  # noqa: B018


def test_errors_are_public() -> None:
    for kind in (fa.ConfigError, fa.InputError, fa.ModelError, fa.LostDependency, fa.StreamerError, fa.MissingPackage):
        assert issubclass(kind, fa.UserError)
