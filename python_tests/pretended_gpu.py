"""A GPU that is not there: tensors that say they are on CUDA, whose values are computed on the CPU.

What the host would have to wait for shows as it does under ``torch.cuda.set_sync_debug_mode("error")``: values that are
read, operations whose shape depends on values, copies of memory that is not pinned. Tensors of both devices in one
operation are an error as well. Kernels are those of the CPU, so that values can be compared, and an accumulator's
branches for CUDA run.

    with PretendedGpu() as gpu:
        values = torch.zeros(3, device="cuda")
        with gpu.waits(allowed=False):
            values += 1
        assert values.tolist() == [1, 1, 1]
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten
CUDA = torch.device("cuda", 0)

_READ = {aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default, aten.item.default}
_SHAPED_BY_VALUES = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten.bincount.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
}
_INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
_COPIES = {aten._to_copy.default, aten.copy_.default, aten.copy.default}


class Wait(RuntimeError):
    """The host would wait for the GPU."""


class OnGpu(Tensor):
    """A tensor of CUDA; ``values`` are on the CPU."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> OnGpu:
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=CUDA,
        )
        self.values = values
        return self

    def __repr__(self, **_: Any) -> str:
        return f"OnGpu({self.values!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()  # torch refuses it of subclasses

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{function} of a tensor of a pretended GPU, wanted within PretendedGpu")

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class _CudaGenerator(torch.Generator):
    """Of the CPU, that says it is on CUDA."""

    device = CUDA  # type: ignore[assignment]


_CpuGenerator = torch.Generator


def _generator_of(device: Any = "cpu") -> torch.Generator:
    return _CudaGenerator() if _is_cuda(device) else _CpuGenerator(device)


class RealGpu:
    """The same of a GPU that is there."""

    device = CUDA

    def __enter__(self) -> RealGpu:
        return self

    def __exit__(self, *error: Any) -> None:
        torch.cuda.synchronize()

    @contextmanager
    def waits(self, allowed: bool) -> Iterator[None]:
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("default" if allowed else "error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


class PretendedGpu(TorchDispatchMode):
    """While it is entered, CUDA is there, with as much free memory as asked for."""

    device = CUDA

    def __init__(self, free: int = 2**33) -> None:
        super().__init__()
        self._free = free
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)  # torch does not look for a driver under one
        self._may_wait = True
        self._pinned: dict[int, Tensor] = {}  # kept, or other memory would come to lie there
        self._patches = pytest.MonkeyPatch()

    def __enter__(self) -> PretendedGpu:
        if not torch.backends.cuda.is_built():
            pytest.skip("a torch without CUDA makes no events of a GPU, not even for one that is pretended")
        self._fake.__enter__()
        self._overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # for Module.to
        self._cudnn = torch.backends.cudnn.enabled
        torch.backends.cudnn.enabled = False  # whose operations the CPU has not
        for name in ("active_fake_mode", "detect_fake_mode"):  # under which torch.load reads no values
            self._patches.setattr(torch._guards, name, lambda *_: None)
        self._patches.setattr(torch, "Generator", _generator_of)
        self._patches.setattr(torch.cuda, "mem_get_info", lambda device=None: (self._free, 2 * self._free))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.__future__.set_overwrite_module_params_on_conversion(self._overwrite)
        torch.backends.cudnn.enabled = self._cudnn
        self._patches.undo()
        self._fake.__exit__(*error)

    @contextmanager
    def waits(self, allowed: bool) -> Iterator[None]:
        """Whether the host may wait for the GPU, within."""
        before, self._may_wait = self._may_wait, allowed
        try:
            yield
        finally:
            self._may_wait = before

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        on_gpu, wanted = OnGpu in types, kwargs.get("device")
        with unset_fake_temporarily():
            if function in (aten._pin_memory.default, aten.is_pinned.default):
                return self._pin(function, args[0])
            if kwargs.get("pin_memory"):
                result = function(*args, **kwargs | {"pin_memory": False})
                self._pinned[result.untyped_storage().data_ptr()] = result
                return result
            if not on_gpu and not _is_cuda(wanted):
                return function(*args, **kwargs)
            self._look(function, args, kwargs, on_gpu, wanted)
            if wanted is not None:
                kwargs = kwargs | {"device": torch.device("cpu")}
            plain_args, plain_kwargs = tree_map_only(OnGpu, lambda x: x.values, (args, kwargs))
            result = function(*plain_args, **plain_kwargs)
            return self._returned(result, args, plain_args, on_gpu if wanted is None else _is_cuda(wanted))

    def _returned(self, result: Any, args: Any, plain_args: Any, goes_to_gpu: bool) -> Any:
        """What an operation in place returns is what it was given."""
        for given, plain in zip(args, plain_args, strict=True):
            if result is plain and isinstance(plain, Tensor):
                return given
        return tree_map_only(Tensor, OnGpu, result) if goes_to_gpu else result

    def _look(self, function: Any, args: Any, kwargs: Any, on_gpu: bool, wanted: Any) -> None:
        if function in _COPIES:
            self._look_at_copy(function, args, kwargs, wanted)
        elif function in _READ or function in _SHAPED_BY_VALUES:
            self._wait(str(function))
        elif function in _INDEXED:
            indices = [x for x in args[1] if x is not None]
            if not isinstance(args[0], OnGpu):
                raise RuntimeError(f"{function}: a tensor of the CPU by indices of cuda:0, wanted one device")
            if any(x.dtype in (torch.bool, torch.uint8) for x in indices):
                self._wait(f"{function} by a mask")
            if not all(isinstance(x, OnGpu) for x in indices):
                self._wait(f"{function} by indices of the CPU")
        elif on_gpu:
            given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            if any(not isinstance(x, OnGpu) and x.ndim for x in given):
                raise RuntimeError(f"{function}: tensors are on cuda:0 and on cpu, wanted one device")

    def _look_at_copy(self, function: Any, args: Any, kwargs: Any, wanted: Any) -> None:
        if function is aten._to_copy.default:
            source, target_on_gpu, target = args[0], wanted is None or _is_cuda(wanted), None
            freely = kwargs.get("non_blocking", False)
        else:
            target, source = args[0], args[1]
            target_on_gpu, freely = isinstance(target, OnGpu), (len(args) > 2 and args[2]) or kwargs.get("non_blocking")
        from_gpu = isinstance(source, OnGpu)
        if from_gpu and target_on_gpu:
            return
        host = target if from_gpu else source
        if not freely or host is None or not self._is_pinned(host):
            self._wait(f"{function} {'from' if from_gpu else 'to'} the GPU")

    def _wait(self, what: str) -> None:
        if not self._may_wait:
            raise Wait(what)

    def _pin(self, function: Any, values: Tensor) -> Any:
        if function is aten.is_pinned.default:
            return self._is_pinned(values)
        if self._is_pinned(values):
            return values
        copied = values.clone(memory_format=torch.contiguous_format)
        self._pinned[copied.untyped_storage().data_ptr()] = copied
        return copied

    def _is_pinned(self, values: Tensor) -> bool:
        return not isinstance(values, OnGpu) and values.untyped_storage().data_ptr() in self._pinned


def _is_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"
