"""Wasm modules that speak OPA's ABI and behave badly in one way each."""

from dataclasses import dataclass

import wasmtime

_MODULE = """
(module
  (import "env" "memory" (memory 2))
  {imports}
  (global (export "opa_wasm_abi_version") i32 (i32.const {major}))
  (global (export "opa_wasm_abi_minor_version") i32 (i32.const {minor}))
  (data (i32.const 1024) "{entrypoints}\\00")
  (data (i32.const 2048) "{builtins}\\00")
  (data (i32.const 3072) "{answer}\\00")
  (func (export "entrypoints") (result i32) (i32.const 1024))
  (func (export "builtins") (result i32) (i32.const 2048))
  (func (export "opa_json_dump") (param i32) (result i32) (local.get 0))
  (func (export "opa_malloc") (param i32) (result i32) (i32.const 8192))
  (func (export "opa_json_parse") (param i32 i32) (result i32) (i32.const {parsed}))
  (func (export "opa_heap_ptr_get") (result i32) (i32.const 65536))
  (func (export "opa_eval") (param i32 i32 i32 i32 i32 i32 i32) (result i32) {evaluate}))
"""

PERMIT = '[{"result":{"allow":true,"reasons":[],"policy_id":"X","obligations":{}}}]'


@dataclass(frozen=True)
class FakeBundle:
    """What an engine takes from a bundle."""

    wasm: bytes
    revision: str = "fake-1"
    data: bytes = b"{}"


def module(
    *,
    answer: str = PERMIT,
    evaluate: str = "(i32.const 3072)",
    imports: str = "",
    builtins: str = "{}",
    abi: tuple[int, int] = (1, 3),
    parsed: int = 8192,
) -> FakeBundle:
    """A module that answers `answer` to everything, or does what `evaluate` (WebAssembly text) says."""
    text = _MODULE.format(
        imports=imports,
        major=abi[0],
        minor=abi[1],
        entrypoints='{"access/decision":0}'.replace('"', '\\"'),
        builtins=builtins.replace('"', '\\"'),
        answer=answer.replace("\\", "\\\\").replace('"', '\\"'),
        parsed=parsed,
        evaluate=evaluate,
    )
    return FakeBundle(bytes(wasmtime.wat2wasm(text)))
