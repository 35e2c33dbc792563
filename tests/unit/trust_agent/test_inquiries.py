"""The socket on which Envoy asks: what is not exactly what our Envoy says gets no answer, and so is refused."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from trust_agent.inquiries import MAX_HEAD, Answer, Asked, InquirySocket, Malformed, read, write

GOOD = (
    b"POST /graphql HTTP/1.1\r\nhost: decision\r\ncontent-length: 4\r\nauthorization: Bearer a\r\n"
    b"authorization: Bearer b\r\nx-sluis-path:\t/graphql?x=1 \r\n\r\nbody"
)
EMPTY = b"GET / HTTP/1.1\r\nhost: decision\r\n\r\n"


def test_a_request_is_read_whole() -> None:
    asked = read(GOOD, 4)
    assert asked is not None
    assert (asked.method, asked.body) == ("POST", b"body")
    assert asked.get_all("authorization") == ["Bearer a", "Bearer b"]
    assert asked.get("x-sluis-path") == "/graphql?x=1"
    assert asked.get("x-sluis-peer-verified") is None
    assert asked.get_all("content-type") == []
    without_body = read(EMPTY, 4)
    assert without_body is not None
    assert without_body.body == b""


def test_nothing_is_read_before_it_is_complete() -> None:
    for end in range(len(GOOD)):
        assert read(GOOD[:end], 4) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GOOD + b"P", id="more than was said"),
        pytest.param(EMPTY + EMPTY, id="two at once"),
        pytest.param(GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"), id="another version"),
        pytest.param(GOOD.replace(b"POST ", b"POST  "), id="two spaces"),
        pytest.param(GOOD.replace(b"POST /graphql", b"POST"), id="no target"),
        pytest.param(GOOD.replace(b"length: 4", b"length: +4"), id="a sign"),
        pytest.param(GOOD.replace(b"length: 4", b"length: 04"), id="a zero before"),
        pytest.param(GOOD.replace(b"length: 4", b"length: 0x4"), id="another base"),
        pytest.param(GOOD.replace(b"length: 4", b"length: 4, 4"), id="two lengths in one"),
        pytest.param(GOOD.replace(b"host: decision", b"content-length: 4"), id="two lengths"),
        pytest.param(GOOD.replace(b"length: 4", "length: ٤".encode()), id="a digit of another script"),
        pytest.param(GOOD.replace(b"length: 4", b"length: 5"), id="a body over the limit"),
        pytest.param(GOOD.replace(b"host: decision", b"transfer-encoding: chunked"), id="chunked"),
        pytest.param(GOOD.replace(b"host: decision", b"Host: decision"), id="a name as Envoy never writes it"),
        pytest.param(GOOD.replace(b"host: decision", b"host : decision"), id="a space before the colon"),
        pytest.param(GOOD.replace(b"host: decision", b" host: decision"), id="a folded line"),
        pytest.param(GOOD.replace(b"host: decision", b"host"), id="no colon"),
        pytest.param(GOOD.replace(b"host: decision", b": decision"), id="no name"),
        pytest.param(GOOD.replace(b"decision", b"deci\nx-sluis-peer-verified: 1"), id="half an end of a line"),
        pytest.param(GOOD.replace(b"decision", b"deci\rx-sluis-peer-verified: 1"), id="the other half"),
        pytest.param(GOOD.replace(b"decision", b"deci\0sion"), id="a zero"),
        pytest.param(b"\r\n" + GOOD, id="an empty line before"),
        pytest.param(b"\x16\x03\x01\r\n\r\n", id="another protocol"),
        pytest.param(b"a" * MAX_HEAD, id="a head without an end"),
    ],
)
def test_what_our_envoy_would_not_say_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        read(data, 4)


def test_bytes_of_a_caller_become_characters_that_fit_nothing() -> None:
    asked = read(GOOD.replace(b"Bearer a", b"Bearer \xe2\x80\xa8"), 4)
    assert asked is not None
    assert asked.get("authorization") == "Bearer â\x80¨"


def test_an_answer_is_written_with_its_length() -> None:
    assert write((403, [("cache-control", "no-store")], b"no")) == (
        b"HTTP/1.1 403 Forbidden\r\ncache-control: no-store\r\ncontent-length: 2\r\n\r\nno"
    )
    assert write((463, [], b"")) == b"HTTP/1.1 463 \r\ncontent-length: 0\r\n\r\n"
    assert write((405, [], b"no"), with_body=False).endswith(b"content-length: 0\r\n\r\n")


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\ny", "a\ry", "é"])
def test_a_header_that_would_begin_another_is_not_written(value: str) -> None:
    with pytest.raises(ValueError, match=r"line|ascii"):
        write((200, [("x-sluis-document", value)], b""))


@pytest.fixture
def path() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sl-"))
    yield folder / "s"
    shutil.rmtree(folder)


class Handler:
    """Answers with the method and the body; waits or fails when told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.answer: Answer | None = None

    async def __call__(self, asked: Asked) -> Answer:
        self.asked.set()
        await self.go.wait()
        if asked.body == b"fail":
            raise RuntimeError("a defect")
        return self.answer or (200, [], asked.method.encode() + asked.body)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def handler() -> Handler:
    return Handler()


@pytest.fixture
async def connection(path: Path, handler: Handler) -> AsyncIterator[Connection]:
    async with InquirySocket(handler, path, max_body=64):
        reader, writer = await asyncio.open_unix_connection(path)
        yield reader, writer
        writer.close()


async def said(reader: asyncio.StreamReader) -> bytes:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    length = int(head.rpartition(b"content-length: ")[2])
    return head.split(b"\r\n", 1)[0] + b"|" + await reader.readexactly(length)


async def silence(reader: asyncio.StreamReader) -> bool:
    """The connection ends, and not a byte was said."""
    try:
        return await asyncio.wait_for(reader.read(), 20) == b""
    except ConnectionResetError:
        return True


async def test_one_connection_asks_again_and_again(connection: Connection) -> None:
    reader, writer = connection
    for _ in range(3):
        writer.write(GOOD)
        assert await said(reader) == b"HTTP/1.1 200 OK|POSTbody"
    for byte in GOOD:
        writer.write(bytes([byte]))
        await writer.drain()
    assert await said(reader) == b"HTTP/1.1 200 OK|POSTbody"


@pytest.mark.parametrize("data", [b"no HTTP\r\n\r\n", GOOD.replace(b"body", b"fail"), GOOD.replace(b"4", b"65")])
async def test_what_cannot_be_answered_ends_in_silence(connection: Connection, data: bytes) -> None:
    reader, writer = connection
    writer.write(data)
    assert await silence(reader)


async def test_a_header_that_cannot_be_written_ends_in_silence(connection: Connection, handler: Handler) -> None:
    handler.answer = (200, [("x-sluis-document", "{}\r\nclaims: mine")], b"")
    reader, writer = connection
    writer.write(GOOD)
    assert await silence(reader)


async def test_a_second_question_before_the_answer_gets_none(connection: Connection, handler: Handler) -> None:
    handler.go.clear()
    reader, writer = connection
    writer.write(GOOD)
    await handler.asked.wait()
    writer.write(GOOD)
    assert await silence(reader)
    handler.go.set()


async def test_a_defect_in_one_answer_leaves_the_others_alone(
    path: Path, connection: Connection, handler: Handler
) -> None:
    other_reader, other_writer = await asyncio.open_unix_connection(path)
    other_writer.write(GOOD.replace(b"body", b"fail"))
    assert await silence(other_reader)
    reader, writer = connection
    writer.write(GOOD)
    assert await said(reader) == b"HTTP/1.1 200 OK|POSTbody"
    other_writer.close()


async def test_stopping_answers_first_what_was_asked(path: Path, handler: Handler) -> None:
    handler.go.clear()
    async with InquirySocket(handler, path, max_body=64):
        reader, writer = await asyncio.open_unix_connection(path)
        idle_reader, idle_writer = await asyncio.open_unix_connection(path)
        writer.write(GOOD)
        await handler.asked.wait()
        asyncio.get_running_loop().call_soon(handler.go.set)
    assert await said(reader) == b"HTTP/1.1 200 OK|POSTbody"
    assert await silence(reader)
    assert await silence(idle_reader)
    assert not path.exists()  # noqa: ASYNC240  one look, in a test
    for each in (writer, idle_writer):
        each.close()
