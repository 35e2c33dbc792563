"""A Wasm function called with integers, without wasmtime-py's bookkeeping for each call.

`wasmtime.Func.__call__` asks for the function's type and converts each argument anew: about 60 us for the seven
arguments of `opa_eval`, as much as the evaluation itself (docs/decisions/0042). Here the arguments stand in an array
made once. This leans on `wasmtime._ffi` and `wasmtime._func`, which are private: where they are missing or shaped
otherwise, `Call` uses the public way, slower and just as right.
"""

import ctypes
from typing import Any

import wasmtime


class Call:
    """One function of one store, with 32-bit integer arguments and one such result. Belongs to one thread."""

    def __init__(self, store: wasmtime.Store, function: wasmtime.Func) -> None:
        self._store = store
        self._function = function
        self._count = len(function.type(store).params)
        self._fast: Any = None
        try:
            self._fast = self._prepare()
        except (ImportError, AttributeError, TypeError):
            # Another release of wasmtime-py: its public interface does.
            self._fast = None

    def __call__(self, *arguments: int) -> int:
        """Call the function.

        Raises:
            wasmtime.WasmtimeError: it ended in an error.
            wasmtime.Trap: it ended in a trap.
        """
        if self._fast is not None:
            return int(self._fast(*arguments))
        return int(self._function(self._store, *arguments)) & 0xFFFFFFFF

    def _prepare(self) -> Any:  # noqa: ANN401  a closure over ctypes objects
        from wasmtime import _ffi as ffi  # noqa: PLC0415  private: its absence must not stop the module from loading
        from wasmtime._func import enter_wasm  # noqa: PLC0415

        count = self._count
        given = (ffi.wasmtime_val_t * count)()
        for item in given:
            item.kind = ffi.WASMTIME_I32
        results = (ffi.wasmtime_val_t * 1)()
        numbers = [item.of for item in given]
        result = results[0].of
        function = ctypes.byref(self._function._func)  # noqa: SLF001  the point of this module
        store = self._store
        context = store._context  # noqa: SLF001
        call = ffi.wasmtime_func_call

        def fast(*arguments: int) -> int:
            for number, argument in zip(numbers, arguments, strict=True):
                number.i32 = argument
            with enter_wasm(store) as trap:
                error = call(context(), function, given, count, results, 1, trap)
                if error:
                    raise wasmtime.WasmtimeError._from_ptr(error)  # noqa: SLF001
            return result.i32 & 0xFFFFFFFF

        return fast
