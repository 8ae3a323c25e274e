"""The CUDA launchers without a GPU: the PTX that nvcc makes of csrc/cuda, executed by an emulator on the CPU.

The emulator lies in the folder PTX_CPU_HOME and stands in for libcudart; it reports what a GPU would let pass (accesses
out of bounds, races, reads of unwritten memory, lanes that miss a shuffle). It says nothing of speed, and its
approximate instructions are not bit for bit those of a GPU.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from ctypes import POINTER, Structure, byref, c_double, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from checking import computing
from sample_inputs import DTYPES
from torch import Tensor

from amgan_fast.ops import KPlus1Terms, ScoreSums

CSRC = Path(__file__).parent.parent / "csrc"
TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind
LIVELOCK = 200_000_000  # switches of threads in one launch; the largest test needs a hundredth of them
EVERYTHING = ("loss", "grad", "total")
# The emulator's runtime with two things of our own. There is a choice of devices, which differ in the shared memory of
# a thread block. And each kernel is a module of its own, of its code and the declarations of its file, since a module
# becomes machine code when the first of its kernels is launched: seconds for one kernel, many minutes for all. Modules
# keep the stacks of their threads, some hundred MB, of which the memory is given back when another one has its turn.
RUNTIME = """
#define __cudaRegisterFunction usual_registration
#define cudaLaunchKernel usual_launch
#define __cudaLaunchKernel usual_launch_by_handle
#define cudaGetDevice usual_device
#define cudaDeviceGetAttribute usual_attribute
#define cudaFuncSetAttribute set_for_all
#include "emurt.cpp"
#undef __cudaRegisterFunction
#undef cudaLaunchKernel
#undef __cudaLaunchKernel
#undef cudaGetDevice
#undef cudaDeviceGetAttribute
#undef cudaFuncSetAttribute
extern "C" void counters(u64* n) { n[0] = g_launches, n[1] = g_errors + g_warnings; }
extern "C" cudaError_t cudaGetDevice(int* device) { return *device = env("PTXEMU_DEVICE", 0), cudaSuccess; }
extern "C" cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (attribute != cudaDevAttrMaxSharedMemoryPerBlockOptin) return usual_attribute(value, attribute, device);
  return *value = (const int[]){227, 163, 99, 64}[device] << 10, cudaSuccess;
}
extern "C" cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int) {
  return set_for_all(kernel, attribute, 227 << 10);  // the shared memory that a block may have on any device
}
static std::map<std::string, std::string> kernels_of(const std::string& ptx) {
  const std::string entry = ".entry ", end = "\\n\\n}\\n";
  std::map<std::string, std::string> code;
  std::string declarations;
  size_t done = 0;
  for (size_t at; (at = ptx.find(entry, done)) != std::string::npos;) {
    const size_t line = ptx.rfind('\\n', at) + 1, name = at + entry.size(), after = ptx.find(end, at) + end.size();
    declarations += ptx.substr(done, line - done);
    code[ptx.substr(name, ptx.find('(', name) - name)] = ptx.substr(line, after - line);
    done = after;
  }
  const std::string lines = ptx.substr(done, ptx.find(".section", done) - done);  // then names for a debugger
  for (auto& [name, text] : code) text = declarations + text + lines;
  return code;
}
extern "C" void __cudaRegisterFunction(void** module, const char* kernel, char*, const char* name, int, uint3*, uint3*,
                                       dim3*, dim3*, int*) {
  static std::map<void**, std::map<std::string, std::string>> modules;
  const auto found = modules.try_emplace(module);
  if (found.second) found.first->second = kernels_of(reinterpret_cast<Mod*>(module)->ptx.at(0));
  fns()[kernel] = Fn{new Mod{nullptr, {found.first->second.at(name)}}, name};
}
static void change_to(Mod* now) {
  static Mod* before = nullptr;
  if (before && before != now && before->so) {
    before->reset();
    reinterpret_cast<void (*)()>(dlsym(before->so, "give_stacks_back"))();
  }
  before = now;
}
extern "C" cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** args, size_t shared,
                                        cudaStream_t stream) {
  change_to(fns().at(kernel).m);
  return usual_launch(kernel, grid, block, args, shared, stream);
}
extern "C" cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** args, size_t shared,
                                          cudaStream_t stream) {
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, args, shared, stream);
}"""
TRANSLATOR = ("run_ptx.py", "ptx2cpp.py", "ptxrt.h")
# Added to ptxrt.h, which is in every module.
MODULE = """
#ifdef PTXRT_MAIN
extern "C" void give_stacks_back() {
  for (u8* stack : g_freestk) madvise(stack, STK, MADV_DONTNEED);
}
#endif
"""


def why_not() -> str | None:
    """Why there is nothing to run, if so."""
    if not os.environ.get("PTX_CPU_HOME"):
        return "needs a PTX emulator: PTX_CPU_HOME is not set"
    return None if shutil.which("nvcc") else "needs nvcc: none on PATH"


def _compile(folder: Path, *arguments: str) -> None:
    command = ["nvcc", "-std=c++17", "-shared", "-Xcompiler", "-fPIC", "-cudart", "none", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def build(cache: Path) -> Path:
    """The folder with both libraries, named by a hash of all that goes into them."""
    home = Path(os.environ["PTX_CPU_HOME"]).resolve()
    sources = [p for name in ("args", "math", "cuda") for p in sorted((CSRC / name).iterdir())]
    inputs = [*sources, Path(__file__), home / "emurt.cpp", *(home / name for name in TRANSLATOR)]
    folder = cache / hashlib.sha256(b"".join(p.read_bytes() for p in inputs)).hexdigest()[:16]
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            place = Path(scratch)
            (place / "runtime.cpp").write_text(RUNTIME)
            _compile(place, "-w", "-O1", f"-I{home}", "runtime.cpp", "-o", "libemurt.so", "-ldl")
            (place / "emulator").mkdir()
            for name in TRANSLATOR:
                added = MODULE if name == "ptxrt.h" else ""
                (place / "emulator" / name).write_text((home / name).read_text() + added)
            (place / "launchers.cpp").write_text(named_launchers())
            kernels = [*(str(p) for p in sources if p.suffix == ".cu"), "launchers.cpp"]
            ptx = ["-gencode", "arch=compute_90,code=compute_90", "--compress-mode=none", "--threads", "0"]
            link = ["-L.", "-lemurt", "-Xlinker", "-rpath,$ORIGIN", "-o", "liblaunchers.so"]
            _compile(place, "-O3", "-lineinfo", f"-I{CSRC}", *ptx, *kernels, *link)
            shutil.copytree(place, folder)
    return folder


# --- csrc/args


class Coefficients(Structure):
    _fields_ = [(name, c_double) for name in "artfuz"]


class Labels(Structure):
    _fields_ = [
        *(("data", c_void_p), ("stride", c_int64)),
        *((name, c_int32) for name in ("are_int32", "min", "max")),
    ]


class KPlus1Batch(Structure):
    _fields_ = [
        *(("logits", c_void_p), ("rows", c_int64), ("row_stride", c_int64)),
        *(("labels", Labels), ("coefficients", Coefficients)),
        *(("second_labels", Labels), ("second_coefficient", c_double), ("scale", c_double)),
        *(("grad_output", c_void_p), ("grad_output_stride", c_int64)),
        *(("row_weight", c_void_p), ("row_weight_stride", c_int64), ("loss", c_void_p), ("grad", c_void_p)),
    ]


class KPlus1Args(Structure):
    _fields_ = [
        *(("dtype", c_int32), ("batches", c_int32), ("classes", c_int64), ("fake_column", c_int32)),
        *(("batch", KPlus1Batch * 2), ("total", c_void_p)),
        *((name, c_void_p) for name in ("labelgan", "auxiliary", "labels_out", "workspace")),
        ("ticket", c_int32),
    ]


class EntropyArgs(Structure):
    _fields_ = [
        *(("dtype", c_int32), ("logits", c_void_p), ("rows", c_int64), ("classes", c_int64), ("row_stride", c_int64)),
        *(("scale", c_double), ("grad_output", c_void_p), ("grad_output_stride", c_int64)),
        *(("row_weight", c_void_p), ("row_weight_stride", c_int64)),
        *((name, c_void_p) for name in ("entropy", "grad", "total", "workspace")),
        ("ticket", c_int32),
    ]


class HingeArgs(Structure):
    _fields_ = [
        *(("dtype", c_int32), ("classes", c_int64), ("fake_column", c_int32), ("margin", c_double)),
        *(("batch", KPlus1Batch), ("total", c_void_p), ("workspace", c_void_p), ("ticket", c_int32)),
    ]


class ScoresArgs(Structure):
    _fields_ = [
        *(("dtype", c_int32), ("probabilities", c_int32), ("in_double", c_int32), ("input", c_void_p)),
        *((name, c_int64) for name in ("rows", "classes", "row_stride", "blocks", "offset")),
        *((name, c_void_p) for name in (*ScoreSums._fields, "workspace")),
        *((f"initial_{name}", c_void_p) for name in ScoreSums._fields),
    ]


class PhiloxArgs(Structure):
    _fields_ = [
        *(("seed", c_uint64), ("offset", c_uint64)),
        *(("seed_at", c_void_p), ("offset_at", c_void_p), ("used", c_void_p)),
    ]


class LeakyDropoutArgs(Structure):
    _fields_ = [
        *(("dtype", c_int32), ("values", c_void_p), ("signs", c_void_p), ("out", c_void_p), ("size", c_int64)),
        *(("positive", c_double), ("negative", c_double), ("dropped", c_int32), ("philox", PhiloxArgs)),
    ]


# --- Launchers are found by the type of their arguments: here each gets a name that ctypes can look up.

ARGUMENTS = {
    "kplus1": KPlus1Args,
    "entropy": EntropyArgs,
    "hinge": HingeArgs,
    "scores": ScoresArgs,
    "leaky_dropout": LeakyDropoutArgs,
}
LAUNCHER = """
#include "args/{name}.h"
#include "cuda/launchers.h"
extern "C" cudaError_t launch_{name}(const amgan::{args}* args, cudaStream_t stream) {{
  return amgan::cuda::launch(*args, stream);
}}"""
WORKSPACE = """
extern "C" int64_t workspace_{name}(const amgan::{args}* args) {{ return amgan::cuda::workspace_size(*args); }}
"""


def named_launchers() -> str:
    code = ""
    for name, args in ARGUMENTS.items():
        template = LAUNCHER + WORKSPACE if hasattr(args, "workspace") else LAUNCHER
        code += template.format(name=name, args=args.__name__)
    return code


# --- What a call is given


@dataclass(frozen=True)
class Schedule:
    """In which order threads and blocks run, how far approximate instructions are off (1: the documented bound), and on
    which device."""

    seed: int = 0
    preempt: int = 0  # with a seed: 1 / the probability of another thread's turn before an access
    resident: int = 1  # blocks under way at once
    noise: float = 0.0
    device: int = 0  # 0 to 3: 227, 163, 99, 64 KB of shared memory for a thread block


IN_ORDER = Schedule()


@dataclass
class Batch:
    """Rows for the kernels; `labels` for those of kplus1 and hinge, `coefficients` and `margin` for one of them."""

    logits: Tensor
    labels: Tensor | None = None
    coefficients: Sequence[float] = (1, 0, 1, 0, 0)
    reduction: str = "sum"
    grad_output: Tensor | None = None  # one for all rows, or one a row
    offset: int = 0  # of the outputs in their allocation, elements
    margin: float = 1.0
    row_weight: Tensor | None = None
    unlabelled: bool = False  # a label may be -1

    @property
    def scale(self) -> float:
        rows = len(self.logits)
        return 1.0 if self.reduction == "sum" else 1 / rows if rows else math.nan


@dataclass
class Outputs:
    """Losses (or entropies) and gradients a batch; None where not wanted."""

    loss: list[Tensor | None]
    grad: list[Tensor | None]
    total: Tensor | None
    terms: KPlus1Terms | None
    launches: int


def _bytes(x: Tensor) -> Tensor:
    """All of the storage that x looks into."""
    return torch.empty(0, dtype=torch.uint8).set_(x.untyped_storage())


def unwritten(*shape: int, dtype: torch.dtype, offset: int = 0) -> Tensor:
    """As the emulator allocates: all bits set."""
    length = offset + math.prod(shape)
    return torch.full((length * dtype.itemsize,), 255, dtype=torch.uint8).view(dtype)[offset:].view(shape)


@contextmanager
def _stderr_in(folder: Path) -> Iterator[Path]:
    """What C code writes to stderr. The file stays where the emulator ends the process."""
    kept = os.dup(2)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="stderr.") as log:
        os.dup2(log.fileno(), 2)
        try:
            yield Path(log.name)
        finally:
            os.dup2(kept, 2)
            os.close(kept)


class Memory:
    """The device tensors of one call, each in an allocation as long as its storage: bounds are exact."""

    def __init__(self, runtime: ctypes.CDLL) -> None:
        self._runtime = runtime
        self._held: list[tuple[Tensor, int, bool]] = []

    def _copy(self, to: int, source: int, count: int, kind: int) -> None:
        assert not count or self._runtime.cudaMemcpy(c_void_p(to), c_void_p(source), c_size_t(count), kind) == 0

    def _place(self, x: Tensor | None, is_output: bool) -> int | None:
        if x is None:
            return None
        base, data = c_void_p(), _bytes(x)
        assert self._runtime.cudaMalloc(byref(base), c_size_t(data.numel())) == 0
        address = base.value or 0  # null where there are no elements
        self._held.append((x, address, is_output))
        if not is_output:
            self._copy(address, data.data_ptr(), data.numel(), TO_DEVICE)
        return address + x.storage_offset() * x.element_size()

    def input(self, x: Tensor | None) -> int | None:
        return self._place(x, is_output=False)

    def output(self, x: Tensor | None) -> int | None:
        """Memory that was never written, as far as the emulator knows."""
        return self._place(x, is_output=True)

    def collect(self) -> None:
        """Fills the outputs; nothing else may have been written."""
        for x, base, is_output in self._held:
            after = torch.empty_like(_bytes(x))
            self._copy(after.data_ptr(), base, after.numel(), TO_HOST)
            before = x.storage_offset() * x.element_size() if is_output else after.numel()
            assert torch.equal(after[:before], _bytes(x)[:before]), "written where no output is"
            _bytes(x).copy_(after)

    def close(self) -> None:
        for _, base, _ in self._held:
            self._runtime.cudaFree(c_void_p(base))


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Emulator:
    """The launchers, called with tensors of the CPU. A report of the emulator is an AssertionError."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        with lock(cache):  # another process that tests waits until both libraries are there
            self._folder = folder = build(cache)
        # Before the libcudart that torch may have loaded for everyone.
        mode = os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND
        self.workspace = 0  # doubles that the last call was given
        self._runtime = ctypes.CDLL(str(folder / "libemurt.so"), mode=mode)
        self._launchers = ctypes.CDLL(str(folder / "liblaunchers.so"), mode=mode)

    def ptx(self) -> dict[str, str]:
        """What nvcc made of each kernel, by its mangled name."""
        parts = (self._folder / "liblaunchers.so").read_bytes().decode("latin1").split(".entry ")[1:]
        return {part.split("(", 1)[0]: part.split("\0", 1)[0] for part in parts}

    def _counters(self) -> tuple[int, int]:
        numbers = (c_uint64 * 2)()
        self._runtime.counters(numbers)
        return numbers[0], numbers[1]

    def _environment(self, schedule: Schedule) -> dict[str, str]:
        options = {"HOME": self._folder / "emulator", "BUILD": self._cache / "ptx", "PYTHON": sys.executable}
        options |= {name.upper(): value for name, value in vars(schedule).items()} | {"MAXSWITCH": LIVELOCK}
        return {f"PTXEMU_{name}": str(value) for name, value in options.items()}

    def _call(self, name: str, args: Structure, memory: Memory, schedule: Schedule) -> int:
        """Returns the number of kernels launched."""
        launcher = getattr(self._launchers, f"launch_{name}")
        launcher.argtypes = [POINTER(type(args)), c_void_p]
        if hasattr(args, "workspace"):
            workspace = getattr(self._launchers, f"workspace_{name}")
            workspace.restype, workspace.argtypes = c_int64, [POINTER(type(args))]
            self.workspace = workspace(args)
            args.workspace = memory.output(unwritten(self.workspace, dtype=torch.float64))
        launches, reports = self._counters()
        with mock.patch.dict(os.environ, self._environment(schedule)), _stderr_in(self._cache) as log:
            error = launcher(args, None)
            text = log.read_text()
        self._runtime.cudaDeviceReset()  # an error sticks to the device, not to the next test
        after = self._counters()
        assert (error, after[1]) == (0, reports), f"{name}, {schedule}: error {error}\n{text}"
        memory.collect()
        return after[0] - launches

    def kplus1(
        self,
        batches: Sequence[Batch],
        fake: str,
        want: Collection[str] = EVERYTHING,
        schedule: Schedule = IN_ORDER,
    ) -> Outputs:
        dtype, columns = batches[0].logits.dtype, batches[0].logits.size(1)
        result = _outputs(batches, want)
        terms = result.terms or (None, None, None)
        with closing(Memory(self._runtime)) as memory:
            args = KPlus1Args(DTYPES.index(dtype), len(batches), columns - (fake == "column"), fake == "column")
            for i, batch in enumerate(batches):
                args.batch[i] = _kplus1_batch(batch, args.classes, memory, result.loss[i], result.grad[i])
            args.total = memory.output(result.total)
            args.labelgan, args.auxiliary, args.labels_out = map(memory.output, terms)
            result.launches = self._call("kplus1", args, memory, schedule)
        return result

    def entropy(self, batch: Batch, want: Collection[str] = EVERYTHING, schedule: Schedule = IN_ORDER) -> Outputs:
        x, result = batch.logits, _outputs([batch], want)
        with closing(Memory(self._runtime)) as memory:
            args = EntropyArgs(DTYPES.index(x.dtype), memory.input(x), *x.shape, x.stride(0), batch.scale)
            args.grad_output, args.grad_output_stride = _of_rows(batch.grad_output, memory)
            args.row_weight, args.row_weight_stride = _of_rows(batch.row_weight, memory)
            args.entropy, args.grad = memory.output(result.loss[0]), memory.output(result.grad[0])
            args.total = memory.output(result.total)
            result.launches = self._call("entropy", args, memory, schedule)
        return result

    def hinge(
        self, batch: Batch, fake: str, want: Collection[str] = EVERYTHING, schedule: Schedule = IN_ORDER
    ) -> Outputs:
        x, result = batch.logits, _outputs([batch], want)
        with closing(Memory(self._runtime)) as memory:
            column = fake == "column"
            args = HingeArgs(DTYPES.index(x.dtype), x.size(1) - column, column, batch.margin)
            args.batch = _kplus1_batch(batch, args.classes, memory, result.loss[0], result.grad[0])
            args.total = memory.output(result.total)
            result.launches = self._call("hinge", args, memory, schedule)
        return result

    def scores(
        self, x: Tensor, blocks: int, offset: int, probabilities: bool, schedule: Schedule = IN_ORDER
    ) -> tuple[ScoreSums, int]:
        """The sums, and the number of launches."""
        shapes = [(blocks,)] * 2 + [(blocks, x.size(1))] * 3
        sums = ScoreSums(*(unwritten(*shape, dtype=torch.float64) for shape in shapes))
        with closing(Memory(self._runtime)) as memory:
            shape = (*x.shape, x.stride(0), blocks, offset)
            outputs = map(memory.output, sums)
            args = ScoresArgs(DTYPES.index(x.dtype), probabilities, False, memory.input(x), *shape, *outputs)
            launches = self._call("scores", args, memory, schedule)
        return sums, launches

    def leaky_dropout(
        self,
        values: Tensor,
        p: float,
        slope: float,
        signs: Tensor | None = None,
        philox: tuple[int, int] | Tensor = (0, 0),
        captured: int | None = None,
        place: int = 0,
        schedule: Schedule = IN_ORDER,
    ) -> tuple[Tensor, Tensor]:
        """The output, `place` elements into its allocation, and the state of the generator that it says it used.
        `philox`: seed and offset, or where a graph finds them, which is then `captured` words into its own numbers."""
        dropped = round(p * 65536)
        scale = 65536 / (65536 - dropped) if dropped < 65536 else math.inf
        out, used = unwritten(len(values), dtype=values.dtype, offset=place), unwritten(2, dtype=torch.int64)
        with closing(Memory(self._runtime)) as memory:
            inputs = (memory.input(values), memory.input(signs), memory.output(out))
            args = LeakyDropoutArgs(DTYPES.index(values.dtype), *inputs, len(values), scale, slope * scale, dropped)
            if isinstance(philox, Tensor):
                at = memory.input(philox) or 0
                args.philox = PhiloxArgs(0, captured or 0, at, at + philox.element_size(), memory.output(used))
            else:
                args.philox = PhiloxArgs(*(x % 2**64 for x in philox), None, None, memory.output(used))
            launches = self._call("leaky_dropout", args, memory, schedule)
        assert launches == 1
        return out, used


def _outputs(batches: Sequence[Batch], want: Collection[str]) -> Outputs:
    given = batches[0].logits
    exact, rows = computing(given.dtype), len(given)

    def each(name: str, dtype: torch.dtype, *, wide: bool) -> list[Tensor | None]:
        shapes = [b.logits.shape if wide else b.logits.shape[:1] for b in batches]
        made = [unwritten(*s, dtype=dtype, offset=b.offset) for s, b in zip(shapes, batches, strict=True)]
        return made if name in want else [None] * len(batches)

    terms = [unwritten(rows, dtype=t) for t in (exact, exact, torch.int64)]
    return Outputs(
        loss=each("loss", exact, wide=False),
        grad=each("grad", given.dtype, wide=True),
        total=unwritten(1, dtype=exact) if "total" in want else None,
        terms=KPlus1Terms(*terms) if "terms" in want else None,
        launches=0,
    )


def _of_rows(x: Tensor | None, memory: Memory) -> tuple[int | None, int]:
    return memory.input(x), x.stride(0) if x is not None and x.dim() else 0


def _labels(labels: Tensor | None, least: int, largest: int, memory: Memory) -> Labels:
    if labels is None:
        return Labels()
    return Labels(memory.input(labels), labels.stride(0), labels.dtype == torch.int32, least, largest)


def _kplus1_batch(batch: Batch, classes: int, memory: Memory, loss: Tensor | None, grad: Tensor | None) -> KPlus1Batch:
    a, r, t, f, u = batch.coefficients
    z = math.fsum((a, r, -t, -f, -u))
    out = KPlus1Batch(memory.input(batch.logits), len(batch.logits), batch.logits.stride(0))
    out.labels = _labels(batch.labels, -batch.unlabelled, classes, memory)
    out.coefficients = Coefficients(a, r, t, f, u, 0.0 if abs(z) < 1e-14 else z)
    out.scale = batch.scale
    out.grad_output, out.grad_output_stride = _of_rows(batch.grad_output, memory)
    out.row_weight, out.row_weight_stride = _of_rows(batch.row_weight, memory)
    out.loss, out.grad = memory.output(loss), memory.output(grad)
    return out
