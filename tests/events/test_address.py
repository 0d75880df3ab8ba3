"""AMQP URLs are read as aio-pika reads them, and never show a password."""

import re

import pytest

from events.address import Address


def test_a_full_url_is_taken_apart() -> None:
    address = Address.parse("amqp://us%40er:p%2Fw@broker.example:5673/v%2Fhost?heartbeat=7")
    assert (address.user, address.password) == ("us@er", "p/w")
    assert (address.host, address.port, address.virtual_host) == ("broker.example", 5673, "v/host")
    assert (address.heartbeat, address.tls) == (7, None)


@pytest.mark.parametrize("path", ["", "/", "/%2F"])
def test_the_root_virtual_host_may_be_left_out(path: str) -> None:
    assert Address.parse(f"amqp://localhost{path}").virtual_host == "/"


def test_what_is_left_out_has_the_usual_value() -> None:
    address = Address.parse("amqp://localhost")
    assert (address.port, address.user, address.password, address.heartbeat) == (5672, "guest", "guest", 30)


def test_amqps_means_verified_tls_on_its_own_port() -> None:
    address = Address.parse("amqps://broker.example")
    assert address.port == 5671
    assert address.tls is not None
    assert address.tls.check_hostname


def test_tls_verification_can_be_turned_off_explicitly() -> None:
    address = Address.parse("amqps://broker.example?no_verify_ssl=1")
    assert address.tls is not None
    assert not address.tls.check_hostname


def test_an_address_shows_no_password() -> None:
    address = Address.parse("amqp://user:secret@host/vh")
    assert str(address) == "amqp://user@host:5672/vh"
    assert "secret" not in repr(address)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://user:secret@host", "an AMQP URL looks like"),
        ("amqp://", "an AMQP URL looks like"),
        ("amqp://user:secret@host:99999", "port: expected"),
        ("amqp://user:secret@host?heartbeat=often", "heartbeat: expected seconds"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        Address.parse(url)
    assert "secret" not in str(caught.value)
