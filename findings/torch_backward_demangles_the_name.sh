#!/usr/bin/env bash
# torch 2.13.0: every backward through an autograd function written in C++ demangles the name of the function's C++ type,
# although nobody asks for it and no profiler runs; functions of torch's own do not. The time grows with the name: one
# that is a template of templates costs about a thousand instructions more in each call, which shows where the whole of
# forward and backward is seventy thousand. A short, plain name is quicker.
#
# Output seen:
#   torch 2.13.0
#   backward of x * 2: 0 names demangled
#   backward of a C++ function: 1 (N5torch8autograd7CppNodeI6DoubleEE)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5"
cat >"$folder/demangled.cpp" <<'CPP'
#include <ATen/ATen.h>
#include <dlfcn.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/headeronly/version.h>

#include <cstdio>
#include <string>
#include <vector>

static std::vector<std::string> names;

// Stands before the C++ library's own, which it calls.
extern "C" char* __cxa_demangle(const char* name, char* out, size_t* size, int* status) {
  using Demangle = char* (*)(const char*, char*, size_t*, int*);
  static const auto next = reinterpret_cast<Demangle>(dlsym(RTLD_NEXT, "__cxa_demangle"));
  names.emplace_back(name);
  return next(name, out, size, status);
}

struct Double : torch::autograd::Function<Double> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& x) { return x * 2; }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& grads) {
    return {grads[0] * 2};
  }
};

size_t demangled_in_backward_of(const at::Tensor& result) {
  names.clear();
  result.backward();
  return names.size();
}

int main() {
  const at::Tensor x = at::ones({1}).requires_grad_();
  demangled_in_backward_of(Double::apply(x));  // the first may do more
  const size_t own = demangled_in_backward_of(x * 2), custom = demangled_in_backward_of(Double::apply(x));
  std::printf("torch %s\nbackward of x * 2: %zu names demangled\n", TORCH_VERSION, own);
  std::printf("backward of a C++ function: %zu (%s)\n", custom, custom ? names[0].c_str() : "none");
  return own == 0 && custom == 1 ? 0 : 1;
}
CPP
torch=$("$folder/env/bin/python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent)')
abi=$("$folder/env/bin/python" -c 'import torch; print(int(torch.compiled_with_cxx11_abi()))')
c++ -std=c++20 -rdynamic "-D_GLIBCXX_USE_CXX11_ABI=$abi" -I "$torch/include" "$folder/demangled.cpp" -L "$torch/lib" \
  "-Wl,-rpath,$torch/lib" -Wl,--no-as-needed -ltorch_cpu -lc10 -ldl -o "$folder/demangled"
"$folder/demangled"
