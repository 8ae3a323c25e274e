"""Print as JSON what CMake must know of the installed torch, without initialising CUDA.

Run by CMakeLists.txt with the interpreter that the module is built for. Every decision about CUDA that does not
need a compiler is taken here: architectures from TORCH_CUDA_ARCH_LIST, else from the visible GPU, else from what
this torch was built for (7.5 and newer).
"""

import json
import os
import sys

MINIMUM_ARCH = (7, 5)
NAMED = {
    "Turing": "7.5",
    "Ampere": "8.0;8.6",
    "Ada": "8.9",
    "Hopper": "9.0",
    "Blackwell": "10.0;12.0",
}


def cmake_architectures(torch, arch_list: str) -> list[str]:
    """Architectures in CMake's spelling: '8.6' is 86-real (machine code), '8.6+PTX' is 86 (and PTX)."""
    if arch_list:
        for name, value in NAMED.items():
            arch_list = arch_list.replace(name, value)
        names = arch_list.replace(",", ";").replace(" ", ";").split(";")
        found = []
        for name in filter(None, names):
            number, _, suffix = name.partition("+")
            found.append(number.replace(".", "") + ("" if suffix == "PTX" else "-real"))
        return found
    if torch.cuda.is_available():
        gpus = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
        return [f"{major}{minor}-real" for major, minor in sorted(gpus)]
    built_for = sorted({int(arch[3:]) for arch in torch.cuda.get_arch_list() if arch[3:].isdigit()})
    usable = [arch for arch in built_for if (arch // 10, arch % 10) >= MINIMUM_ARCH]
    # PTX of the newest one lets later GPUs compile the kernels themselves.
    return [f"{arch}-real" for arch in usable[:-1]] + [str(arch) for arch in usable[-1:]]


def main() -> None:
    try:
        import torch
    except ImportError:
        print(json.dumps({"found": False, "python": sys.executable}))
        return
    root = os.path.dirname(torch.__file__)
    include = os.path.join(root, "include")
    libraries = os.path.join(root, "lib")
    print(
        json.dumps(
            {
                "found": True,
                "version": torch.__version__,
                "cuda": torch.version.cuda or "",
                "include": [include, os.path.join(include, "torch", "csrc", "api", "include")],
                "lib": libraries,
                "cxx11_abi": int(torch.compiled_with_cxx11_abi()),
                "architectures": cmake_architectures(torch, os.environ.get("TORCH_CUDA_ARCH_LIST", "").strip())
                if torch.version.cuda
                else [],
            }
        )
    )


if __name__ == "__main__":
    main()
