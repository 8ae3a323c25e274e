// Importing this module registers the operations (static initialisers of csrc/ops) and offers build_info().
// No torch header here: torch carries a pybind11 of its own, and the two must not meet.
#include <pybind11/pybind11.h>

#include "cpu/dispatch.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, m) {
  m.def("build_info", [] {
    py::dict info;
    info["version"] = AMGAN_VERSION;
    info["torch"] = AMGAN_TORCH_VERSION;
    info["compiler"] = AMGAN_COMPILER;
    info["cpu_capability"] = amgan::cpu::name_of(amgan::cpu::build_in_use());
    info["cpu_builds"] = AMGAN_CPU_BUILDS;
    info["cuda"] = static_cast<bool>(AMGAN_WITH_CUDA);
    info["cuda_reason"] = AMGAN_CUDA_REASON;
    info["cuda_version"] = AMGAN_CUDA_VERSION;
    info["cuda_architectures"] = AMGAN_CUDA_ARCHITECTURES;
    return info;
  });
}
