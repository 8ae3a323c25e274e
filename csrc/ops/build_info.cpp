// What this library is, as the build wrote it down, and the instruction set in use: amgan_fast.build_info() reads it.
#include <torch/library.h>

#include <string>

#include "build_facts.h"
#include "cpu/dispatch.h"

namespace amgan::ops {
namespace {

c10::Dict<std::string, std::string> build_info() {
  c10::Dict<std::string, std::string> info;
  info.insert("version", AMGAN_VERSION);
  info.insert("torch", AMGAN_TORCH_VERSION);
  info.insert("compiler", AMGAN_COMPILER);
  info.insert("cpu_capability", cpu::name_of(cpu::build_in_use()));
  info.insert("cpu_builds", AMGAN_CPU_BUILDS);
  info.insert("cuda", AMGAN_WITH_CUDA ? "built" : "");
  info.insert("cuda_reason", AMGAN_CUDA_REASON);
  info.insert("cuda_version", AMGAN_CUDA_VERSION);
  info.insert("cuda_architectures", AMGAN_CUDA_ARCHITECTURES);
  return info;
}

// A namespace of its own: this is no operation on tensors.
TORCH_LIBRARY(amgan_fast_build, m) {
  m.def("info() -> Dict(str, str)", build_info);
}

}  // namespace
}  // namespace amgan::ops
