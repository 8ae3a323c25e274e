#include "cpu/dispatch.h"

#include <ATen/Version.h>

#include <string>

namespace amgan::cpu {

Build build_in_use() {
  static const Build chosen = [] {
#if defined(AMGAN_X86_BUILDS)
    const std::string capability = at::get_cpu_capability();
    if (capability == "AVX512") return Build::AVX512;
    if (capability == "AVX2") return Build::AVX2;
#endif
    return Build::DEFAULT;
  }();
  return chosen;
}

const char* name_of(Build build) {
  return build == Build::AVX512 ? "AVX512" : build == Build::AVX2 ? "AVX2" : "DEFAULT";
}

}  // namespace amgan::cpu
