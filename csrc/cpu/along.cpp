// Second derivatives of the losses on the CPU: of each row's loss the slope along v, and H v. One read of the logits
// and of v from memory, one exponential per element.
#include "args/along.h"

#include "cpu/chunks.h"
#include "cpu/dispatch.h"
#include "cpu/exp_sums.h"
#include "cpu/lanes.h"
#include "cpu/layout.h"
#include "cpu/loss.h"
#include "cpu/row.h"
#include "math/entropy.h"
#include "math/kplus1.h"

namespace amgan::cpu::CPU_CAPABILITY {
namespace {

// --- What is asked, for either loss.

// Rows, and what is wanted of them.
template <typename scalar_t>
struct Question {
  const scalar_t* logits;
  const scalar_t* v;
  int64_t rows, classes, columns, row_stride, v_stride;
  double scale;
  const void* grad_output;
  int64_t grad_output_stride;
  const void* row_weight;  // of each row's loss; null: 1
  int64_t row_weight_stride;
  void* slope;        // of each row; or null
  void* total;        // sum of scale * slope; or null
  scalar_t* product;  // H v
};

// Up to a vector of rows, a lane each.
template <typename scalar_t>
struct Group {
  const Question<scalar_t>& of;
  int64_t first, rows;

  const scalar_t* logits(int64_t lane) const { return of.logits + (first + lane) * of.row_stride; }
  const scalar_t* v(int64_t lane) const { return of.v + (first + lane) * of.v_stride; }
  scalar_t* product(int64_t lane) const { return of.product + (first + lane) * of.columns; }
};

// The sums of a group of rows.
template <typename T>
struct Sums {
  Vec<T> shift;     // the largest logit; 0 where all of them are -inf
  Vec<T> excess;    // sum exp(l_k - shift) - 1
  Vec<T> weighted;  // sum (l_k - shift) exp(l_k - shift), if wanted
  math::RowAlong<Vec<T>> along;
};

// --- The losses. Each says whether it wants the sums `weighted` and `crossed`, and makes of the sums of a group what
// both ways through the columns get H v from.

template <typename Scalar>
class KPlus1 {
 public:
  using scalar_t = Scalar;
  using T = Computing<scalar_t>;
  using V = Vec<T>;
  static constexpr bool kCrossed = false;

  explicit KPlus1(const Along<KPlus1Args>& args)
      : batch_(args.of.batch[0]),
        classes_(args.of.classes),
        fake_column_(args.of.fake_column),
        coefficients_(batch_.coefficients.as<V>()),
        per_class_(static_cast<T>(1.0 / static_cast<double>(classes_))) {}

  static Question<scalar_t> question(const Along<KPlus1Args>& args) {
    const KPlus1Batch& batch = args.of.batch[0];
    return {static_cast<const scalar_t*>(batch.logits),
            static_cast<const scalar_t*>(args.v),
            batch.rows,
            args.of.classes,
            args.of.classes + args.of.fake_column,
            batch.row_stride,
            args.row_stride,
            batch.scale,
            batch.grad_output,
            batch.grad_output_stride,
            batch.row_weight,
            batch.row_weight_stride,
            batch.loss,
            args.of.total,
            static_cast<scalar_t*>(batch.grad)};
  }

  math::KPlus1RowHessian<V> hessian(const Group<scalar_t>& group, const Sums<T>& sums, const V& grad_output) const {
    T fake[kLanes<T>] = {}, v_fake[kLanes<T>] = {}, v_target[kLanes<T>], target_is_fake[kLanes<T>] = {},
      no_label[kLanes<T>] = {}, v_second[kLanes<T>] = {}, second_is_fake[kLanes<T>] = {};
    sums.along.origin.store(v_target);  // the dynamic label is where the largest logit is
    for (int64_t lane = 0; lane < group.rows; ++lane) {
      if (fake_column_) {
        fake[lane] = static_cast<T>(group.logits(lane)[classes_]);
        v_fake[lane] = static_cast<T>(group.v(lane)[classes_]);
      }
      if (batch_.labels.given()) {
        const int64_t label = batch_.labels.at(group.first + lane);
        target_is_fake[lane] = label == classes_;
        no_label[lane] = label < 0;
        if (label >= 0 && label < classes_) v_target[lane] = static_cast<T>(group.v(lane)[label]);
      }
      if (batch_.second_labels.given()) {
        const int64_t label = batch_.second_labels.at(group.first + lane);
        second_is_fake[lane] = label == classes_;
        if (label < classes_) v_second[lane] = static_cast<T>(group.v(lane)[label]);
      }
    }
    const V second(static_cast<T>(batch_.second_coefficient)), one(T(1));
    const auto on_fake = equal(V::loadu(second_is_fake), one);
    const auto coefficients = coefficients_.targeting_fake(equal(V::loadu(target_is_fake), one))
                                  .unlabelled(equal(V::loadu(no_label), one))
                                  .second_on_fake(on_fake, second);
    const math::KPlus1Row<V> row{sums.shift, sums.excess, V(T(0)), V(T(0)), V::loadu(fake)};
    const V& origin = sums.along.origin;
    const math::KPlus1Points<V> points{V::loadu(v_fake) - origin, V::loadu(v_target) - origin};
    auto hessian =
        math::kplus1_hessian(row, math::KPlus1Logs<V>(row), sums.along, points, coefficients, per_class_, grad_output);
    hessian.slope = hessian.slope + math::SecondLabel<V>(second, on_fake).slope(V::loadu(v_second) - origin);
    return hessian;
  }

 private:
  const KPlus1Batch& batch_;
  const int64_t classes_;
  const bool fake_column_;
  const math::Coefficients<V> coefficients_;
  const V per_class_;
};

template <typename Scalar>
class Entropy {
 public:
  using scalar_t = Scalar;
  using T = Computing<scalar_t>;
  using V = Vec<T>;
  static constexpr bool kCrossed = true;

  explicit Entropy(const Along<EntropyArgs>&) {}

  static Question<scalar_t> question(const Along<EntropyArgs>& args) {
    const EntropyArgs& of = args.of;
    return {static_cast<const scalar_t*>(of.logits),
            static_cast<const scalar_t*>(args.v),
            of.rows,
            of.classes,
            of.classes,
            of.row_stride,
            args.row_stride,
            of.scale,
            of.grad_output,
            of.grad_output_stride,
            of.row_weight,
            of.row_weight_stride,
            of.entropy,
            of.total,
            static_cast<scalar_t*>(of.grad)};
  }

  static math::EntropyRowHessian<V> hessian(const Group<scalar_t>&, const Sums<T>& sums, const V& grad_output) {
    const math::EntropyRow<V> row{sums.shift, sums.excess, sums.weighted};
    return math::entropy_hessian(row, sums.along, grad_output);
  }
};

// --- The sums. A lane is a row, or every vector-th column of one.

template <typename T, bool crossed, bool want_below_one>
struct AlongSums {
  ExpSums<T, false, false, want_below_one> exps;
  Vec<T> sum{T(0)}, weighted{T(0)};       // of u, of u exp(x)
  Vec<T> of_logits{T(0)}, of_both{T(0)};  // of x exp(x), of u x exp(x)

  // Takes vectors of x = l_k - max and of u, and returns exp(x).
  Vec<T> add(const Vec<T>& x, const Vec<T>& u) {
    const Vec<T> e = exps.add(x);
    sum = sum + u;
    weighted = at::vec::fmadd(u, e, weighted);
    if constexpr (crossed) {
      // -inf, where e = 0, becomes the lowest number.
      const Vec<T> product = e * at::vec::clamp_min(x, Vec<T>(std::numeric_limits<T>::lowest()));
      of_logits = of_logits + product;
      of_both = at::vec::fmadd(u, product, of_both);
    }
    return e;
  }
};

// --- The two ways through the columns. Both keep a group of rows between
//   reduce: its sums,
//   store: H v of them.

// A row a lane.
template <typename Loss>
class InLanes {
 public:
  using scalar_t = typename Loss::scalar_t;
  using T = Computing<scalar_t>;
  using V = Vec<T>;

  InLanes(int64_t, T*) {}

  static int64_t workspace_size(int64_t) { return 0; }
  static int64_t group_rows(int64_t) { return kLanes<T>; }

  Sums<T> reduce(const Group<scalar_t>& group) {
    const int64_t classes = group.of.classes;
    logits_.load(group.logits(0), group.of.row_stride, group.rows, classes);
    v_.load(group.v(0), group.of.v_stride, group.rows, classes);
    const V max = logits_.max(classes);
    shift_ = finite_shift(max);
    origin_ = V(T(0));
    for (int64_t k = classes - 1; k >= 0; --k) origin_ = select(equal(logits_[k], max), v_[k], origin_);
    AlongSums<T, Loss::kCrossed, true> sums;
    for (int64_t k = 0; k < classes; ++k) exps_.set(k, sums.add(logits_[k] - shift_, v_[k] - origin_));
    return {shift_, sums.exps.excess(), sums.of_logits, {origin_, sums.sum, sums.weighted, sums.of_both}};
  }

  template <typename Hessian>
  void store(const Group<scalar_t>& group, const Hessian& hessian) {
    const int64_t classes = group.of.classes, columns = group.of.columns;
    for (int64_t k = 0; k < classes; ++k) {
      exps_.set(k, hessian.at(logits_[k] - shift_, v_[k] - origin_, exps_[k]));
    }
    if constexpr (requires { hessian.fake; }) {
      if (columns > classes) exps_.set(classes, hessian.fake);
    }
    exps_.store(group.product(0), group.rows, columns);
  }

 private:
  Tile<scalar_t> logits_, v_, exps_;
  V shift_, origin_;
};

// A row after the other, across its columns.
template <typename Loss>
class InColumns {
 public:
  using scalar_t = typename Loss::scalar_t;
  using T = Computing<scalar_t>;
  using V = Vec<T>;

  InColumns(int64_t classes, T* exps) : exps_(exps, classes) {}

  static int64_t workspace_size(int64_t classes) { return RowExps<scalar_t>::workspace_size(classes); }
  static int64_t group_rows(int64_t classes) { return RowExps<scalar_t>::group_rows(classes); }

  Sums<T> reduce(const Group<scalar_t>& group) {
    T excess[kLanes<T>] = {}, of_logits[kLanes<T>] = {}, sum[kLanes<T>] = {}, weighted[kLanes<T>] = {},
      of_both[kLanes<T>] = {};
    for (int64_t lane = 0; lane < kLanes<T>; ++lane) shift_[lane] = origin_[lane] = T(0);
    for (int64_t lane = 0; lane < group.rows; ++lane) {
      const scalar_t* x = group.logits(lane);
      const int64_t classes = group.of.classes;
      const T largest = row_max(x, classes);
      shift_[lane] = finite_shift(largest);
      origin_[lane] = static_cast<T>(group.v(lane)[first_of(x, classes, largest)]);
      const auto totals = sums_of(group, lane);
      excess[lane] = totals.exps.excess();
      sum[lane] = static_cast<T>(totals.sum);
      weighted[lane] = static_cast<T>(totals.weighted);
      of_logits[lane] = static_cast<T>(totals.exps.weighted);
      of_both[lane] = static_cast<T>(totals.of_both);
    }
    return {V::loadu(shift_),
            V::loadu(excess),
            V::loadu(of_logits),
            {V::loadu(origin_), V::loadu(sum), V::loadu(weighted), V::loadu(of_both)}};
  }

  template <typename Hessian>
  void store(const Group<scalar_t>& group, const Hessian& hessian) const {
    const int64_t classes = group.of.classes;
    for (int64_t lane = 0; lane < group.rows; ++lane) {
      const scalar_t *x = group.logits(lane), *v = group.v(lane);
      scalar_t* out = group.product(lane);
      const T* exps = exps_.of(lane, out);
      const V shift(shift_[lane]), origin(origin_[lane]);
      const Hessian of_row = hessian.each([&](const V& numbers) {
        T values[kLanes<T>];
        numbers.store(values);
        return V(values[lane]);
      });
      store_row(classes, out, [&](int64_t k) {
        return of_row.at(load_within(x, k, classes) - shift, load_within(v, k, classes) - origin,
                         load_within(exps, k, classes));
      });
      if constexpr (requires { of_row.fake; }) {
        if (group.of.columns > classes) out[classes] = static_cast<scalar_t>(first_lane(of_row.fake));
      }
    }
  }

 private:
  struct Totals {
    RowTotals<T> exps;
    double sum = 0, weighted = 0, of_both = 0;
  };

  static T first_lane(const V& numbers) {
    T values[kLanes<T>];
    numbers.store(values);
    return values[0];
  }

  // The row that follows is fetched into the second-level cache meanwhile.
  Totals sums_of(const Group<scalar_t>& group, int64_t lane) const {
    constexpr int64_t step = kLanes<T>;
    const int64_t classes = group.of.classes, next = std::min(lane + 1, group.rows - 1);
    const scalar_t *x = group.logits(lane), *v = group.v(lane);
    const scalar_t *x_ahead = group.logits(next), *v_ahead = group.v(next);
    T* exps = exps_.of(lane, group.product(lane));
    const T from = origin_[lane];
    const V shift(shift_[lane]), origin(from);
    Totals totals;
    for (int64_t begin = 0; begin < classes; begin += kColumnBlock) {
      AlongSums<T, Loss::kCrossed, false> sums;
      const int64_t end = std::min(begin + kColumnBlock, classes);
      int64_t k = begin;
      for (; k + step <= end; k += step) {
        __builtin_prefetch(x_ahead + k, 0, 2);
        __builtin_prefetch(v_ahead + k, 0, 2);
        sums.add(load_vec(x + k) - shift, load_vec(v + k) - origin).store(exps + k);
      }
      if (k < end) {
        const V last = load_vec(x + k, end - k, -std::numeric_limits<T>::infinity());
        sums.add(last - shift, load_vec(v + k, end - k, from) - origin).store(exps + k, static_cast<int>(end - k));
      }
      totals.exps.add(sums.exps);
      totals.sum += sum_lanes(sums.sum);
      totals.weighted += sum_lanes(sums.weighted);
      if constexpr (Loss::kCrossed) {
        totals.exps.weighted += sum_lanes(sums.of_logits);
        totals.of_both += sum_lanes(sums.of_both);
      }
    }
    totals.exps.find_below_one(exps, classes);
    return totals;
  }

  const RowExps<scalar_t> exps_;
  T shift_[kLanes<T>], origin_[kLanes<T>];
};

// --- Rows, in chunks.

// Returns the sum of the slopes of rows [begin, end).
template <typename Loss, typename Layout, typename Rows>
double run_rows(const Rows& of, const Loss& loss, Layout& layout, int64_t begin, int64_t end) {
  using T = typename Loss::T;
  Vec<T> slopes(T(0));  // a chunk is short enough for float
  const int64_t group_rows = layout.group_rows(of.classes);
  for (int64_t first = begin; first < end; first += group_rows) {
    const Group<typename Loss::scalar_t> group{of, first, std::min(group_rows, end - first)};
    const Sums<T> sums = layout.reduce(group);
    const RowWeights<T> weights(of.row_weight, of.row_weight_stride, first, group.rows);
    const Vec<T> scale = upstream<T>(of.grad_output, of.grad_output_stride, of.scale, first, group.rows);
    const auto hessian = loss.hessian(group, sums, weights.of_scale(scale));
    const Vec<T> slope = weights.of_loss(hessian.slope);
    slopes = slopes + first_lanes(slope, group.rows);
    if (of.slope != nullptr) slope.store(static_cast<T*>(of.slope) + first, static_cast<int>(group.rows));
    layout.store(group, hessian);
  }
  return sum_lanes(slopes);
}

template <typename Loss, typename Layout, typename Args>
void run_chunks(const Args& args) {
  using T = typename Loss::T;
  const auto of = Loss::question(args);
  const Loss loss(args);
  const Chunks cut(of.columns);
  const int64_t chunks = cut.count(of.rows);
  ChunkSums sums(chunks);
  const Workspace<T> workspace(Layout::workspace_size(of.classes));
  at::parallel_for(0, chunks, cut.grain, [&](int64_t begin, int64_t end) {
    Layout layout(of.classes, workspace.of_this_thread());
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t row = chunk * cut.rows;
      sums[chunk] = run_rows(of, loss, layout, row, std::min(row + cut.rows, of.rows));
    }
  });
  // The scale of a mean over no rows is NaN, yet there is no slope.
  const double total = of.rows == 0 ? 0 : of.scale * sums.total(0, chunks);
  if (of.total != nullptr) *static_cast<T*>(of.total) = static_cast<T>(total);
}

template <template <typename> class Loss>
struct Ways {
  template <typename scalar_t>
  using Lanes = InLanes<Loss<scalar_t>>;
  template <typename scalar_t>
  using Columns = InColumns<Loss<scalar_t>>;
};

template <template <typename> class Loss, typename Args>
void run_loss(const Args& args) {
  for_layout<Ways<Loss>::template Lanes, Ways<Loss>::template Columns>(
      args.of.dtype, args.of.classes, [&](auto layout) {
        run_chunks<Loss<typename decltype(layout)::scalar_t>, typename decltype(layout)::type>(args);
      });
}

}  // namespace

template <>
void run(const Along<KPlus1Args>& args) {
  run_loss<KPlus1>(args);
}

template <>
void run(const Along<EntropyArgs>& args) {
  run_loss<Entropy>(args);
}

}  // namespace amgan::cpu::CPU_CAPABILITY
