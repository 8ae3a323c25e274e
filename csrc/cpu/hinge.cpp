// The multi-hinge on the CPU, its gradient, and the slope of the loss along v: one read of the logits from memory.
#include "args/hinge.h"

#include <bit>
#include <limits>

#include "args/along.h"
#include "cpu/chunks.h"
#include "cpu/dispatch.h"
#include "cpu/lanes.h"
#include "cpu/layout.h"
#include "cpu/loss.h"
#include "cpu/row.h"
#include "math/hinge.h"

namespace amgan::cpu::CPU_CAPABILITY {
namespace {

template <typename T>
constexpr T kLowest = -std::numeric_limits<T>::infinity();

// Up to a vector of rows, a lane each.
template <typename scalar_t>
struct Group {
  const HingeArgs& args;
  int64_t first, rows;

  int64_t columns() const { return args.classes + args.fake_column; }
  const scalar_t* logits(int64_t lane) const {
    return static_cast<const scalar_t*>(args.batch.logits) + (first + lane) * args.batch.row_stride;
  }
  scalar_t* grad(int64_t lane) const { return static_cast<scalar_t*>(args.batch.grad) + (first + lane) * columns(); }
};

// Where label and runner-up of a row are: columns, or K for the generated class that is none.
struct Places {
  int64_t label, other;
};

// spoiled, or NaN where x is NaN or +inf.
template <typename T>
Vec<T> spoiled_by(const Vec<T>& x, const Vec<T>& spoiled) {
  return select(less(x, Vec<T>(std::numeric_limits<T>::infinity())), spoiled,
                Vec<T>(std::numeric_limits<T>::quiet_NaN()));
}

// Both ways through the columns keep a group of rows between
//   reduce: its labels, runners-up and what spoils it,
//   places: where these are,
//   store_gradient.

// A row a lane.
template <typename scalar_t>
class InLanes {
 public:
  using T = Computing<scalar_t>;
  using V = Vec<T>;

  static int64_t group_rows(const HingeArgs&) { return kLanes<T>; }

  math::HingeRow<V> reduce(const Group<scalar_t>& group) {
    const int64_t classes = group.args.classes;
    tile_.load(group.logits(0), group.args.batch.row_stride, group.rows, group.columns());
    if (group.columns() == classes) tile_.set(classes, V(T(0)));
    const Labels& labels = group.args.batch.labels;
    label_ = labels.given() ? given_labels<T>(labels, group.first, group.rows) : likeliest(classes);
    const V lowest(kLowest<T>);
    math::HingeRow<V> row{lowest, lowest, V(T(0))};
    other_ = V(T(0));
    for (int64_t k = 0; k <= classes; ++k) {
      const V x = tile_[k], column(static_cast<T>(k));
      const auto is_label = equal(label_, column);
      const V rival = select(is_label, lowest, x);
      row.target = select(is_label, x, row.target);
      other_ = select(less(row.other, rival), column, other_);
      row.other = larger(row.other, rival);
      row.spoiled = spoiled_by(x, row.spoiled);
    }
    return row;
  }

  Places places(const Group<scalar_t>&, int64_t lane) const {
    T label[kLanes<T>], other[kLanes<T>];
    label_.store(label);
    other_.store(other);
    return {static_cast<int64_t>(label[lane]), static_cast<int64_t>(other[lane])};
  }

  void store_gradient(const Group<scalar_t>& group, const math::HingeRowGradient<V>& gradient) {
    const V opposite = V(T(0)) - gradient.weight;
    for (int64_t k = 0; k < group.columns(); ++k) {
      const V column(static_cast<T>(k));
      const V unless_label = select(equal(label_, column), opposite, gradient.elsewhere);
      tile_.set(k, select(equal(other_, column), gradient.weight, unless_label));
    }
    tile_.store(group.grad(0), group.rows, group.columns());
  }

 private:
  // The first of the largest real logits.
  V likeliest(int64_t classes) const {
    V largest(kLowest<T>), label(T(0));
    for (int64_t k = 0; k < classes; ++k) {
      const V x = tile_[k];
      label = select(less(largest, x), V(static_cast<T>(k)), label);
      largest = larger(largest, x);
    }
    return label;
  }

  Tile<scalar_t> tile_;
  V label_, other_;
};

// The two largest numbers of a row, which are alike where it has the largest twice.
template <typename T>
struct TwoLargest {
  Vec<T> first{kLowest<T>}, second{kLowest<T>}, spoiled{T(0)};

  void add(const Vec<T>& x) {
    second = larger(second, at::vec::clamp_max(first, x));
    first = larger(first, x);
    spoiled = spoiled_by(x, spoiled);
  }

  void add(const TwoLargest& more) {
    second = larger(larger(second, more.second), at::vec::clamp_max(first, more.first));
    first = larger(first, more.first);
    spoiled = spoiled + more.spoiled;
  }
};

template <typename scalar_t>
TwoLargest<Computing<scalar_t>> two_largest(const scalar_t* x, int64_t n) {
  using T = Computing<scalar_t>;
  constexpr int64_t step = kLanes<T>;
  TwoLargest<T> even, odd;
  int64_t k = 0;
  for (; k + 2 * step <= n; k += 2 * step) {
    even.add(load_vec(x + k));
    odd.add(load_vec(x + k + step));
  }
  for (; k < n; k += step) even.add(k + step <= n ? load_vec(x + k) : load_vec(x + k, n - k, kLowest<T>));
  even.add(odd);
  return even;
}

// A row after the other, across its columns; a group stays in the caches until its gradient is written.
template <typename scalar_t>
class InColumns {
 public:
  using T = Computing<scalar_t>;
  using V = Vec<T>;

  static int64_t group_rows(const HingeArgs& args) { return RowExps<scalar_t>::group_rows(args.classes); }

  math::HingeRow<V> reduce(const Group<scalar_t>& group) {
    const KPlus1Batch& batch = group.args.batch;
    const int64_t classes = group.args.classes;
    T target[kLanes<T>] = {}, other[kLanes<T>] = {}, spoiled[kLanes<T>] = {};
    for (int64_t lane = 0; lane < group.rows; ++lane) {
      const scalar_t* x = group.logits(lane);
      const TwoLargest<T> two = two_largest(x, classes);
      const T first = max_lanes(two.first), fake = fake_logit(group, lane);
      const auto holds_first = equal(two.first, V(first));
      const bool twice = std::popcount(lane_bits(holds_first)) > 1;
      const T second = twice ? first : max_lanes(select(holds_first, two.second, two.first));
      const int64_t label = batch.labels.given() ? batch.labels.at(group.first + lane) : kLikeliest;
      target[lane] = label == kLikeliest ? first : label < classes ? static_cast<T>(x[label]) : fake;
      other_real_[lane] = label < classes && target[lane] == first ? second : first;
      other_is_fake_[lane] = label < classes && fake > other_real_[lane];
      other[lane] = other_is_fake_[lane] ? fake : other_real_[lane];
      spoiled[lane] = sum_lanes(two.spoiled) + (fake < std::numeric_limits<T>::infinity() ? T(0) : T(NAN));
      label_[lane] = label;
      first_[lane] = first;
    }
    return {V::loadu(target), V::loadu(other), V::loadu(spoiled)};
  }

  Places places(const Group<scalar_t>& group, int64_t lane) const {
    const int64_t classes = group.args.classes;
    const scalar_t* x = group.logits(lane);
    const int64_t label = label_[lane] == kLikeliest ? first_of(x, classes, first_[lane]) : label_[lane];
    if (other_is_fake_[lane]) return {label, classes};
    const T wanted = other_real_[lane];
    const int64_t found = first_of(x, classes, wanted);
    if (found != label) return {label, found};
    const int64_t after = label + 1;
    return {label, after + first_of(x + after, classes - after, wanted)};
  }

  void store_gradient(const Group<scalar_t>& group, const math::HingeRowGradient<V>& gradient) const {
    T weight[kLanes<T>], elsewhere[kLanes<T>];
    gradient.weight.store(weight);
    gradient.elsewhere.store(elsewhere);
    for (int64_t lane = 0; lane < group.rows; ++lane) {
      scalar_t* out = group.grad(lane);
      std::fill_n(out, group.columns(), static_cast<scalar_t>(elsewhere[lane]));
      if (weight[lane] == 0) continue;
      const auto [label, other] = places(group, lane);
      if (label < group.columns()) out[label] = static_cast<scalar_t>(-weight[lane]);
      if (other < group.columns()) out[other] = static_cast<scalar_t>(weight[lane]);
    }
  }

 private:
  static constexpr int64_t kLikeliest = -1;  // the dynamic label, looked for where somebody asks for its place

  static T fake_logit(const Group<scalar_t>& group, int64_t lane) {
    return group.args.fake_column ? static_cast<T>(group.logits(lane)[group.args.classes]) : T(0);
  }

  int64_t label_[kLanes<T>];
  T first_[kLanes<T>], other_real_[kLanes<T>];
  bool other_is_fake_[kLanes<T>];
};

// Where there is no direction, the loss is asked for and its gradient; else the slope along it, and the second
// derivative times it, which is 0.
template <typename scalar_t>
struct Direction {
  const scalar_t* v = nullptr;
  int64_t row_stride = 0;
};

// <gradient, v> of the rows of a group.
template <typename scalar_t, typename Layout, typename T = Computing<scalar_t>>
Vec<T> slopes_of(const Group<scalar_t>& group, const Layout& layout, const Direction<scalar_t>& along,
                 const Vec<T>& violation) {
  T slope[kLanes<T>];
  math::hinge_gradient<Vec<T>>(violation, Vec<T>(T(1))).weight.store(slope);
  for (int64_t lane = 0; lane < group.rows; ++lane) {
    if (slope[lane] == 0) continue;
    const scalar_t* v = along.v + (group.first + lane) * along.row_stride;
    const auto at = [&](int64_t column) { return column < group.columns() ? static_cast<T>(v[column]) : T(0); };
    const auto [label, other] = layout.places(group, lane);
    slope[lane] *= at(other) - at(label);
  }
  return Vec<T>::loadu(slope);
}

// The sum of the losses, or slopes, of rows [begin, end).
template <typename scalar_t, typename Layout>
double run_rows(const HingeArgs& args, const Direction<scalar_t>& along, Layout& layout, int64_t begin, int64_t end) {
  using V = typename Layout::V;
  using T = typename Layout::T;
  const KPlus1Batch& batch = args.batch;
  V sum(T(0));  // a chunk is short enough for float
  for (int64_t first = begin; first < end; first += layout.group_rows(args)) {
    const Group<scalar_t> group{args, first, std::min(layout.group_rows(args), end - first)};
    const V violation = math::hinge_violation<V>(layout.reduce(group), V(static_cast<T>(args.margin)));
    const RowWeights<T> weights(batch.row_weight, batch.row_weight_stride, first, group.rows);
    const V value = weights.of_loss(along.v == nullptr ? math::hinge_loss<V>(violation)
                                                       : slopes_of<scalar_t>(group, layout, along, violation));
    sum = sum + first_lanes(value, group.rows);
    if (batch.loss != nullptr) value.store(static_cast<T*>(batch.loss) + first, static_cast<int>(group.rows));
    if (batch.grad != nullptr) {
      const V scale = along.v == nullptr ? weights.of_scale(upstream<T>(batch.grad_output, batch.grad_output_stride,
                                                                        batch.scale, first, group.rows))
                                         : V(T(0));
      layout.store_gradient(group, math::hinge_gradient<V>(violation, scale));
    }
  }
  return sum_lanes(sum);
}

template <typename scalar_t, typename Layout>
void run_chunks(const HingeArgs& args, const Direction<scalar_t>& along) {
  using T = typename Layout::T;
  const Chunks cut(args.classes + args.fake_column);
  const int64_t rows = args.batch.rows, chunks = cut.count(rows);
  ChunkSums sums(chunks);
  at::parallel_for(0, chunks, cut.grain, [&](int64_t begin, int64_t end) {
    Layout layout;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t row = chunk * cut.rows;
      sums[chunk] = run_rows(args, along, layout, row, std::min(row + cut.rows, rows));
    }
  });
  // The scale of a mean over no rows is NaN, yet there is no slope.
  const bool no_slope = along.v != nullptr && rows == 0;
  if (args.total != nullptr) {
    *static_cast<T*>(args.total) = no_slope ? T(0) : static_cast<T>(args.batch.scale * sums.total(0, chunks));
  }
}

void run_along(const HingeArgs& args, const void* v, int64_t row_stride) {
  for_layout<InLanes, InColumns>(args.dtype, args.classes, [&](auto layout) {
    using scalar_t = typename decltype(layout)::scalar_t;
    run_chunks<scalar_t, typename decltype(layout)::type>(args, {static_cast<const scalar_t*>(v), row_stride});
  });
}

}  // namespace

template <>
void run(const HingeArgs& args) {
  run_along(args, nullptr, 0);
}

template <>
void run(const Along<HingeArgs>& args) {
  run_along(args.of, args.v, args.row_stride);
}

}  // namespace amgan::cpu::CPU_CAPABILITY
