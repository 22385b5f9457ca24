"""Addresses: what may be bound, what may be connected to."""

import pytest

from mlppa.wire.address import LONGEST_PATH, address_fault


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:5757",
        "tcp://telescope.example.org:1",
        "tcp://eth0:65535",
        "tcp://[::1]:5757",
        "ipc:///tmp/mlppa",
        "ipc://mlppa",
        "ipc://" + LONGEST_PATH * "x",
    ],
)
def test_good_ones(address: str) -> None:
    assert address_fault(address) is None
    assert address_fault(address, bound=False) is None


@pytest.mark.parametrize("address", ["tcp://*:5757", "tcp://127.0.0.1:*", "tcp://127.0.0.1:0"])
def test_only_to_be_bound(address: str) -> None:
    assert address_fault(address) is None
    assert address in str(address_fault(address, bound=False))


@pytest.mark.parametrize(
    "address",
    [
        *("", "nonsense", "127.0.0.1:5757", "tcp:127.0.0.1:5757", "tcp://", "tcp://host"),
        *("tcp://host:", "tcp://:5757", "tcp://host:port", "tcp://host:-1", "tcp://host:65536"),
        *("tcp://host:123456", "tcp://ho st:5757", "tcp://host:5757/", "tcp://::1:5757"),
        *("http://host:5757", "udp://host:5757", "inproc://a", "ipc://", "ipc:/tmp/a"),
        *("ipc://" + (LONGEST_PATH + 1) * "x", "TCP://host:5757", " tcp://host:5757"),
        *("tcp://host:5757\n", "tcp://host:\u0665"),
    ],
)
def test_bad_ones(address: str) -> None:
    assert address_fault(address)
    assert address_fault(address, bound=False)
