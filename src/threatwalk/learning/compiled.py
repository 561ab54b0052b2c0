"""Functions compiled to machine code when they are first called, and what they may use beside plain loops."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """The function as numba compiles it; it holds no lock of the interpreter, so threads run it side by side.

    The code is kept beside the source or, where that may not be written, in the user's cache folder
    (NUMBA_CACHE_DIR names another); where neither may be written, each process compiles for itself.
    """
    return _compiled(function)


def quick(function: F) -> F:
    """The same, with sums in whatever order is fastest: the last digits are the processor's."""
    return _compiled(function, fastmath={"reassoc", "contract"})


def _compiled(function: F, **how: Any) -> F:
    try:
        return cast("F", njit(cache=True, nogil=True, **how)(function))
    except RuntimeError:  # numba: no locator available
        return cast("F", njit(nogil=True, **how)(function))


def _prefetch(_: Any, array: Any, index: Any) -> Any:
    """Start to load array[index] into the cache: a loop that needs it soon need not wait for it then."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, arguments[0])
        place = cgutils.get_item_pointer(context, builder, kind, view, [arguments[1]])  # type: ignore[no-untyped-call]
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        load = builder.module.declare_intrinsic("llvm.prefetch", [byte], form)
        to_read, to_keep, data = number(0), number(3), number(1)
        builder.call(load, [builder.bitcast(place, byte), to_read, to_keep, data])
        return context.get_dummy_value()

    return types.void(array, index), generate


prefetch: Callable[[Any, int], None] = cast("Any", intrinsic(_prefetch))
