"""The cost and the requirements of importing the package."""

import subprocess
import sys

import pytest


def printed(code: str) -> str:
    """Return the output of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module", ["importer_pipeline", "importer_pipeline.listing.coverage", "importer_pipeline.listing.walk"]
)
@pytest.mark.parametrize("stranger", ["dagster", "requests", "pandas"])
def test_what_is_pure_is_imported_without_what_is_heavy(module: str, stranger: str) -> None:
    assert printed(f"import sys, {module}; print({stranger!r} in sys.modules)") == "False"


def test_dagster_finds_one_set_of_definitions_in_the_package() -> None:
    """As Dagster looks for them: by type, among all that the module shows."""
    code = (
        "import inspect, dagster, importer_pipeline; "
        "print(*[name for name, it in inspect.getmembers(importer_pipeline) if isinstance(it, dagster.Definitions)])"
    )
    assert printed(code) == "code_location"


def test_the_package_exports_the_definitions_of_its_module() -> None:
    """Whatever was imported before."""
    code = (
        "import importer_pipeline.defs.names; "
        "import importer_pipeline.definitions as definitions, importer_pipeline as package; "
        "print(package.code_location is definitions.defs)"
    )
    assert printed(code) == "True"


def test_a_name_that_the_package_lacks_is_an_attribute_error() -> None:
    import importer_pipeline

    with pytest.raises(AttributeError, match="'importer_pipeline' has no attribute 'nothing'"):
        _ = importer_pipeline.nothing
