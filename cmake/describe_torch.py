"""Print as JSON what CMake must know of the installed torch, without initialising CUDA.

Run by CMakeLists.txt with the interpreter that the module is built for, and the nvcc found, if any. Every decision
about CUDA that does not need a compiler is taken here: architectures from TORCH_CUDA_ARCH_LIST, else from the visible
GPU, else from what this torch was built for (7.5 and newer).
"""

import json
import os
import re
import subprocess
import sys

MINIMUM_ARCH = (7, 5)
NAMED = {
    "Turing": "7.5",
    "Ampere": "8.0 8.6",
    "Ada": "8.9",
    "Hopper": "9.0",
    "Blackwell": "10.0 12.0",
}


def usable(number: str, known: set[str]) -> bool:
    """Whether nvcc compiles for an architecture such as '86' or '90a', 7.5 or newer."""
    digits = number.rstrip("abcdefghijklmnopqrstuvwxyz")
    return (int(digits[:-1]), int(digits[-1])) >= MINIMUM_ARCH and (not known or digits in known)


def asked_for(arch_list: str, known: set[str]) -> tuple[list[str], str]:
    """What TORCH_CUDA_ARCH_LIST names, in CMake's spelling: '8.6' is 86-real (machine code), '8.6+PTX' is 86 (and PTX);
    and what is wrong with it, if anything."""
    found = []
    for word in re.split(r"[ ,;]+", arch_list):
        for name in NAMED.get(word, word).split():
            match = re.fullmatch(r"(\d+)\.(\d)([a-z]?)(\+PTX)?", name)
            if match is None or not usable("".join(match.group(1, 2, 3)), known):
                return [], f"TORCH_CUDA_ARCH_LIST names '{name}', wanted 7.5 or newer, and known to nvcc"
            found.append("".join(match.group(1, 2, 3)) + ("" if match.group(4) else "-real"))
    return found, ""


def built_for(torch) -> list[int]:
    """The architectures of this torch's own kernels: 75, 80, ... It is what torch.cuda.get_arch_list() reads; before
    torch 2.13 that list is empty where no GPU is visible."""
    flags = torch._C._cuda_getArchFlags() if torch.version.cuda else None
    return sorted({int(arch[3:]) for arch in (flags or "").split() if arch[:3] == "sm_" and arch[3:].isdigit()})


def available(torch, known: set[str]) -> list[str]:
    """The visible GPUs, else what this torch was built for, as far as nvcc goes along."""
    if torch.cuda.is_available():
        gpus = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
        numbers = [f"{major}{minor}" for major, minor in sorted(gpus)]
        return [f"{number}-real" for number in numbers if usable(number, known)]
    numbers = [str(arch) for arch in built_for(torch) if usable(str(arch), known)]
    # PTX of the newest one lets later GPUs compile the kernels themselves.
    return [f"{number}-real" for number in numbers[:-1]] + numbers[-1:]


def architectures_of_nvcc(nvcc: str) -> set[str]:
    """{'75', '80', ...}; empty where there is no nvcc, or one too old to say."""
    if not nvcc:
        return set()
    listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"compute_(\d+)", listed))


def main() -> None:
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        print(json.dumps({"found": False}))
        return
    arch_list = os.environ.get("TORCH_CUDA_ARCH_LIST", "").strip()
    known = architectures_of_nvcc(sys.argv[1] if len(sys.argv) > 1 else "")
    architectures, error = asked_for(arch_list, known) if arch_list else (available(torch, known), "")
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
                "architectures": architectures,
                "architectures_error": error,
            }
        )
    )


if __name__ == "__main__":
    main()
