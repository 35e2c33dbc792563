"""The in-process engine: policies compiled by `opa build -t wasm`, run by wasmtime.

Specification: shared `spec/policy.md`, "Two engines, one answer"; OPA's WebAssembly ABI 1.3, one-shot `opa_eval`.
One instance for each thread; each evaluation starts from the same heap, so nothing of one decision survives into the
next. Memory is capped, time is bounded, and a module that wants anything of its host is refused when it is loaded:
the host gives it a memory, a way to give up, and nothing else.

Not for verifying: it runs what a `VerifiedBundle` holds.
"""

import ctypes
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import wasmtime

from authz.policy.calls import Call
from authz.policy.engine import Decision, PolicyAnswer, PolicyUnavailable, decision_from, encode_input
from authz.policy.epoch import TICK_SECONDS, keep_ticking

_PAGE = 65536
_ABI = (1, 3)
_RESULT_CHUNK = 4096
_LOAD_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class WasmLimits:
    """Caps on one instance.

    Args:
        memory_bytes: linear memory, rounded down to pages of 64 KiB. QIR-0001-ZKi needs about 0.5 MB.
        time_seconds: wall-clock time of one evaluation, rounded up to ticks of `TICK_SECONDS`. Generous, because a
            busy machine may take the processor away in the middle of a decision that needs 0.1 ms.
        result_bytes: the answer as JSON.
    """

    memory_bytes: int = 16 << 20
    time_seconds: float = 0.25
    result_bytes: int = 256 << 10


class LoadableBundle(Protocol):
    """What the engine takes from a verified bundle."""

    @property
    def revision(self) -> str:
        """Revision of the manifest."""
        ...

    @property
    def data(self) -> bytes:
        """`data.json` as it was signed."""
        ...

    @property
    def wasm(self) -> bytes:
        """`policy.wasm`."""
        ...


class _Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    result: PolicyAnswer


_decode = msgspec.json.Decoder(tuple[_Result, ...]).decode
_decode_names = msgspec.json.Decoder(dict[str, int]).decode

# What a policy module may import. Everything but the memory ends the evaluation: `opa_abort` is how a module gives
# up (it leaves the address of its message in `abort`), and no policy here may call a builtin of its host.
_HOST = """
(module
  (memory (export "memory") {minimum} {maximum})
  (global $abort (export "abort") (mut i32) (i32.const 0))
  (func (export "opa_abort") (param i32) (global.set $abort (local.get 0)) unreachable)
  (func (export "opa_println") (param i32))
  (func (export "opa_builtin0") (param i32 i32) (result i32) unreachable)
  (func (export "opa_builtin1") (param i32 i32 i32) (result i32) unreachable)
  (func (export "opa_builtin2") (param i32 i32 i32 i32) (result i32) unreachable)
  (func (export "opa_builtin3") (param i32 i32 i32 i32 i32) (result i32) unreachable)
  (func (export "opa_builtin4") (param i32 i32 i32 i32 i32 i32) (result i32) unreachable))
"""


class _Instance:
    """One instance with its data parsed. Belongs to one thread. After any error it is thrown away, never reused."""

    def __init__(self, engine: wasmtime.Engine, host: wasmtime.Module, policy: wasmtime.Module, data: bytes) -> None:
        self._store = wasmtime.Store(engine)
        # Loading parses the data, which may be large; it happens once and is bounded all the same.
        self._store.set_epoch_deadline(math.ceil(_LOAD_SECONDS / TICK_SECONDS))
        given = wasmtime.Instance(self._store, host, []).exports(self._store)
        memory = given["memory"]
        if not isinstance(memory, wasmtime.Memory):
            raise PolicyUnavailable("the host module has no memory")
        self._memory = memory
        wanted = [given[item.name or ""] for item in policy.imports]
        exports = wasmtime.Instance(self._store, policy, wanted).exports(self._store)
        self._exports = exports
        version = (self._number("opa_wasm_abi_version"), self._number("opa_wasm_abi_minor_version"))
        if version != _ABI:
            raise PolicyUnavailable(f"the policy module speaks ABI {version}, this engine {_ABI}")
        self._evaluate = Call(self._store, self._function("opa_eval"))
        self.entrypoints = _decode_names(self._dump("entrypoints"))
        builtins = _decode_names(self._dump("builtins"))
        if builtins:
            raise PolicyUnavailable(f"the policy wants builtins of its host: {', '.join(sorted(builtins))}")
        address = self._function("opa_malloc")(self._store, len(data))
        self._write(address, data)
        self._data = self._function("opa_json_parse")(self._store, address, len(data))
        if not self._data:
            raise PolicyUnavailable("the policy module cannot parse its data")
        # From here on the heap begins anew for each evaluation; eight bytes are the widest thing stored there.
        self._heap = (self._function("opa_heap_ptr_get")(self._store) + 7) & ~7

    def _function(self, name: str) -> wasmtime.Func:
        function = self._exports[name]
        if not isinstance(function, wasmtime.Func):
            raise PolicyUnavailable(f"the policy module has no function {name}")
        return function

    def _number(self, name: str) -> int:
        number = self._exports[name]
        return int(number.value(self._store)) if isinstance(number, wasmtime.Global) else 0

    def _dump(self, name: str) -> bytes:
        value = self._function(name)(self._store)
        return self._read(self._function("opa_json_dump")(self._store, value), _PAGE)

    def _base(self) -> int:
        # Asked for each time: growing the memory may move it.
        return ctypes.addressof(self._memory.data_ptr(self._store).contents)

    def _write(self, address: int, content: bytes) -> None:
        missing = address + len(content) - self._memory.data_len(self._store)
        if missing > 0:
            self._memory.grow(self._store, -(-missing // _PAGE))
        ctypes.memmove(self._base() + address, content, len(content))

    def _read(self, address: int, limit: int) -> bytes:
        """The text that ends with a zero byte at `address`, never reading past the memory or past `limit`."""
        room = min(limit, self._memory.data_len(self._store) - address)
        base = self._base() + address
        for size in (min(_RESULT_CHUNK, room), room):
            if size > 0:
                text, end, _ = ctypes.string_at(base, size).partition(b"\0")
                if end:
                    return text
        raise PolicyUnavailable("the policy's answer is too large or has no end")

    def evaluate(self, entrypoint: int, document: bytes, limits: WasmLimits) -> bytes:
        """One evaluation: input in, result set as JSON out.

        Raises:
            PolicyUnavailable: the answer is too large.
            wasmtime.WasmtimeError: the module gave up, ran out of memory or time.
        """
        store = self._store
        store.set_epoch_deadline(math.ceil(limits.time_seconds / TICK_SECONDS) + 1)
        self._write(self._heap, document)
        free = (self._heap + len(document) + 7) & ~7
        address = self._evaluate(0, entrypoint, self._data, self._heap, len(document), free, 0)
        return self._read(address, limits.result_bytes)


class WasmEngine:
    """A `PolicyEngine` over one verified bundle. Another revision is another engine.

    Args:
        bundle: verified bundle; it must hold `policy.wasm`.
        limits: caps on memory, time and answer.

    Raises:
        PolicyUnavailable: the module is not one of ABI 1.3, wants builtins of its host, or does not start.
    """

    def __init__(self, bundle: LoadableBundle, limits: WasmLimits | None = None) -> None:
        self._limits = limits or WasmLimits()
        self._revision = bundle.revision
        self._data = bundle.data
        self._local = threading.local()
        config = wasmtime.Config()
        config.epoch_interruption = True
        self._engine = wasmtime.Engine(config)
        keep_ticking(self._engine)
        maximum = self._limits.memory_bytes // _PAGE
        try:
            self._host = wasmtime.Module(self._engine, _HOST.format(minimum=min(16, maximum), maximum=maximum))
            self._policy = wasmtime.Module(self._engine, bundle.wasm)
            self._check_imports()
            self._local.instance = self._instantiate()
        except wasmtime.WasmtimeError as error:
            raise PolicyUnavailable("the policy module does not load") from error
        self._entrypoints = self._local.instance.entrypoints

    @property
    def revision(self) -> str:
        """Revision of the bundle."""
        return self._revision

    @property
    def entrypoints(self) -> tuple[str, ...]:
        """The entrypoints of the module, sorted."""
        return tuple(sorted(self._entrypoints))

    async def decide(self, entrypoint: str, document: Mapping[str, Any] | bytes) -> Decision:
        """Evaluate in the calling thread; bounded by `WasmLimits`, typically 0.1 ms, so it does not yield.

        Raises:
            PolicyUnavailable: see `PolicyEngine.decide`.
        """
        return self.decide_now(entrypoint, document)

    def decide_now(self, entrypoint: str, document: Mapping[str, Any] | bytes) -> Decision:
        """The same without `async`, for command lines and replays."""
        index = self._entrypoints.get(entrypoint)
        if index is None:
            raise PolicyUnavailable("the bundle has no such entrypoint")
        encoded = encode_input(document)
        instance = getattr(self._local, "instance", None) or self._instantiate()
        # Taken away while it runs: whatever goes wrong in the middle, the next evaluation gets a fresh instance.
        self._local.instance = None
        try:
            raw = instance.evaluate(index, encoded, self._limits)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise PolicyUnavailable("the policy gave up, or ran out of memory or time") from error
        try:
            (answer,) = _decode(raw)
        except (msgspec.DecodeError, ValueError) as error:
            raise PolicyUnavailable("the policy's answer is not a decision") from error
        decision = decision_from(answer.result, self._revision)
        self._local.instance = instance
        return decision

    def _instantiate(self) -> _Instance:
        try:
            return _Instance(self._engine, self._host, self._policy, self._data)
        except (wasmtime.WasmtimeError, wasmtime.Trap, KeyError, IndexError) as error:
            raise PolicyUnavailable("the policy module does not start") from error

    def _check_imports(self) -> None:
        """Refuse a module that wants more than the host gives."""
        offered = {item.name for item in self._host.exports}
        for item in self._policy.imports:
            if item.module != "env" or item.name not in offered:
                raise PolicyUnavailable("the policy module wants something its host does not give")
