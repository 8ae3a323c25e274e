// The way to the CPU kernels of the instruction set in use. The kernel files of this folder are compiled once per
// instruction set; torch's own choice is followed, so ATEN_CPU_CAPABILITY=default|avx2|avx512 overrides it.
//
// A kernel is found by the type of its arguments: its file specialises `run`, in the namespace of its build,
//
//   template <>
//   void run(const KPlus1Args& args) { ... }
//
// and cpu::run(args) calls the right one of the three. There is nothing to add here for a new one.
#pragma once

namespace amgan::cpu {

namespace DEFAULT {
template <typename Args>
void run(const Args& args);
}
namespace AVX2 {
template <typename Args>
void run(const Args& args);
}
namespace AVX512 {
template <typename Args>
void run(const Args& args);
}

enum class Build { DEFAULT, AVX2, AVX512 };

Build build_in_use();

const char* name_of(Build build);

template <typename Args>
void run(const Args& args) {
#if defined(AMGAN_X86_BUILDS)
  if (build_in_use() == Build::AVX512) return AVX512::run(args);
  if (build_in_use() == Build::AVX2) return AVX2::run(args);
#endif
  DEFAULT::run(args);
}

}  // namespace amgan::cpu
