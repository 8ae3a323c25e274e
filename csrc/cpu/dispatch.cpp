#include "cpu/dispatch.h"

#include <ATen/Version.h>

namespace amgan::cpu {

#define AMGAN_DECLARE_BUILD(BUILD)                                                       \
  namespace BUILD {                                                                      \
  void kplus1(const KPlus1Args&);                                                        \
  void entropy(const EntropyArgs&);                                                      \
  void scores(const ScoresArgs&);                                                        \
  void leaky_dropout(const LeakyDropoutArgs&);                                           \
  void batch_norm(const BatchNormArgs&);                                                 \
  constexpr Kernels kernels{#BUILD, kplus1, entropy, scores, leaky_dropout, batch_norm}; \
  }

AMGAN_DECLARE_BUILD(DEFAULT)
#if defined(AMGAN_X86_BUILDS)
AMGAN_DECLARE_BUILD(AVX2)
AMGAN_DECLARE_BUILD(AVX512)
#endif

const Kernels& kernels() {
  static const Kernels* const chosen = [] {
#if defined(AMGAN_X86_BUILDS)
    const std::string capability = at::get_cpu_capability();
    if (capability == "AVX512") return &AVX512::kernels;
    if (capability == "AVX2") return &AVX2::kernels;
#endif
    return &DEFAULT::kernels;
  }();
  return *chosen;
}

}  // namespace amgan::cpu
