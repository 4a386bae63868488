"""The version that everything states is that of the package that is installed."""

from __future__ import annotations

from importlib.metadata import version

from landscape.data_store.version import PACKAGE, own_version


def test_it_is_that_of_the_package():
    assert own_version() == version("landscape-workbench") == version(PACKAGE)
