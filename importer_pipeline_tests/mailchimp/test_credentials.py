import base64

import pytest
from pydantic import SecretStr

from importer_pipeline.errors import BrokenAnswer, SecretMissing
from importer_pipeline.mailchimp.credentials import CredentialKind, Credentials, token_base_url

KEY = "0123456789abcdef0123456789abcdef-us6"


def api_key(secret: str) -> Credentials:
    return Credentials(kind=CredentialKind.API_KEY, secret=SecretStr(secret))


def test_an_api_key_is_sent_as_the_password_of_any_user() -> None:
    scheme, _, encoded = api_key(KEY).authorization().partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded).partition(b":")[2] == KEY.encode()


def test_a_token_is_sent_as_a_bearer() -> None:
    token = Credentials(kind=CredentialKind.ACCESS_TOKEN, secret=SecretStr("abc"))
    assert token.authorization() == "Bearer abc"


@pytest.mark.parametrize("kind", CredentialKind)
@pytest.mark.parametrize(
    "secret", ["", " ", "two words-us6", "abc-us6\n", '"abc\r\nX: y"', "k\u00e9y-us6", "\u20ac-us6", "a\0b-us6"]
)
def test_a_secret_that_no_header_could_hold_is_missing(kind: CredentialKind, secret: str) -> None:
    with pytest.raises(SecretMissing) as caught:
        Credentials(kind=kind, secret=SecretStr(secret))
    assert not secret.strip() or secret not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "url"),
    [
        (KEY, "https://us6.api.mailchimp.com/3.0"),
        ("abc-us21", "https://us21.api.mailchimp.com/3.0"),
        ("a-us1-us2", "https://us2.api.mailchimp.com/3.0"),
    ],
)
def test_the_data_centre_is_the_end_of_the_key(key: str, url: str) -> None:
    assert api_key(key).key_base_url() == url


@pytest.mark.parametrize(
    "key",
    [
        "abcdef",
        "abc-",
        "abc-us",
        "abc-6",
        "us6",
        "abc-us6/x",
        "abc-us6.evil.example",
        "abc-us6-",
        "abc-us6x",
        "abc-US6",
    ],
)
def test_a_key_without_a_data_centre_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(SecretMissing, match="data centre") as caught:
        api_key(key).key_base_url()
    assert key == "us6" or key not in str(caught.value)


def test_the_secret_is_not_in_a_repr() -> None:
    assert KEY not in repr(api_key(KEY))


def test_the_endpoint_of_a_token_is_followed_by_the_version() -> None:
    assert token_base_url("https://us3.api.mailchimp.com", any_host=False) == "https://us3.api.mailchimp.com/3.0"


ELSEWHERE = [
    "https://us3.api.mailchimp.com.evil.example",
    "https://evil.example/us3.api.mailchimp.com",
    "https://evilapi.mailchimp.com",
    "https://us3.api.mailchimp.com@evil.example",
    "https://user@us3.api.mailchimp.com",
    "https://us3.api.mailchimp.com:8443",
    "https://evil.example\\.api.mailchimp.com",
    "https://evil.example#.api.mailchimp.com",
    "https://evil.example?.api.mailchimp.com",
    "http://us3.api.mailchimp.com",
    "https://[::1",
    "us3.api.mailchimp.com",
    "https://",
    "",
    None,
    3,
    ["https://us3.api.mailchimp.com"],
]


@pytest.mark.parametrize("endpoint", ELSEWHERE, ids=repr)
def test_a_token_is_sent_to_no_host_but_mailchimps(endpoint: object) -> None:
    with pytest.raises(BrokenAnswer):
        token_base_url(endpoint, any_host=False)


def test_another_metadata_server_may_name_any_host() -> None:
    assert token_base_url("http://127.0.0.1:8900", any_host=True) == "http://127.0.0.1:8900/3.0"


@pytest.mark.parametrize("endpoint", ["https://[::1", "nothing", "", None], ids=repr)
def test_another_metadata_server_must_name_a_host(endpoint: object) -> None:
    with pytest.raises(BrokenAnswer):
        token_base_url(endpoint, any_host=True)
