"""What a source may do to those who follow it: nothing but to be late."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from authz.edge import long_poll
from authz.edge.long_poll import LongPoll, Source, SourceRefused

Handler = Callable[[httpx.Request], httpx.Response]
URL = "http://pki.test/x"


class Taker:
    """Takes documents in; refuses those that a test names."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.raising: dict[bytes, Exception] = {}
        self.some = asyncio.Event()

    async def __call__(self, content: bytes, _etag: str | None) -> bool:
        if content in self.raising:
            raise self.raising[content]
        self.taken.append(content)
        self.some.set()
        return True


def poll(handle: Handler, taker: Taker, etag: str | None = None, **options: object) -> LongPoll:
    client = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    return LongPoll(Source("x", URL, "text/plain", 100, taker, lambda: client, **options), etag)  # type: ignore[arg-type]


async def test_the_first_question_waits_for_nothing_and_the_next_says_what_is_known() -> None:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if "if-none-match" in request.headers:
            return httpx.Response(304)
        return httpx.Response(200, content=b"one", headers={"etag": '"1"'})

    confirmed: list[bool] = []
    follower = poll(handle, Taker(), prefer="modes=snapshot;", confirm=lambda: confirmed.append(True))
    assert await follower.fetch() is True
    assert await follower.fetch() is False
    assert confirmed == [True]
    first, second = asked
    assert "prefer" not in first.headers
    assert second.headers["prefer"] == "modes=snapshot;wait=30"
    assert second.headers["if-none-match"] == '"1"'
    assert first.headers["accept-encoding"] == "identity"


async def test_a_tag_of_before_a_restart_is_asked_with_and_a_question_without_waiting_does_not_wait() -> None:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(304)

    assert await poll(handle, Taker(), '"7"').fetch(waiting=False) is False
    assert asked[0].headers["if-none-match"] == '"7"'
    assert "prefer" not in asked[0].headers


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b"x" * 101),
        httpx.Response(200, content=gzip.compress(b"x" * 50), headers={"content-encoding": "gzip"}),
        httpx.Response(302, headers={"location": "http://169.254.169.254/"}),
        httpx.Response(304),
        httpx.Response(503),
    ],
    ids=["too long", "packed", "redirect", "not modified without a question", "away"],
)
async def test_an_answer_of_another_kind_is_refused(answer: httpx.Response) -> None:
    taker = Taker()
    with pytest.raises(SourceRefused):
        await poll(lambda _: answer, taker).fetch()
    assert taker.taken == []


async def test_as_much_as_is_allowed_is_taken() -> None:
    taker = Taker()
    answer = httpx.Response(200, content=b"x" * 100, headers={"content-encoding": "identity"})
    await poll(lambda _: answer, taker).fetch()
    assert taker.taken == [b"x" * 100]


async def test_who_sends_a_byte_now_and_then_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "WHOLE", 0.05)

    async def dribble() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.02)

    with pytest.raises(TimeoutError):
        await poll(lambda _: httpx.Response(200, content=dribble()), Taker()).fetch()


@pytest.mark.parametrize("tag", [b'"\xe9"', b'"a\x00b"', b'"' + b"a" * 9000 + b'"', b"a"])
async def test_an_entity_tag_that_no_header_can_hold_is_not_sent_back(tag: bytes) -> None:
    follower = poll(lambda _: httpx.Response(200, content=b"one", headers=[(b"etag", tag)]), Taker())
    await follower.fetch()
    assert follower.etag is None


async def test_refused_content_is_asked_for_again_as_a_whole() -> None:
    taker = Taker()
    taker.raising[b"bad"] = ValueError("bad")
    follower = poll(lambda _: httpx.Response(200, content=b"bad", headers={"etag": '"2"'}), taker, '"1"')
    with pytest.raises(ValueError, match="bad"):
        await follower.fetch()
    assert follower.etag == '"1"'


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), KeyError("y"), RecursionError(), ExceptionGroup("g", [OSError()])]
)
async def test_nothing_that_an_answer_causes_ends_the_following(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_poll, "_FIRST_PAUSE", 0.001)
    taker = Taker()
    taker.raising[b"evil"] = error
    answers = iter([b"evil", b"evil", b"good"])
    follower = poll(lambda _: httpx.Response(200, content=next(answers, b"good")), taker)
    running = asyncio.create_task(follower.run())
    async with asyncio.timeout(50):
        await taker.some.wait()
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert taker.taken[0] == b"good"


async def test_a_source_that_never_waits_is_not_asked_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr("authz.edge.long_poll.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await poll(lambda _: httpx.Response(304), Taker(), '"1"').run()
    assert min(pauses) > 0.4


class Publisher:
    """Publishes numbered documents under tags of their own; somebody on the path may answer instead, once each."""

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self.forged: list[tuple[int, int]] = []
        self.asked_whole = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked_whole += "if-none-match" not in request.headers
        content, tag = self.forged.pop(0) if self.forged else (self.newest, self.newest)
        if not self.forged and request.headers.get("if-none-match") == f'"{tag}"' and content == tag:
            return httpx.Response(304)
        return httpx.Response(200, content=b"%d" % content, headers={"etag": f'"{tag}"'})


class Newest(Taker):
    """Takes what is newer than what it holds."""

    def __init__(self, held: int = 0) -> None:
        super().__init__()
        self.held = held

    async def __call__(self, content: bytes, etag: str | None) -> bool:
        await super().__call__(content, etag)
        newer = int(content) > self.held
        self.held = max(self.held, int(content))
        return newer


def tag_of(follower: LongPoll) -> str | None:
    return follower.etag


@pytest.mark.parametrize("old", [6, 7])
async def test_an_old_document_under_the_tag_of_the_newest_hides_it_for_one_question(old: int) -> None:
    publisher, taker = Publisher(7), Newest()
    follower = poll(publisher, taker)
    assert await follower.fetch()
    assert not await follower.fetch()
    assert tag_of(follower) == '"7"'
    publisher.newest = 8
    publisher.forged.append((old, 8))
    if old == taker.held:  # what is held, under another tag, is not wrong in itself
        assert not await follower.fetch()
    else:
        with pytest.raises(SourceRefused, match="not newer"):
            await follower.fetch()
    assert tag_of(follower) is None
    assert await follower.fetch()
    assert (taker.held, tag_of(follower)) == (8, '"8"')


@pytest.mark.parametrize("forged", [False, True])
async def test_after_a_restart_a_tag_is_believed_when_it_comes_twice(forged: bool) -> None:  # noqa: FBT001
    publisher, taker = Publisher(8 if forged else 7), Newest(held=7)
    publisher.forged = [(7, 8)] if forged else []
    follower = poll(publisher, taker)
    assert not await follower.fetch()
    assert tag_of(follower) is None
    assert await follower.fetch() is forged
    assert tag_of(follower) == f'"{publisher.newest}"'
    assert taker.held == publisher.newest
    assert not await follower.fetch()
    assert publisher.asked_whole == 2


async def test_ever_other_old_documents_are_trouble_and_asked_for_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 9:
            raise asyncio.CancelledError

    publisher = Publisher(8)
    publisher.forged = [(number, 8) for number in (1, 2) * 9]
    follower = poll(publisher, Newest(held=7))
    monkeypatch.setattr("authz.edge.long_poll.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await follower.run()
    assert follower.trouble.count == 8
    assert pauses[-1] >= 4


@pytest.mark.parametrize(("scheme", "whole"), [("http", 2), ("https", 1)])
async def test_over_plain_http_no_tag_is_believed_for_ever(
    scheme: str, whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = Publisher(9)
    publisher.forged = [(8, 9)]  # a newer one than is held, and not the newest
    taker = Newest(held=7)
    client = httpx.AsyncClient(transport=httpx.MockTransport(publisher))
    follower = LongPoll(Source("x", f"{scheme}://pki.test/x", "text/plain", 100, taker, lambda: client))
    assert await follower.fetch()
    assert not await follower.fetch()
    assert taker.held == 8
    monkeypatch.setattr(long_poll, "TAG_LIFE", -1.0)
    assert await follower.fetch() is (scheme == "http")
    assert publisher.asked_whole == whole
