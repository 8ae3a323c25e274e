// Calls the CUDA launchers as the operations do, with addresses that nobody reads, in front of the runtime of
// runtime.cpp. Each line of stdin is a call, `operation dtype rows columns`; it is answered by the lines of its
// launches, a line of `memory address bytes` for its labels, and an empty one.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

#include "args/entropy.h"
#include "args/kplus1.h"
#include "args/leaky_dropout.h"
#include "args/scores.h"
#include "cuda/launchers.h"
#include "math/losses.h"

using namespace amgan;

namespace {

constexpr int64_t kScoreBlocks = 10;  // splits of the scores, as by default

struct Call {
  std::string operation, type;
  int64_t rows, columns;

  Dtype dtype() const {
    return type == "float32"    ? Dtype::float32
           : type == "float64"  ? Dtype::float64
           : type == "bfloat16" ? Dtype::bfloat16
                                : Dtype::float16;
  }
};

// Places as torch's allocator hands them out, multiples of 512 bytes.
template <typename T = void>
T* place(int64_t bytes) {
  static int64_t next = int64_t{1} << 40;
  const int64_t here = next;
  next += (bytes + 511) / 512 * 512 + 512;
  return reinterpret_cast<T*>(here);
}

template <typename Args>
void run(Args& args) {
  if constexpr (requires { args.workspace; }) {
    if (const int64_t count = cuda::workspace_size(args); count > 0) args.workspace = place<double>(8 * count);
  }
  if (const cudaError_t error = cuda::launch(args, nullptr); error != cudaSuccess) {
    std::fprintf(stderr, "a launcher returned error %d\n", static_cast<int>(error));
    std::exit(1);
  }
}

void set(KPlus1Batch& batch, const Call& call, bool labelled, const math::LossCoefficients& loss) {
  const int64_t bytes = 8 * call.rows * call.columns;
  batch.logits = place(bytes), batch.grad = place(bytes);
  batch.rows = call.rows, batch.row_stride = call.columns, batch.scale = 1.0 / static_cast<double>(call.rows);
  batch.coefficients = math::make_coefficients(loss);
  if (labelled) {
    batch.labels = {place(8 * call.rows), 1, false, 0, static_cast<int32_t>(call.columns - 1)};
    std::printf("memory %lld %lld\n", reinterpret_cast<long long>(batch.labels.data), 8LL * call.rows);
  }
}

void losses(const Call& call, bool pair) {
  KPlus1Args args{};
  args.dtype = call.dtype(), args.batches = 1 + pair, args.classes = call.columns - 1, args.fake_column = 1;
  if (pair) {
    set(args.batch[0], call, true, math::real_row(0, 0));
    set(args.batch[1], call, false, math::generated_row(0));
  } else {
    set(args.batch[0], call, false, math::kCrossEntropy);
  }
  args.total = place(8);
  run(args);
}

void entropies(const Call& call) {
  EntropyArgs args{};
  const int64_t bytes = 8 * call.rows * call.columns;
  args.dtype = call.dtype(), args.rows = call.rows, args.classes = args.row_stride = call.columns;
  args.scale = 1.0 / static_cast<double>(call.rows);
  args.logits = place(bytes), args.grad = place(bytes), args.total = place(8);
  run(args);
}

void scores(const Call& call) {
  ScoresArgs args{};
  args.dtype = call.dtype(), args.rows = call.rows, args.classes = args.row_stride = call.columns;
  args.blocks = kScoreBlocks, args.input = place(8 * call.rows * call.columns);
  args.count = place<double>(8 * args.blocks), args.entropy = place<double>(8 * args.blocks);
  for (double** sums : {&args.prob, &args.prob_sq, &args.log_prob}) {
    *sums = place<double>(8 * args.blocks * args.classes);
  }
  run(args);
}

void dropout(const Call& call, bool backward) {
  LeakyDropoutArgs args{};
  const int64_t bytes = 8 * call.rows * call.columns;
  args.dtype = call.dtype(), args.size = call.rows * call.columns;
  args.values = place(bytes), args.out = place(bytes), args.factors = math::make_leaky_dropout(0.3, 0.2);
  if (backward) args.signs = place(bytes);
  args.philox.used = place<int64_t>(16);
  run(args);
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line); std::printf("\n")) {
    std::istringstream words(line);
    Call call;
    words >> call.operation >> call.type >> call.rows >> call.columns;
    if (call.operation == "score_sums") {
      scores(call);
    } else if (call.operation == "class_entropy_and_grad") {
      entropies(call);
    } else if (call.operation == "am_generator_loss_and_grad") {
      losses(call, false);
    } else if (call.operation == "am_discriminator_loss_and_grad") {
      losses(call, true);
    } else if (call.operation == "leaky_dropout") {
      dropout(call, false);
    } else if (call.operation == "leaky_dropout_backward") {
      dropout(call, true);
    } else {
      std::fprintf(stderr, "%s: not an operation known here\n", call.operation.c_str());
      return 1;
    }
  }
}
