// K+1-class losses on the CPU. One read of the logits from memory: a group of rows stays in L1 between its maxima, its
// exponentials (one per element) and its gradients, and its rows go through the formulas a lane each.
#include "args/kplus1.h"

#include <optional>

#include "cpu/chunks.h"
#include "cpu/dispatch.h"
#include "cpu/lanes.h"
#include "cpu/layout.h"
#include "cpu/loss.h"
#include "cpu/row.h"
#include "math/kplus1.h"

namespace amgan::cpu::CPU_CAPABILITY {
namespace {

// Up to a vector of rows, a lane each.
template <typename scalar_t>
struct Group {
  const KPlus1Batch* batch;
  int64_t first, rows;

  const scalar_t* logits(int64_t lane) const {
    return static_cast<const scalar_t*>(batch->logits) + (first + lane) * batch->row_stride;
  }
  scalar_t* grad(int64_t lane, int64_t columns) const {
    return static_cast<scalar_t*>(batch->grad) + (first + lane) * columns;
  }
};

// What is wanted of the rows of a batch.
struct Wanted {
  bool dynamic;  // the dynamic label itself; its logit is the maximum
  bool shifts;
  bool grad;
};

// Both ways through the columns below keep kGroups groups at a time and offer for each of them
//   reduce: its sums, and its labels,
//   store_gradient and store_labels: from what reduce left behind.

// A row a lane.
template <typename scalar_t>
class InLanes {
 public:
  using T = Computing<scalar_t>;
  using V = Vec<T>;

  // The formulas of a row are a long chain of instructions: those of several groups overlap.
  static constexpr int kGroups = 4;

  InLanes(const KPlus1Args& args, T*) : classes_(args.classes), fake_column_(args.fake_column) {}

  static int64_t workspace_size(const KPlus1Args&) { return 0; }
  int64_t group_rows() const { return kLanes<T>; }

  math::KPlus1Row<V> reduce(int slot, const Group<scalar_t>& group, const Wanted& wanted) {
    Tile<scalar_t>& tile = tiles_[slot];
    const int64_t classes = classes_, columns = classes + fake_column_;
    tile.load(group.logits(0), group.batch->row_stride, group.rows, columns);
    const V max = tile.max(classes), shift = finite_shift(max);
    const V fake = fake_column_ ? tile[classes_] : V(T(0));
    V target = max;
    if (group.batch->labels.given()) {
      labels_[slot] = given_labels<T>(group.batch->labels, group.first, group.rows);
      target = at_label(tile, labels_[slot], target);
    } else if (wanted.dynamic) {
      labels_[slot] = dynamic_labels(tile, group, max);
    }
    if (group.batch->second_labels.given()) {
      second_labels_[slot] = given_labels<T>(group.batch->second_labels, group.first, group.rows);
      second_targets_[slot] = at_label(tile, second_labels_[slot], shift) - shift;
    }
    ExpSums<T, true, false, true> sums;
    for (int64_t k = 0; k < classes; ++k) {
      const V e = sums.add(tile[k] - shift);
      if (wanted.grad) tile.set(k, e);
    }
    return {shift, sums.excess(), sums.shifts, target - shift, fake};
  }

  // `second`: what the gradient has at second labels, null where there are none.
  void store_gradient(int slot, const Group<scalar_t>& group, const math::KPlus1RowGradient<V>& gradient,
                      bool has_target, const V* second) {
    Tile<scalar_t>& tile = tiles_[slot];
    const int64_t classes = classes_, columns = classes + fake_column_;
    const V label = labels_[slot];
    for (int64_t k = 0; k < classes; ++k) {
      V grad = at::vec::fmadd(tile[k], gradient.weight, gradient.constant);
      // The true class is 1 - p: taken in T and rounded once, not subtracted from a rounded p.
      if (has_target) grad = add_where(equal(label, V(static_cast<T>(k))), grad, gradient.target);
      if (second) grad = add_where(equal(second_labels_[slot], V(static_cast<T>(k))), grad, *second);
      tile.set(k, grad);
    }
    if (fake_column_) tile.set(classes_, gradient.fake);
    tile.store(group.grad(0, columns), group.rows, columns);
  }

  Mask<T> label_is(int64_t label, int slot, const Group<scalar_t>&) const {
    return equal(labels_[slot], V(static_cast<T>(label)));
  }
  Mask<T> second_label_is(int64_t label, int slot, const Group<scalar_t>&) const {
    return equal(second_labels_[slot], V(static_cast<T>(label)));
  }

  // Their logits, less the maximum; read only where they are real classes.
  V second_targets(int slot) const { return second_targets_[slot]; }

  void store_labels(int slot, const Group<scalar_t>& group, int64_t* out) const {
    T labels[kLanes<T>];
    labels_[slot].store(labels);
    for (int64_t lane = 0; lane < group.rows; ++lane) out[lane] = static_cast<int64_t>(labels[lane]);
  }

 private:
  // The logits of given labels, `otherwise` where they are none of the real classes.
  V at_label(const Tile<scalar_t>& tile, const V& labels, V otherwise) const {
    for (int64_t k = 0; k < classes_; ++k) {
      otherwise = select(equal(labels, V(static_cast<T>(k))), tile[k], otherwise);
    }
    return otherwise;
  }

  // The lowest index that holds the maximum, or the first NaN, as torch.argmax.
  V dynamic_labels(const Tile<scalar_t>& tile, const Group<scalar_t>& group, const V& max) const {
    V label(T(0)), zero(T(0));
    for (int64_t k = classes_ - 1; k >= 0; --k) {
      const V x = tile[k];
      label = select(equal(x, max), V(static_cast<T>(k)), label);
      zero = at::vec::fmadd(x, V(T(0)), zero);
    }
    if (lane_bits(equal(zero, V(T(0)))) == kAllLanes<T>) return label;
    // A logit that is not finite.
    T labels[kLanes<T>] = {};
    for (int64_t lane = 0; lane < group.rows; ++lane) {
      labels[lane] = static_cast<T>(argmax(group.logits(lane), classes_));
    }
    return V::loadu(labels);
  }

  const int64_t classes_;
  const bool fake_column_;
  Tile<scalar_t> tiles_[kGroups];
  V labels_[kGroups], second_labels_[kGroups], second_targets_[kGroups];
};

// A row after the other, across its columns. The exponentials of a group stay in L1 as far as they fit.
template <typename scalar_t>
class InColumns {
 public:
  using T = Computing<scalar_t>;
  using V = Vec<T>;

  static constexpr int kGroups = 1;

  InColumns(const KPlus1Args& args, T* exps)
      : classes_(args.classes), fake_column_(args.fake_column), exps_(exps, classes_) {}

  static int64_t workspace_size(const KPlus1Args& args) { return RowExps<scalar_t>::workspace_size(args.classes); }
  int64_t group_rows() const { return exps_.group_rows(classes_); }

  math::KPlus1Row<V> reduce(int, const Group<scalar_t>& group, const Wanted& wanted) {
    T max[kLanes<T>] = {}, excess[kLanes<T>] = {}, shifts[kLanes<T>] = {}, target[kLanes<T>] = {}, fake[kLanes<T>] = {};
    for (int64_t lane = 0; lane < group.rows; ++lane) {
      const scalar_t* x = group.logits(lane);
      const T largest = row_max(x, classes_), shift = finite_shift(largest);
      T* exps = wanted.grad ? exps_.of(lane, group.grad(lane, classes_ + fake_column_)) : nullptr;
      const auto take = [&](const auto& sums) {
        excess[lane] = sums.excess();
        shifts[lane] = static_cast<T>(sums.shifts);
      };
      const scalar_t* ahead = lane + 1 < group.rows ? group.logits(lane + 1) : x;
      if (wanted.shifts) {
        take(row_sums<true, false>(x, classes_, shift, exps, ahead));
      } else {
        take(row_sums<false, false>(x, classes_, shift, exps, ahead));
      }
      max[lane] = shift;
      fake[lane] = fake_column_ ? static_cast<T>(x[classes_]) : T(0);
      target[lane] = largest - shift;
      if (group.batch->labels.given()) {
        const int64_t label = labels_[lane] = group.batch->labels.at(group.first + lane);
        if (is_class(label)) target[lane] = static_cast<T>(x[label]) - shift;
      } else if (wanted.dynamic) {
        labels_[lane] = excess[lane] == excess[lane] ? first_of(x, classes_, largest) : argmax(x, classes_);
      }
      if (group.batch->second_labels.given()) {
        const int64_t label = second_labels_[lane] = group.batch->second_labels.at(group.first + lane);
        second_targets_[lane] = is_class(label) ? static_cast<T>(x[label]) - shift : T(0);
      }
    }
    return {V::loadu(max), V::loadu(excess), V::loadu(shifts), V::loadu(target), V::loadu(fake)};
  }

  void store_gradient(int, const Group<scalar_t>& group, const math::KPlus1RowGradient<V>& gradient, bool has_target,
                      const V* second) {
    T weight[kLanes<T>], constant[kLanes<T>], target[kLanes<T>], fake[kLanes<T>], seconds[kLanes<T>];
    gradient.weight.store(weight);
    gradient.constant.store(constant);
    gradient.target.store(target);
    gradient.fake.store(fake);
    if (second) second->store(seconds);
    for (int64_t lane = 0; lane < group.rows; ++lane) {
      scalar_t* out = group.grad(lane, classes_ + fake_column_);
      const T* exps = exps_.of(lane, out);
      const V w(weight[lane]), c(constant[lane]);
      const int64_t label = labels_[lane], other = second_labels_[lane];
      const bool real_target = has_target && is_class(label), real_second = second && is_class(other);
      // The true class is 1 - p: taken in T and rounded once, not subtracted from a rounded p.
      T of_target = real_target ? weight[lane] * exps[label] + constant[lane] + target[lane] : T(0);
      T of_second = real_second ? weight[lane] * exps[other] + constant[lane] + seconds[lane] : T(0);
      if (real_target && real_second && label == other) of_second = of_target + seconds[lane];
      store_row(classes_, out, [&](int64_t k) { return at::vec::fmadd(load_within(exps, k, classes_), w, c); });
      if (real_target) out[label] = static_cast<scalar_t>(of_target);
      if (real_second) out[other] = static_cast<scalar_t>(of_second);
      if (fake_column_) out[classes_] = static_cast<scalar_t>(fake[lane]);
    }
  }

  Mask<T> label_is(int64_t label, int, const Group<scalar_t>& group) const {
    return where_equal(labels_, label, group.rows);
  }
  Mask<T> second_label_is(int64_t label, int, const Group<scalar_t>& group) const {
    return where_equal(second_labels_, label, group.rows);
  }

  V second_targets(int) const { return V::loadu(second_targets_); }

  void store_labels(int, const Group<scalar_t>& group, int64_t* out) const { std::copy_n(labels_, group.rows, out); }

 private:
  static Mask<T> where_equal(const int64_t* labels, int64_t label, int64_t rows) {
    T is_it[kLanes<T>] = {};
    for (int64_t lane = 0; lane < rows; ++lane) is_it[lane] = labels[lane] == label;
    return equal(V::loadu(is_it), V(T(1)));
  }

  // Neither the generated class nor none.
  bool is_class(int64_t label) const { return label >= 0 && label < classes_; }

  const int64_t classes_;
  const bool fake_column_;
  const RowExps<scalar_t> exps_;
  int64_t labels_[kLanes<T>] = {}, second_labels_[kLanes<T>] = {};
  T second_targets_[kLanes<T>] = {};
};

template <typename scalar_t, typename Layout>
class Kernel {
 public:
  using T = Computing<scalar_t>;
  using V = Vec<T>;

  Kernel(const KPlus1Args& args, T* workspace)
      : args_(args), per_class_(1.0 / static_cast<double>(args.classes)), layout_(args, workspace) {}

  // Rows [begin, end) of a batch; returns the sum of their losses.
  double run(const KPlus1Batch& batch, int64_t begin, int64_t end) {
    const Wanted wanted{
        !batch.labels.given() && (args_.labels_out != nullptr || (batch.grad != nullptr && batch.coefficients.t != 0)),
        batch.coefficients.u != 0, batch.grad != nullptr};
    const bool want_loss = batch.loss != nullptr || args_.total != nullptr;
    const auto coefficients = batch.coefficients.template as<V>();
    V losses(T(0));  // a chunk is short enough for float
    const int64_t group_rows = layout_.group_rows();
    for (int64_t first = begin; first < end;) {
      Group<scalar_t> groups[Layout::kGroups];
      math::KPlus1Row<V> rows[Layout::kGroups];
      int count = 0;
      for (; count < Layout::kGroups && first < end; first += group_rows) {
        groups[count] = {&batch, first, std::min(group_rows, end - first)};
        rows[count] = layout_.reduce(count, groups[count], wanted);
        ++count;
      }
      // The logarithms by themselves, then the rest: the long chain of instructions of one group's overlaps with that
      // of the next.
      math::KPlus1Logs<V> logs[Layout::kGroups];
      for (int i = 0; i < count; ++i) logs[i] = math::KPlus1Logs<V>(rows[i]);
      for (int i = 0; i < count; ++i) {
        finish(i, groups[i], rows[i], logs[i], coefficients, want_loss, losses);
      }
    }
    return sum_lanes(losses);
  }

 private:
  // From the sums of a group to all that is wanted of it.
  void finish(int slot, const Group<scalar_t>& group, const math::KPlus1Row<V>& row, const math::KPlus1Logs<V>& logs,
              math::Coefficients<V> coefficients, bool want_loss, V& losses) {
    const KPlus1Batch& batch = *group.batch;
    if (batch.labels.given() && batch.labels.max == args_.classes) {
      coefficients = coefficients.targeting_fake(layout_.label_is(args_.classes, slot, group));
    }
    if (batch.labels.given() && batch.labels.min < 0) {
      coefficients = coefficients.unlabelled(layout_.label_is(-1, slot, group));
    }
    std::optional<math::SecondLabel<V>> second;
    if (batch.second_labels.given()) {
      const V coefficient(static_cast<T>(batch.second_coefficient));
      const auto is_fake = layout_.second_label_is(args_.classes, slot, group);
      coefficients = coefficients.second_on_fake(is_fake, coefficient);
      second.emplace(coefficient, is_fake);
    }
    const RowWeights<T> weights(batch.row_weight, batch.row_weight_stride, group.first, group.rows);
    if (want_loss) {
      V loss = math::kplus1_loss(row, logs, coefficients, per_class_);
      if (second) loss = loss + second->loss(logs, layout_.second_targets(slot));
      loss = weights.of_loss(loss);
      if (batch.loss != nullptr) loss.store(static_cast<T*>(batch.loss) + group.first, static_cast<int>(group.rows));
      losses = losses + first_lanes(loss, group.rows);
    }
    if (batch.grad != nullptr) {
      const V scale = weights.of_scale(
          upstream<T>(batch.grad_output, batch.grad_output_stride, batch.scale, group.first, group.rows));
      const auto gradient = math::kplus1_gradient(row, logs, coefficients, per_class_, scale);
      const V at_second = second ? second->gradient(scale) : V(T(0));
      layout_.store_gradient(slot, group, gradient, batch.coefficients.t != 0, second ? &at_second : nullptr);
    }
    if (args_.labels_out != nullptr) store_terms(slot, group, math::kplus1_terms(row, logs));
  }

  void store_terms(int slot, const Group<scalar_t>& group, const math::KPlus1RowTerms<V>& terms) const {
    terms.labelgan.store(static_cast<T*>(args_.labelgan) + group.first, static_cast<int>(group.rows));
    terms.auxiliary.store(static_cast<T*>(args_.auxiliary) + group.first, static_cast<int>(group.rows));
    layout_.store_labels(slot, group, args_.labels_out + group.first);
  }

  const KPlus1Args& args_;
  const V per_class_;
  Layout layout_;
};

// The chunks of both batches, one after the other.
template <typename scalar_t, typename Layout>
void run_batches(const KPlus1Args& args) {
  using T = Computing<scalar_t>;
  const Chunks cut(args.classes + args.fake_column);
  const int64_t first_chunks = cut.count(args.batch[0].rows);
  const int64_t chunks = first_chunks + (args.batches == 2 ? cut.count(args.batch[1].rows) : 0);
  ChunkSums sums(chunks);
  const Workspace<T> workspace(Layout::workspace_size(args));
  at::parallel_for(0, chunks, cut.grain, [&](int64_t begin, int64_t end) {
    Kernel<scalar_t, Layout> kernel(args, workspace.of_this_thread());
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const bool second = chunk >= first_chunks;
      const KPlus1Batch& batch = args.batch[second];
      const int64_t row = (second ? chunk - first_chunks : chunk) * cut.rows;
      sums[chunk] = kernel.run(batch, row, std::min(row + cut.rows, batch.rows));
    }
  });
  if (args.total == nullptr) return;
  double total = args.batch[0].scale * sums.total(0, first_chunks);
  if (args.batches == 2) total += args.batch[1].scale * sums.total(first_chunks, chunks);
  *static_cast<T*>(args.total) = static_cast<T>(total);
}

}  // namespace

template <>
void run(const KPlus1Args& args) {
  for_layout<InLanes, InColumns>(args.dtype, args.classes, [&](auto layout) {
    run_batches<typename decltype(layout)::scalar_t, typename decltype(layout)::type>(args);
  });
}

}  // namespace amgan::cpu::CPU_CAPABILITY
