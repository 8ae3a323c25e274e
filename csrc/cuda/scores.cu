// Float64 sums over the rows of every round-robin block: count, entropy, p, p^2 and log p. At most two launches.
#include "args/scores.h"

#include "cuda/launchers.h"
#include "cuda/scores_long.cuh"
#include "cuda/scores_rows.cuh"
#include "cuda/scores_tile.cuh"

namespace amgan::cuda {

template <>
int64_t workspace_size(const ScoresArgs& args) {
  int64_t doubles = 0;
  dispatch(args.dtype, [&](auto tag) {
    using Scalar = typename decltype(tag)::type;
    doubles = args.classes <= kTileColumns          ? tile_workspace<Scalar>(args)
              : args.classes <= kRowColumns<Scalar> ? rows_workspace<Scalar>(args)
                                                    : long_rows_workspace<Scalar>(args);
    return cudaSuccess;
  });
  return doubles;
}

template <>
cudaError_t launch(const ScoresArgs& args, cudaStream_t stream) {
  return dispatch(args.dtype, [&](auto tag) {
    using Scalar = typename decltype(tag)::type;
    if (args.classes <= kTileColumns) return sum_tiles<Scalar>(args, stream);
    if (args.classes <= kRowColumns<Scalar>) return sum_rows<Scalar>(args, stream);
    return sum_long_rows<Scalar>(args, stream);
  });
}

}  // namespace amgan::cuda
