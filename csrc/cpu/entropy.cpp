// Class entropy and its gradient on the CPU: one read of the logits from memory, one exponential per element.
#include "args/entropy.h"

#include "cpu/chunks.h"
#include "cpu/dispatch.h"
#include "cpu/entropy_row.h"
#include "cpu/lanes.h"
#include "cpu/layout.h"
#include "cpu/loss.h"
#include "cpu/row.h"
#include "math/entropy.h"

namespace amgan::cpu::CPU_CAPABILITY {
namespace {

// Up to a vector of rows.
template <typename scalar_t>
struct Group {
  const EntropyArgs& args;
  int64_t first, rows;

  const scalar_t* logits(int64_t lane) const {
    return static_cast<const scalar_t*>(args.logits) + (first + lane) * args.row_stride;
  }
  scalar_t* grad(int64_t lane) const { return static_cast<scalar_t*>(args.grad) + (first + lane) * args.classes; }
};

// A row a lane.
template <typename scalar_t>
class InLanes {
 public:
  using T = Computing<scalar_t>;
  using V = Vec<T>;

  InLanes(const EntropyArgs&, T*) {}

  static int64_t workspace_size(const EntropyArgs&) { return 0; }
  static int64_t group_rows(const EntropyArgs&) { return kLanes<T>; }

  math::EntropyRow<V> reduce(const Group<scalar_t>& group) {
    const int64_t classes = group.args.classes;
    logits_.load(group.logits(0), group.args.row_stride, group.rows, classes);
    return entropy_row(logits_, classes, exps_);
  }

  void store_gradient(const Group<scalar_t>& group, const math::EntropyRow<V>& row, const math::EntropyTerms<V>& terms,
                      const V& scale) {
    const auto gradient = math::entropy_gradient<V>(row, terms, scale);
    for (int64_t k = 0; k < group.args.classes; ++k) exps_.set(k, gradient.at(logits_[k] - row.max, exps_[k]));
    exps_.store(group.grad(0), group.rows, group.args.classes);
  }

 private:
  Tile<scalar_t> logits_, exps_;
};

// A row after the other, across its columns.
template <typename scalar_t>
class InColumns {
 public:
  using T = Computing<scalar_t>;
  using V = Vec<T>;

  InColumns(const EntropyArgs& args, T* exps) : exps_(exps, args.classes) {}

  static int64_t workspace_size(const EntropyArgs& args) { return RowExps<scalar_t>::workspace_size(args.classes); }
  static int64_t group_rows(const EntropyArgs& args) { return RowExps<scalar_t>::group_rows(args.classes); }

  math::EntropyRow<V> reduce(const Group<scalar_t>& group) {
    T max[kLanes<T>] = {}, excess[kLanes<T>] = {}, weighted[kLanes<T>] = {};
    for (int64_t lane = 0; lane < group.rows; ++lane) {
      const scalar_t* x = group.logits(lane);
      max[lane] = finite_shift(row_max(x, group.args.classes));
      T* exps = group.args.grad == nullptr ? nullptr : exps_.of(lane, group.grad(lane));
      const auto sums = row_sums<false, true>(x, group.args.classes, max[lane], exps,
                                              group.logits(std::min(lane + 1, group.rows - 1)));
      excess[lane] = sums.excess();
      weighted[lane] = static_cast<T>(sums.weighted);
    }
    return {V::loadu(max), V::loadu(excess), V::loadu(weighted)};
  }

  void store_gradient(const Group<scalar_t>& group, const math::EntropyRow<V>& row, const math::EntropyTerms<V>& terms,
                      const V& scale) {
    const int64_t classes = group.args.classes;
    const auto gradient = math::entropy_gradient<V>(row, terms, scale);
    for (int64_t lane = 0; lane < group.rows; ++lane) {
      const scalar_t* x = group.logits(lane);
      const T* exps = exps_.of(lane, group.grad(lane));
      const auto of_lane = [&](const V& v) {
        T values[kLanes<T>];
        v.store(values);
        return V(values[lane]);
      };
      const V shift = of_lane(row.max);
      const math::EntropyRowGradient<V> of_row{of_lane(gradient.weight), of_lane(gradient.mean)};
      store_row(classes, group.grad(lane), [&](int64_t k) {
        return of_row.at(load_within(x, k, classes) - shift, load_within(exps, k, classes));
      });
    }
  }

 private:
  const RowExps<scalar_t> exps_;
};

// The sum of the entropies of rows [begin, end).
template <typename scalar_t, typename Layout>
double run_rows(const EntropyArgs& args, Layout& layout, int64_t begin, int64_t end) {
  using T = Computing<scalar_t>;
  Vec<T> entropies(T(0));  // a chunk is short enough for float
  for (int64_t first = begin; first < end; first += layout.group_rows(args)) {
    const Group<scalar_t> group{args, first, std::min(layout.group_rows(args), end - first)};
    const auto row = layout.reduce(group);
    const auto terms = math::entropy_terms(row);
    const RowWeights<T> weights(args.row_weight, args.row_weight_stride, first, group.rows);
    const Vec<T> entropy = weights.of_loss(terms.entropy);
    entropies = entropies + first_lanes(entropy, group.rows);
    if (args.entropy != nullptr) {
      entropy.store(static_cast<T*>(args.entropy) + first, static_cast<int>(group.rows));
    }
    if (args.grad != nullptr) {
      const Vec<T> scale = upstream<T>(args.grad_output, args.grad_output_stride, args.scale, first, group.rows);
      layout.store_gradient(group, row, terms, weights.of_scale(scale));
    }
  }
  return sum_lanes(entropies);
}

template <typename scalar_t, typename Layout>
void run_chunks(const EntropyArgs& args) {
  using T = Computing<scalar_t>;
  const Chunks cut(args.classes);
  const int64_t chunks = cut.count(args.rows);
  ChunkSums sums(chunks);
  const Workspace<T> workspace(Layout::workspace_size(args));
  at::parallel_for(0, chunks, cut.grain, [&](int64_t begin, int64_t end) {
    Layout layout(args, workspace.of_this_thread());
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t row = chunk * cut.rows;
      sums[chunk] = run_rows<scalar_t>(args, layout, row, std::min(row + cut.rows, args.rows));
    }
  });
  if (args.total != nullptr) *static_cast<T*>(args.total) = static_cast<T>(args.scale * sums.total(0, chunks));
}

}  // namespace

template <>
void run(const EntropyArgs& args) {
  for_layout<InLanes, InColumns>(args.dtype, args.classes, [&](auto layout) {
    run_chunks<typename decltype(layout)::scalar_t, typename decltype(layout)::type>(args);
  });
}

}  // namespace amgan::cpu::CPU_CAPABILITY
