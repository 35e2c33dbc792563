"""The socket on which Envoy asks: what is not one whole request gets no permit, and nobody gets another's answer."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from trust_agent.inquiries import Answer, Asked, InquirySocket

GOOD = (
    b"POST /graphql HTTP/1.1\r\nhost: decision\r\ncontent-length: 4\r\nauthorization: Bearer a\r\n"
    b"authorization: Bearer b\r\nx-sluis-path:\t/graphql?x=1 \r\n\r\nbody"
)
EMPTY = b"GET / HTTP/1.1\r\nhost: decision\r\n\r\n"
LIMIT = 64


@pytest.fixture
def path() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sl-"))
    yield folder / "s"
    shutil.rmtree(folder)


class Handler:
    """Answers with the method and the body; waits or fails when told to."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.came = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.answer: Answer | None = None

    async def __call__(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        self.came.set()
        await self.go.wait()
        if asked.body == b"fail":
            raise RuntimeError("a defect with 999911120")
        return self.answer or (200, [("x-name", "v")], asked.method.encode() + asked.body)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def handler() -> Handler:
    return Handler()


@pytest.fixture
async def connection(path: Path, handler: Handler) -> AsyncIterator[Connection]:
    async with InquirySocket(handler, path, max_body=LIMIT):
        reader, writer = await asyncio.open_unix_connection(path)
        yield reader, writer
        writer.close()


async def said(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of one answer."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    lines = head.lower().split(b"\r\n")
    (length,) = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def everything(reader: asyncio.StreamReader) -> bytes:
    """What is said until the connection ends."""
    try:
        return await asyncio.wait_for(reader.read(), 30)
    except ConnectionResetError:
        return b""


async def test_a_request_is_read_whole(connection: Connection, handler: Handler) -> None:
    reader, writer = connection
    writer.write(GOOD)
    assert await said(reader) == (200, b"POSTbody")
    writer.write(EMPTY)
    assert await said(reader) == (200, b"GET")
    first, second = handler.asked
    assert first.get_all("authorization") == ["Bearer a", "Bearer b"]
    assert first.get("x-sluis-path") == "/graphql?x=1"
    assert (first.get("x-sluis-peer-verified"), first.get_all("content-type")) == (None, [])
    assert second.body == b""


async def test_nothing_is_decided_before_all_of_it_is_there(connection: Connection, handler: Handler) -> None:
    reader, writer = connection
    for _ in range(2):
        handler.asked.clear()
        for byte in GOOD[:-1]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert handler.asked == []
        writer.write(GOOD[-1:])
        assert await said(reader) == (200, b"POSTbody")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GOOD.replace(b"POST /graphql", b"POST"), id="no target"),
        pytest.param(GOOD.replace(b"length: 4", b"length: +4"), id="a sign"),
        pytest.param(GOOD.replace(b"length: 4", b"length: 0x4"), id="another base"),
        pytest.param(GOOD.replace(b"length: 4", b"length: 4, 5"), id="two lengths in one"),
        pytest.param(GOOD.replace(b"host: decision", b"content-length: 5"), id="two lengths"),
        pytest.param(GOOD.replace(b"length: 4", "length: ٤".encode()), id="a digit of another script"),
        pytest.param(GOOD.replace(b"host: decision", b"transfer-encoding: chunked"), id="chunked and a length"),
        pytest.param(GOOD.replace(b"host: decision", b"host : decision"), id="a space before the colon"),
        pytest.param(GOOD.replace(b"host: decision", b"ho\xffst: decision"), id="no name of a header"),
        pytest.param(GOOD.replace(b"decision", b"deci\rx-sluis-peer-verified: 1"), id="half an end of a line"),
        pytest.param(GOOD.replace(b"decision", b"deci\0sion"), id="a zero"),
        pytest.param(b"\x16\x03\x01\r\n\r\n", id="another protocol"),
        pytest.param(GOOD[:-1], id="not all of the body"),
        pytest.param(GOOD[:60], id="not all of the head"),
    ],
)
async def test_what_is_no_whole_request_is_decided_by_nobody(
    connection: Connection, handler: Handler, data: bytes
) -> None:
    reader, writer = connection
    writer.write(data)
    writer.write_eof()
    answer = await everything(reader)
    assert handler.asked == []
    assert b" 200 " not in answer
    # And nothing is said in the words of a library.
    assert not answer or answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("body", "length", "status"),
    [
        (b"x" * LIMIT, LIMIT, 200),
        (b"x" * (LIMIT + 1), LIMIT + 1, 413),
        (b"x" * 1_000_000, 1_000_000, 413),
    ],
)
async def test_a_body_over_the_limit_is_refused(
    connection: Connection, handler: Handler, body: bytes, length: int, status: int
) -> None:
    reader, writer = connection
    writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % length + body)
    assert (await said(reader))[0] == status
    assert len(handler.asked) == (status == 200)


async def test_bytes_of_a_caller_become_characters_that_fit_nothing(connection: Connection, handler: Handler) -> None:
    reader, writer = connection
    writer.write(GOOD.replace(b"Bearer a", b"Bearer \xe2\x80\xa8"))
    await said(reader)
    assert handler.asked[0].get("authorization") == "Bearer â\x80¨"


@pytest.mark.parametrize("value", ["{}\r\nclaims: mine", "a\ny", "a\ry", "a\0", "é"])
async def test_a_header_that_would_begin_another_is_no_permit(
    connection: Connection, handler: Handler, value: str
) -> None:
    handler.answer = (200, [("x-sluis-document", value)], b"")
    reader, writer = connection
    writer.write(GOOD)
    assert await said(reader) == (500, b"")


async def test_a_defect_is_no_permit_tells_nothing_and_leaves_others_alone(
    path: Path, connection: Connection, handler: Handler
) -> None:
    other_reader, other_writer = await asyncio.open_unix_connection(path)
    with capture_logs() as logs:
        other_writer.write(GOOD.replace(b"body", b"fail"))
        assert await said(other_reader) == (500, b"")
    assert [(line["event"], line["error_kind"]) for line in logs] == [("inquiry_failed", "RuntimeError")]
    assert "999911120" not in repr(logs)
    for reader, writer in ((other_reader, other_writer), connection):
        writer.write(GOOD)
        assert await said(reader) == (200, b"POSTbody")
    other_writer.close()


async def test_a_defect_says_nothing_on_the_terminal(
    connection: Connection, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = connection
    writer.write(GOOD.replace(b"body", b"fail"))
    await said(reader)
    assert "999911120" not in "".join(capfd.readouterr()) + caplog.text


async def test_each_of_many_gets_the_answer_to_what_it_asked(path: Path, connection: Connection) -> None:
    del connection  # the socket is open

    async def ask(number: int) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        for turn in range(20):
            body = b"%02d%02d" % (number, turn)
            writer.write(GOOD.replace(b"body", body))
            assert await said(reader) == (200, b"POST" + body)
        writer.close()

    await asyncio.gather(*(ask(number) for number in range(20)))


async def test_two_questions_at_once_are_answered_in_their_order(connection: Connection) -> None:
    reader, writer = connection
    writer.write(GOOD.replace(b"body", b"0001") + GOOD.replace(b"body", b"0002"))
    assert await said(reader) == (200, b"POST0001")
    assert await said(reader) == (200, b"POST0002")


async def test_who_goes_away_before_the_end_of_the_body_is_not_decided_about(path: Path, handler: Handler) -> None:
    with capture_logs() as logs:
        async with InquirySocket(handler, path, max_body=LIMIT):
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(GOOD[:-2])
            await writer.drain()
            writer.transport.abort()
    assert handler.asked == []
    assert {(line["event"], line["log_level"]) for line in logs} <= {("inquiry_unfinished", "info")}


@pytest.mark.parametrize("method", [b"BREW", b"get", b"Post", b"X" * 20])
async def test_a_method_that_http_does_not_know_is_refused_without_words(
    connection: Connection, handler: Handler, method: bytes
) -> None:
    reader, writer = connection
    with capture_logs() as logs:
        writer.write(GOOD.replace(b"POST", method, 1))
        assert await said(reader) == (400, b"")
        assert await everything(reader) == b""
    assert handler.asked == []
    assert [(line["event"], line["log_level"]) for line in logs] == [("inquiry_malformed", "warning")]


async def test_stopping_answers_first_what_was_asked(path: Path, handler: Handler) -> None:
    handler.go.clear()
    async with InquirySocket(handler, path, max_body=LIMIT):
        reader, writer = await asyncio.open_unix_connection(path)
        idle_reader, idle_writer = await asyncio.open_unix_connection(path)
        writer.write(GOOD)
        await handler.came.wait()
        asyncio.get_running_loop().call_later(0.3, handler.go.set)
    assert await said(reader) == (200, b"POSTbody")
    assert await everything(idle_reader) == b""
    assert not path.exists()  # noqa: ASYNC240  one look, in a test
    for each in (writer, idle_writer):
        each.close()


async def test_a_socket_that_can_not_be_made_is_told(tmp_path: Path, handler: Handler) -> None:
    with pytest.raises(OSError, match="No such file"):
        async with InquirySocket(handler, tmp_path / "no" / "s", max_body=LIMIT):
            pytest.fail("it listens nowhere")
