import http.client
import inspect
from collections.abc import Callable
from types import ModuleType

import pytest
import requests.exceptions
import urllib3.exceptions

from importer_pipeline.errors import ImporterError, StopClient, TryAgain
from importer_pipeline.http.faults import FAULTS, QUOTABLE, Fault, GivenUp, fault_of
from importer_pipeline.mailchimp.errors import fault_error as mailchimp_error
from importer_pipeline.target.meanings import fault_error as target_error

LASTING = {Fault.UNSENDABLE, Fault.UNTRUSTED, Fault.BUNDLE, Fault.PROXY_UNUSABLE}
"""Faults that waiting does not help against."""

# The roots of the two trees, which nobody raises as such.
ROOTS = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError)


def raised_by(module: ModuleType) -> list[type[BaseException]]:
    kinds = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, BaseException)]
    return [kind for kind in kinds if not issubclass(kind, Warning) and kind not in ROOTS]


def bare(kind: type[BaseException]) -> BaseException:
    return kind.__new__(kind)


@pytest.mark.parametrize("kind", raised_by(requests.exceptions), ids=lambda kind: kind.__name__)
def test_every_exception_of_requests_is_a_fault_that_is_foreseen(kind: type[BaseException]) -> None:
    assert fault_of(bare(kind)) is not Fault.UNFORESEEN


@pytest.mark.parametrize("kind", raised_by(urllib3.exceptions), ids=lambda kind: kind.__name__)
def test_every_exception_of_urllib3_is_a_fault_that_is_foreseen(kind: type[BaseException]) -> None:
    assert fault_of(bare(kind)) is not Fault.UNFORESEEN


@pytest.mark.parametrize("kind", raised_by(http.client), ids=lambda kind: kind.__name__)
def test_every_exception_of_http_client_is_a_foreseen_fault(kind: type[BaseException]) -> None:
    assert fault_of(bare(kind)) is not Fault.UNFORESEEN


@pytest.mark.parametrize("root", ROOTS, ids=lambda kind: kind.__name__)
def test_an_exception_that_no_line_names_is_unforeseen(root: type[BaseException]) -> None:
    assert fault_of(bare(root)) is Fault.UNFORESEEN


def test_every_line_of_the_table_can_be_reached() -> None:
    for index, (kind, _) in enumerate(FAULTS):
        earlier = [before for before, _ in FAULTS[:index] if issubclass(kind, before)]
        assert not earlier, f"{kind.__name__} stands behind {earlier}"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        pytest.param(
            requests.exceptions.ConnectionError(
                urllib3.exceptions.ProtocolError("aborted", ConnectionResetError(104, "reset"))
            ),
            Fault.HUNG_UP,
            id="reset before an answer",
        ),
        pytest.param(
            requests.exceptions.ConnectionError(
                urllib3.exceptions.ProtocolError("aborted", http.client.BadStatusLine("noise"))
            ),
            Fault.CUT,
            id="an answer that is not HTTP",
        ),
        pytest.param(
            urllib3.exceptions.ProtocolError("broken", ConnectionResetError(104, "reset")),
            Fault.CUT,
            id="reset within a body",
        ),
        pytest.param(
            requests.exceptions.ConnectionError(urllib3.exceptions.ReadTimeoutError(None, "/", "slow")),  # pyright: ignore[reportArgumentType]
            Fault.SLOW,
            id="silence within a body, as requests wraps it",
        ),
        pytest.param(
            requests.exceptions.ProxyError(urllib3.exceptions.ProxyError("no", OSError("Name or service not known"))),
            Fault.PROXY,
            id="a proxy that is not there",
        ),
        pytest.param(UnicodeError("label too long"), Fault.UNSENDABLE, id="a host that is no name"),
        pytest.param(GivenUp(Fault.TOO_LARGE), Fault.TOO_LARGE, id="given up on by ourselves"),
    ],
)
def test_the_innermost_cause_that_tells_more_counts(error: BaseException, fault: Fault) -> None:
    assert fault_of(error) is fault


def test_an_exception_that_carries_itself_ends_the_search() -> None:
    error = OSError()
    error.args = (error,)
    assert fault_of(error) is Fault.UNFORESEEN


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
@pytest.mark.parametrize("error_of", [mailchimp_error, target_error], ids=["mailchimp", "target"])
def test_each_api_has_an_error_for_every_fault(error_of: Callable[[Fault], ImporterError], fault: Fault) -> None:
    error = error_of(fault)
    assert isinstance(error, ImporterError)
    assert fault.value in str(error)
    assert isinstance(error, TryAgain) is (fault not in LASTING)
    assert isinstance(error, StopClient) is (fault in LASTING)


@pytest.mark.parametrize("error_of", [mailchimp_error, target_error], ids=["mailchimp", "target"])
def test_a_fault_of_the_environment_names_its_variable(error_of: Callable[[Fault, str], ImporterError]) -> None:
    assert "HTTPS_PROXY" in str(error_of(Fault.PROXY_UNUSABLE, "HTTPS_PROXY"))


def test_no_fault_that_may_quote_an_answer_is_quotable() -> None:
    assert QUOTABLE.isdisjoint({Fault.CUT, Fault.HUNG_UP, Fault.UNSENDABLE, Fault.PROXY, Fault.UNFORESEEN})
