// The CPU kernels of the instruction set in use. Each file of this folder is compiled once per instruction set;
// torch's own choice is followed, so ATEN_CPU_CAPABILITY=default|avx2|avx512 overrides it.
#pragma once

#include <string>

#include "args/batch_norm.h"
#include "args/entropy.h"
#include "args/kplus1.h"
#include "args/leaky_dropout.h"
#include "args/scores.h"

namespace amgan::cpu {

struct Kernels {
  const char* capability;
  void (*kplus1)(const KPlus1Args&);
  void (*entropy)(const EntropyArgs&);
  void (*scores)(const ScoresArgs&);
  void (*leaky_dropout)(const LeakyDropoutArgs&);
  void (*batch_norm)(const BatchNormArgs&);
};

const Kernels& kernels();

}  // namespace amgan::cpu
