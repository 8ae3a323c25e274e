// Float64 sums over the rows of every round-robin block: count, entropy, p, p^2 and log p. At most two launches.
#include "args/scores.h"

#include "cuda/launchers.h"
#include "cuda/scores_long.cuh"
#include "cuda/scores_medium.cuh"
#include "cuda/scores_short.cuh"

namespace amgan::cuda {

template <>
int64_t workspace_size(const ScoresArgs& args) {
  int64_t doubles = 0;
  dispatch(args.dtype, [&](auto tag) {
    using Scalar = typename decltype(tag)::type;
    doubles = args.classes <= kSpanColumns             ? short_rows_workspace<Scalar>(args)
              : args.classes <= kMediumColumns<Scalar> ? medium_rows_workspace(args)
                                                       : long_rows_workspace<Scalar>(args);
    return cudaSuccess;
  });
  return doubles;
}

template <>
cudaError_t launch(const ScoresArgs& args, cudaStream_t stream) {
  return dispatch(args.dtype, [&](auto tag) {
    using Scalar = typename decltype(tag)::type;
    if (args.classes <= kSpanColumns) return sum_short_rows<Scalar>(args, stream);
    if (args.classes <= kMediumColumns<Scalar>) return sum_medium_rows<Scalar>(args, stream);
    return sum_long_rows<Scalar>(args, stream);
  });
}

}  // namespace amgan::cuda
