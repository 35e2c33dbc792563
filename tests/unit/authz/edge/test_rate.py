"""How often somebody may try, in bounded memory."""

import pytest

from authz.edge.rate import MAX_KEYS, RateLimiter, network_of


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_refills() -> None:
    seconds = Seconds()
    limiter = RateLimiter(3, 60, seconds)
    assert [limiter.take("a") for _ in range(3)] == [0, 0, 0]
    assert limiter.take("a") == pytest.approx(20)
    assert limiter.take("b") == 0
    seconds.now = 19.9
    assert limiter.take("a") > 0
    seconds.now = 20.1
    assert limiter.take("a") == 0
    limiter.give_back("a")
    assert limiter.take("a") == 0
    assert limiter.take("a") > 0


def test_memory_is_bounded() -> None:
    limiter = RateLimiter(1, 60, Seconds())
    for number in range(MAX_KEYS + 100):
        limiter.take(str(number))
    assert len(limiter._buckets) == MAX_KEYS


def test_an_ipv6_subscriber_is_one_source() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of(None) == network_of("nonsense") == "unknown"
