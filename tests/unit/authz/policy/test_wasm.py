"""The in-process engine against modules that misbehave, and against many evaluations."""

import asyncio
import contextlib
import gc
import itertools
import json
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from authz.policy.calls import Call
from authz.policy.default import default_keys, load_default
from authz.policy.engine import ACCESS_DECISION, MAX_INPUT_BYTES, PolicyUnavailable
from authz.policy.wasm import WasmEngine, WasmLimits
from tests.fakes.policy_modules import PERMIT, module

NOW = default_keys()[0].not_before
BASE = Path(__file__).parents[3] / "contract" / "cases" / "base"
PATIENT = WasmLimits(time_seconds=60)
"""A busy machine may take the processor away in the middle of an evaluation."""
SPIN = "(loop $l (br $l)) (i32.const 0)"


@pytest.fixture(scope="module")
def engine() -> WasmEngine:
    return WasmEngine(load_default(NOW), PATIENT)


@pytest.fixture(scope="module")
def indication() -> Any:
    return json.loads((BASE / "indication.json").read_text())


def refused(document: Any) -> Any:
    changed = json.loads(json.dumps(document))
    changed["evaluations"][0]["resource"]["properties"]["query_filter"]["and"][1]["value"] = "5001"
    return changed


async def test_a_permit_and_its_near_miss(engine: WasmEngine, indication: Any) -> None:
    permit = await engine.decide(ACCESS_DECISION, indication)
    assert permit.allow is True
    assert len(permit.evaluations) == 18
    denial = await engine.decide(ACCESS_DECISION, refused(indication))
    assert (denial.allow, denial.reasons) == (False, ("own_zorgkantoor_required",))
    assert [item.allow for item in denial.evaluations] == [False] + [True] * 17


async def test_bytes_and_mapping_are_the_same(engine: WasmEngine, indication: Any) -> None:
    assert await engine.decide(ACCESS_DECISION, indication) == await engine.decide(
        ACCESS_DECISION, json.dumps(indication).encode()
    )


def test_an_unknown_entrypoint_is_unavailable(engine: WasmEngine) -> None:
    with pytest.raises(PolicyUnavailable):
        engine.decide_now("access/allow", {})


@pytest.mark.parametrize("document", [b"", b"{", b"nonsense", b'{"a":1} {"b":2}', b"\xff\xfe"])
def test_what_is_no_json_gives_no_permit(engine: WasmEngine, document: bytes) -> None:
    with contextlib.suppress(PolicyUnavailable):
        assert engine.decide_now(ACCESS_DECISION, document).allow is False
    # The next decision is not touched by it.
    assert engine.decide_now(ACCESS_DECISION, {}).reasons == ("no_rule", "nothing_to_evaluate")


def test_a_document_that_is_too_large_is_unavailable(engine: WasmEngine) -> None:
    with pytest.raises(PolicyUnavailable, match="larger"):
        engine.decide_now(ACCESS_DECISION, b" " * (MAX_INPUT_BYTES + 1))
    with pytest.raises(PolicyUnavailable, match="JSON"):
        engine.decide_now(ACCESS_DECISION, {"a": object()})


def test_a_deeply_nested_document_gives_no_permit(engine: WasmEngine) -> None:
    depth = 100_000
    with pytest.raises(PolicyUnavailable):
        engine.decide_now(ACCESS_DECISION, b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    assert engine.decide_now(ACCESS_DECISION, {}).allow is False


def test_the_largest_document_fits_the_memory(engine: WasmEngine, indication: Any) -> None:
    wide = json.loads(json.dumps(indication))
    wide["evaluations"] *= 150
    encoded = json.dumps(wide, separators=(",", ":")).encode()
    assert MAX_INPUT_BYTES * 0.8 < len(encoded) <= MAX_INPUT_BYTES
    assert len(WasmEngine(load_default(NOW), PATIENT).decide_now(ACCESS_DECISION, encoded).evaluations) == 18 * 150


# --- modules that misbehave


def test_a_module_that_permits_is_heard() -> None:
    assert WasmEngine(module()).decide_now(ACCESS_DECISION, {}).allow is True


def test_a_module_that_never_ends_is_stopped() -> None:
    engine = WasmEngine(module(evaluate=SPIN), WasmLimits(time_seconds=0.05))
    # That it comes back at all: how soon is for the machine to say.
    with pytest.raises(PolicyUnavailable, match="time"):
        engine.decide_now(ACCESS_DECISION, {})


def test_a_module_that_eats_memory_stays_under_the_cap() -> None:
    # Grows until it may not, then answers with a trap; were there no cap it would take gigabytes.
    grow = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"
    with pytest.raises(PolicyUnavailable, match="memory"):
        WasmEngine(module(evaluate=grow), WasmLimits(memory_bytes=4 << 20)).decide_now(ACCESS_DECISION, {})


def test_a_memory_cap_under_the_module_s_needs_does_not_start() -> None:
    with pytest.raises(PolicyUnavailable):
        WasmEngine(load_default(NOW), WasmLimits(memory_bytes=65536))


def test_an_answer_without_end_is_refused() -> None:
    # The last byte of memory is made non-zero and named as the answer.
    evaluate = "(i32.store8 (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)) (i32.const 65))"
    evaluate += "(i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1))"
    with pytest.raises(PolicyUnavailable, match="no end"):
        WasmEngine(module(evaluate=evaluate)).decide_now(ACCESS_DECISION, {})


@pytest.mark.parametrize("address", ["0x7fffffff", "-1", "-4096"])
def test_an_answer_outside_the_memory_is_refused(address: str) -> None:
    with pytest.raises(PolicyUnavailable):
        WasmEngine(module(evaluate=f"(i32.const {address})")).decide_now(ACCESS_DECISION, {})


def test_an_answer_that_is_too_large_is_refused() -> None:
    with pytest.raises(PolicyUnavailable, match="too large"):
        WasmEngine(module(), WasmLimits(result_bytes=len(PERMIT) // 2)).decide_now(ACCESS_DECISION, {})


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        "null",
        "true",
        '[{"result":true}]',
        PERMIT.replace("true", '"true"'),
        PERMIT.replace("true", "1"),
        PERMIT.replace("true", "null"),
        PERMIT.replace('"allow":true,', ""),
        PERMIT.replace("[]", '["a reason"]'),
        PERMIT.replace("true", "false"),
        PERMIT.replace('"obligations":{}', '"obligations":{},"allowed":true'),
        PERMIT.replace('"obligations":{}', '"obligations":{},"evaluations":[{"allow":false,"reasons":["x"]}]'),
        PERMIT.replace('"obligations":{}', '"obligations":{},"evaluations":[{"allow":"yes","reasons":[]}]'),
        "[" + PERMIT[1:-1] + "," + PERMIT[1:-1] + "]",
        PERMIT + "x",
    ],
)
def test_an_answer_that_is_no_plain_permit_is_none(answer: str) -> None:
    with pytest.raises(PolicyUnavailable):
        WasmEngine(module(answer=answer)).decide_now(ACCESS_DECISION, {})


def test_a_module_that_wants_builtins_does_not_load() -> None:
    with pytest.raises(PolicyUnavailable, match=r"http\.send"):
        WasmEngine(module(builtins='{"http.send":0}'))


def test_a_module_that_calls_a_builtin_all_the_same_is_stopped() -> None:
    imports = '(import "env" "opa_builtin0" (func $b (param i32 i32) (result i32)))'
    engine = WasmEngine(module(imports=imports, evaluate="(call $b (i32.const 0) (i32.const 0))"))
    with pytest.raises(PolicyUnavailable, match="gave up"):
        engine.decide_now(ACCESS_DECISION, {})


def test_a_module_that_aborts_is_no_permit() -> None:
    imports = '(import "env" "opa_abort" (func $a (param i32)))'
    engine = WasmEngine(module(imports=imports, evaluate="(call $a (i32.const 3072)) (i32.const 3072)"))
    with pytest.raises(PolicyUnavailable, match="gave up"):
        engine.decide_now(ACCESS_DECISION, {})


@pytest.mark.parametrize(
    "imports",
    [
        '(import "env" "opa_exec" (func (param i32)))',
        '(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))',
        '(import "env" "opa_abort" (func (param i64)))',
    ],
)
def test_a_module_that_wants_more_of_its_host_does_not_load(imports: str) -> None:
    with pytest.raises(PolicyUnavailable):
        WasmEngine(module(imports=imports))


@pytest.mark.parametrize("abi", [(1, 2), (2, 3), (0, 0), (1, 4)])
def test_another_abi_does_not_load(abi: tuple[int, int]) -> None:
    with pytest.raises(PolicyUnavailable, match="ABI"):
        WasmEngine(module(abi=abi))


def test_data_that_does_not_parse_does_not_load() -> None:
    with pytest.raises(PolicyUnavailable, match="data"):
        WasmEngine(module(parsed=0))


def test_what_is_no_module_does_not_load() -> None:
    with pytest.raises(PolicyUnavailable):
        WasmEngine(type(module())(b"\0asm nonsense"))


# --- one evaluation leaves nothing for the next


def test_a_decision_is_not_touched_by_the_one_before(engine: WasmEngine, indication: Any) -> None:
    for _ in range(50):
        assert engine.decide_now(ACCESS_DECISION, indication).allow is True
        assert engine.decide_now(ACCESS_DECISION, refused(indication)).allow is False
        assert engine.decide_now(ACCESS_DECISION, {}).policy_id == ""


def test_an_instance_that_failed_is_not_used_again() -> None:
    # The first byte of the input decides: "1" spins, anything else permits.
    evaluate = f"(if (i32.eq (i32.load8_u (local.get 3)) (i32.const 49)) (then {SPIN} drop)) (i32.const 3072)"
    engine = WasmEngine(module(evaluate=evaluate), WasmLimits(time_seconds=0.05))
    first = engine._local.instance
    with pytest.raises(PolicyUnavailable):
        engine.decide_now(ACCESS_DECISION, b"1")
    engine._limits = PATIENT
    assert engine.decide_now(ACCESS_DECISION, b"2").allow is True
    assert engine._local.instance is not first


def test_threads_do_not_share_an_instance(engine: WasmEngine, indication: Any) -> None:
    wrong: list[object] = []

    def work(document: Any, *, expected: bool) -> None:
        answers = [engine.decide_now(ACCESS_DECISION, document).allow for _ in range(300)]
        wrong.extend(answer for answer in answers if answer is not expected)

    threads = [
        threading.Thread(target=work, args=(document,), kwargs={"expected": expected})
        for document, expected in ((indication, True), (refused(indication), False)) * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_stays_flat_over_many_evaluations(engine: WasmEngine, indication: Any) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is read from /proc")
    documents = [json.dumps(item).encode() for item in (indication, refused(indication), dict[str, Any]())]

    def run(count: int) -> int:
        for number in range(count):
            engine.decide_now(ACCESS_DECISION, documents[number % 3] + b" " * (number % 97))
        gc.collect()
        return _resident_bytes()

    # A leak shows in every round; what else the process needs for the first time, in one or the other.
    seen = [run(2_000), *(run(6_000) for _ in range(3))]
    assert min(later - sooner for sooner, later in itertools.pairwise(seen)) < (2 << 20) / 3


def test_an_engine_that_is_replaced_goes_away() -> None:
    engine = WasmEngine(module())
    engine.decide_now(ACCESS_DECISION, {})
    inner = weakref.ref(engine._engine)
    del engine
    gc.collect()
    assert inner() is None


def test_the_slow_way_of_calling_gives_the_same(monkeypatch: pytest.MonkeyPatch, indication: Any) -> None:
    def gone(_: Call) -> None:
        raise AttributeError("another release of wasmtime")

    monkeypatch.setattr(Call, "_prepare", gone)
    engine = WasmEngine(load_default(NOW), PATIENT)
    assert engine.decide_now(ACCESS_DECISION, indication).allow is True
    assert engine.decide_now(ACCESS_DECISION, refused(indication)).allow is False
    with pytest.raises(PolicyUnavailable):
        WasmEngine(module(evaluate="unreachable")).decide_now(ACCESS_DECISION, {})


async def test_many_tasks_in_one_loop(engine: WasmEngine, indication: Any) -> None:
    decisions = await asyncio.gather(
        *(engine.decide(ACCESS_DECISION, document) for document in (indication, refused(indication)) * 20)
    )
    assert [decision.allow for decision in decisions] == [True, False] * 20
