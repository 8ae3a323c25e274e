// Score sums on the CPU. The logits are read from memory once. float is added up over kFlushRows rows at most, then
// double: the rounding of so short sums averages out over many.
#include "args/scores.h"

#include <algorithm>
#include <vector>

#include "cpu/any_order.h"
#include "cpu/chunks.h"
#include "cpu/dispatch.h"
#include "cpu/entropy_row.h"
#include "cpu/lanes.h"
#include "cpu/layout.h"
#include "cpu/row.h"
#include "cpu/share.h"
#include "math/entropy.h"

namespace amgan::cpu::CPU_CAPABILITY {
namespace {

// Numbers that are added to others: read where those are, the first time, and written where they go.
struct Sum {
  double* to;
  const double* from;

  void add(int64_t k, double value) const { to[k] = from[k] + value; }
};

// Of a block, or of some of its rows.
struct Sums {
  Sum entropy;   // [1]
  Sum prob;      // [K]
  Sum prob_sq;   // [K]
  Sum log_prob;  // [K]

  // From here on sums are added to what they are.
  void have_begun() {
    for (Sum* sum : {&entropy, &prob, &prob_sq, &log_prob}) sum->from = sum->to;
  }
};

// Rows first, first + step, ... of the input, `count` of them: those of one block, or some of those.
struct Rows {
  int64_t first, step, count;
};

// --- Rows across their columns.

constexpr int64_t kFlushRows = 128;  // rows that are added up in float

template <typename scalar_t>
class InColumns {
 public:
  using T = Computing<scalar_t>;
  using V = Vec<T>;
  using Columns = AnyOrder<scalar_t>;

  // Rows whose probabilities are added together. Their numbers share a vector, which has room for 2 on some machines.
  static constexpr int kGroup = std::min<int>(4, kLanes<T>);

  InColumns(const ScoresArgs& args, T* workspace)
      : args_(args),
        stride_(row_buffer_size<T>(args.classes)),
        places_((args.classes + Columns::kColumns - 1) / Columns::kColumns * Columns::kColumns),
        values_(workspace),
        prob_(values_ + kGroup * stride_),
        prob_sq_(prob_ + stride_),
        log_prob_(prob_sq_ + stride_) {}

  static int64_t workspace_size(const ScoresArgs& args) { return (kGroup + 3) * row_buffer_size<T>(args.classes); }

  void add(const Rows& rows, Sums sums) {
    const int64_t stride = rows.step * args_.row_stride;
    const auto* x = static_cast<const scalar_t*>(args_.input) + rows.first * args_.row_stride;
    for (int64_t i = 0; i < rows.count;) {
      if (i % kFlushRows == 0) {
        std::fill_n(prob_, 3 * stride_, T(0));
        entropies_ = log_sums_ = 0;
      }
      const int64_t left = rows.count - i;
      if (left >= kGroup) {
        add_group<kGroup>(x + i * stride, stride, left);
        i += kGroup;
      } else {
        add_group<1>(x + i * stride, stride, left);
        i += 1;
      }
      if (i % kFlushRows == 0 || i >= rows.count) flush(sums);
    }
  }

 private:
  // The next `rows` of those that are left.
  template <int rows>
  void add_group(const scalar_t* x, int64_t stride, int64_t left) {
    T inverse[kLanes<T>] = {};
    if (args_.probabilities) {
      entropies_ += take_probabilities<rows>(x, stride);
      std::fill_n(inverse, rows, T(1));
    } else {
      T excess[kLanes<T>] = {}, weighted[kLanes<T>] = {}, entropy[kLanes<T>], log_sum[kLanes<T>];
      for (int j = 0; j < rows; ++j) {
        const RowTotals<T> totals = take_logits(x + j * stride, j + 1 < left ? stride : 0, values_ + j * stride_);
        excess[j] = totals.excess();
        weighted[j] = static_cast<T>(totals.weighted);
      }
      const auto terms = math::entropy_terms<V>({V(T(0)), V::loadu(excess), V::loadu(weighted)});
      terms.inverse_sum.store(inverse);
      terms.entropy.store(entropy);
      terms.log_sum.store(log_sum);
      for (int j = 0; j < rows; ++j) {
        entropies_ += entropy[j];
        log_sums_ += log_sum[j];
      }
    }
    add_probabilities<rows>(inverse);
  }

  // Leaves the exponentials in `values` and adds x - max to log_prob_; returns the sums of the row. The one that is
  // `ahead` comes into the second-level cache meanwhile.
  RowTotals<T> take_logits(const scalar_t* x, int64_t ahead, T* values) const {
    constexpr int64_t step = Columns::kColumns, line = 64 / sizeof(scalar_t);
    constexpr T lowest = -std::numeric_limits<T>::infinity();
    const V shift(finite_shift(row_max(x, args_.classes)));
    T* const log_prob = log_prob_;
    RowTotals<T> totals;
    for (int64_t begin = 0; begin < args_.classes; begin += kColumnBlock) {
      ExpSums<T, false, true, false> exp_sums;
      const auto add = [&](int64_t k, V(&logits)[Columns::kVectors]) {
        V e[Columns::kVectors];
        for (int v = 0; v < Columns::kVectors; ++v) {
          T* const sum = log_prob + k + v * kLanes<T>;
          logits[v] = logits[v] - shift;
          (V::loadu(sum) + logits[v]).store(sum);
        }
        exp_sums.add(logits, e);
        for (int v = 0; v < Columns::kVectors; ++v) e[v].store(values + k + v * kLanes<T>);
      };
      const int64_t end = std::min(begin + kColumnBlock, args_.classes);
      V logits[Columns::kVectors];
      int64_t k = begin;
      for (; k + step <= end; k += step) {
        for (int64_t at = 0; at < step; at += line) __builtin_prefetch(x + ahead + k + at, 0, 2);
        Columns::load(x + k, logits);
        add(k, logits);
      }
      if (k < end) {
        Columns::load(x + k, end - k, lowest, logits);
        add(k, logits);
      }
      totals.add(exp_sums);
    }
    totals.find_below_one(values, places_);
    return totals;
  }

  // Leaves the probabilities in values_ and adds their logarithms to log_prob_; returns the sum of the entropies.
  template <int rows>
  double take_probabilities(const scalar_t* x, int64_t stride) {
    double entropy = 0;
    for (int j = 0; j < rows; ++j) {
      T* values = values_ + j * stride_;
      for (int64_t begin = 0; begin < args_.classes; begin += kColumnBlock) {
        const int64_t end = std::min(begin + kColumnBlock, args_.classes);
        V of_block(T(0));
        for (int64_t k = begin; k < end; k += Columns::kColumns) {
          V p[Columns::kVectors];
          Columns::load(x + j * stride + k, std::min(Columns::kColumns, end - k), T(0), p);
          for (int v = 0; v < Columns::kVectors; ++v) {
            const int64_t place = k + v * kLanes<T>;
            const V log_prob = p[v].log();
            of_block = of_block - math::times_prob<V>(log_prob, p[v]);
            p[v].store(values + place);
            (V::loadu(log_prob_ + place) + log_prob).store(log_prob_ + place);
          }
        }
        entropy += sum_lanes(of_block);
      }
    }
    return entropy;
  }

  template <int rows>
  void add_probabilities(const T* inverse) {
    for (int64_t k = 0; k < places_; k += kLanes<T>) {
      V prob = V::loadu(prob_ + k), prob_sq = V::loadu(prob_sq_ + k);
      for (int j = 0; j < rows; ++j) {
        const V p = V::loadu(values_ + j * stride_ + k) * V(inverse[j]);
        prob = prob + p;
        prob_sq = at::vec::fmadd(p, p, prob_sq);
      }
      prob.store(prob_ + k);
      prob_sq.store(prob_sq_ + k);
    }
  }

  void flush(Sums& sums) const {
    sums.entropy.add(0, entropies_);
    add_to(sums.prob, prob_, 0);
    add_to(sums.prob_sq, prob_sq_, 0);
    add_to(sums.log_prob, log_prob_, log_sums_);
    sums.have_begun();
  }

  // What is in `values`, each less a number.
  void add_to(const Sum& sum, const T* values, double less) const {
    if constexpr (Columns::kInOrder) {
      for (int64_t k = 0; k < args_.classes; ++k) sum.add(k, values[k] - less);
    } else {
      for (int64_t first = 0; first < args_.classes; first += Columns::kColumns) {
        for (int64_t place = 0; place < Columns::kColumns; ++place) {
          const int64_t k = first + Columns::column(place);
          if (k < args_.classes) sum.add(k, values[first + place] - less);
        }
      }
    }
  }

  const ScoresArgs& args_;
  const int64_t stride_;  // of the row buffers
  const int64_t places_;  // used of them
  T *const values_, *const prob_, *const prob_sq_, *const log_prob_;
  double entropies_ = 0, log_sums_ = 0;  // of the rows in prob_ and log_prob_
};

// --- One row a lane.

template <typename scalar_t>
class InLanes {
 public:
  using T = Computing<scalar_t>;
  using V = Vec<T>;

  InLanes(const ScoresArgs& args, T*) : args_(args) {}

  static int64_t workspace_size(const ScoresArgs&) { return 0; }

  void add(const Rows& rows, Sums sums) {
    constexpr int64_t step = kTiles * kLanes<T>;
    std::fill_n(columns_, 3 * kLanes<T> * args_.classes, T(0));
    entropies_ = log_sums_ = V(T(0));
    double log_sums = 0;
    int64_t pending = 0;
    for (int64_t i = 0; i < rows.count; i += step) {
      add_tiles({rows.first + i * rows.step, rows.step, std::min(step, rows.count - i)});
      if (++pending == kFlush || i + step >= rows.count) {
        flush(sums, log_sums);
        pending = 0;
      }
    }
    for (int64_t k = 0; k < args_.classes; ++k) sums.log_prob.add(k, -log_sums);
  }

 private:
  static constexpr int64_t kTiles = std::is_same_v<T, float> ? 4 : 8;  // that go through the columns together
  // Groups of tiles that are added up in float; in double, all.
  static constexpr int64_t kFlush = std::is_same_v<T, float> ? 4 : std::numeric_limits<int64_t>::max();

  void add_tiles(const Rows& rows) {
    const int64_t classes = args_.classes;
    const int64_t tiles = (rows.count + kLanes<T> - 1) / kLanes<T>;
    V shift[kTiles], inverse[kTiles];
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t done = t * kLanes<T>;
      const auto* input =
          static_cast<const scalar_t*>(args_.input) + (rows.first + done * rows.step) * args_.row_stride;
      logits_[t].load(input, rows.step * args_.row_stride, std::min(kLanes<T>, rows.count - done), classes);
    }
    if (args_.probabilities) {
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t n = std::min(kLanes<T>, rows.count - t * kLanes<T>);
        entropies_ = entropies_ + first_lanes(take_probabilities(t, n), n);
        shift[t] = V(T(0));
        inverse[t] = V(T(1));
      }
    } else {
      math::EntropyRow<V> row[kTiles];
      for (int64_t t = 0; t < tiles; ++t) row[t] = entropy_row(logits_[t], classes, values_[t]);
      // By themselves: the long chain of instructions of one logarithm overlaps with that of the next.
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t n = std::min(kLanes<T>, rows.count - t * kLanes<T>);
        const auto terms = math::entropy_terms<V>(row[t]);
        shift[t] = row[t].max;
        inverse[t] = first_lanes(terms.inverse_sum, n);  // lanes without a row count nothing
        entropies_ = entropies_ + first_lanes(terms.entropy, n);
        log_sums_ = log_sums_ + first_lanes(terms.log_sum, n);
      }
    }
    for (int64_t k = 0; k < classes; ++k) {
      T* at = columns_ + k * 3 * kLanes<T>;
      V prob = V::loadu(at), prob_sq = V::loadu(at + kLanes<T>), log_prob = V::loadu(at + 2 * kLanes<T>);
      for (int64_t t = 0; t < tiles; ++t) {
        const V p = values_[t][k] * inverse[t];
        prob = prob + p;
        prob_sq = at::vec::fmadd(p, p, prob_sq);
        log_prob = log_prob + (logits_[t][k] - shift[t]);
      }
      prob.store(at);
      prob_sq.store(at + kLanes<T>);
      log_prob.store(at + 2 * kLanes<T>);
    }
  }

  // Leaves the probabilities of a tile in values_ and their logarithms in logits_; returns the entropies.
  V take_probabilities(int64_t t, int64_t rows) {
    V entropy(T(0));
    for (int64_t k = 0; k < args_.classes; ++k) {
      const V p = logits_[t][k], log_prob = p.log();
      entropy = entropy - math::times_prob<V>(log_prob, p);
      values_[t].set(k, p);
      logits_[t].set(k, first_lanes(log_prob, rows));
    }
    return entropy;
  }

  void flush(Sums& sums, double& log_sums) {
    sums.entropy.add(0, sum_lanes(entropies_));
    log_sums += sum_lanes(log_sums_);
    entropies_ = log_sums_ = V(T(0));
    for (int64_t k = 0; k < args_.classes; ++k) {
      T* at = columns_ + k * 3 * kLanes<T>;
      const Sum* const to[] = {&sums.prob, &sums.prob_sq, &sums.log_prob};
      for (int s = 0; s < 3; ++s) {
        to[s]->add(k, sum_lanes(V::loadu(at + s * kLanes<T>)));
        V(T(0)).store(at + s * kLanes<T>);
      }
    }
    sums.have_begun();
  }

  const ScoresArgs& args_;
  Tile<scalar_t> logits_[kTiles], values_[kTiles];
  V entropies_, log_sums_;
  alignas(64) T columns_[3 * kLaneColumns * kLanes<T>];  // per column the sums of p, p^2 and log p, a lane each
};

// A block whose rows are many is cut into chunks, each summed by itself; how many depends on the shape alone. Fewer
// rows in each would cost as much memory traffic for their sums as for the logits.
int64_t chunks_per_block(const ScoresArgs& args) {
  constexpr int64_t kElements = 65536, kRows = 64, kChunks = 64;
  const int64_t rows = args.rows / args.blocks;
  const int64_t most = std::max<int64_t>(std::min(kChunks / args.blocks, rows / kRows), 1);
  return std::clamp<int64_t>(rows * args.classes / kElements, 1, most);
}

// Of a block without rows.
void nothing_to_add(const Sums& sums, int64_t classes) {
  sums.entropy.add(0, 0);
  for (const Sum* sum : {&sums.prob, &sums.prob_sq, &sums.log_prob}) {
    for (int64_t k = 0; k < classes; ++k) sum->add(k, 0);
  }
}

// For 50,000 rows of 1,000 classes in 10 blocks: chunks_per_block gives 6 chunks a block (64 / 10), so 60 items of
// work, each the rows first, first + 10, first + 20, ... of its block, 833 or 834 of them. Two steps, both in parallel:
//
//   1. each item -> sums of its own, in `partial`: 60 x (1 + 3 x 1,000) doubles, 1.4 MB beside 200 MB of logits;
//   2. each block: its 6 partial sums, added in order, so that any number of threads gives the same bits.
//
// With one chunk a block the items write the result themselves, and step 2 only counts rows. Both begin with what is
// added to.
template <typename scalar_t, typename Layout>
void sum_blocks(const ScoresArgs& args) {
  const int64_t classes = args.classes, blocks = args.blocks, chunks = chunks_per_block(args);
  const int64_t size = 3 * classes + 1;
  std::vector<double> partial(chunks > 1 ? blocks * chunks * size : 0);
  // Where the sums of a block go, and those of an item.
  const auto block_sums = [&](int64_t block) {
    const auto begun = [](double* sums, const double* initial, int64_t at, int64_t n) {
      if (initial == nullptr) std::fill_n(sums + at, n, 0.0);
      return Sum{sums + at, (initial == nullptr ? sums : initial) + at};
    };
    const int64_t at = block * classes;
    return Sums{begun(args.entropy, args.initial_entropy, block, 1), begun(args.prob, args.initial_prob, at, classes),
                begun(args.prob_sq, args.initial_prob_sq, at, classes),
                begun(args.log_prob, args.initial_log_prob, at, classes)};
  };
  const auto chunk_sums = [&](int64_t item) {
    if (chunks == 1) return block_sums(item);
    const auto at = [&](int64_t place) {
      double* sum = partial.data() + item * size + place;
      return Sum{sum, sum};
    };
    return Sums{at(0), at(1), at(1 + classes), at(1 + 2 * classes)};
  };
  // The first row of a block, and the number of its rows: row i belongs to block (offset + i) % blocks.
  const auto first_row = [&](int64_t block) { return (block + blocks - args.offset % blocks) % blocks; };
  const auto rows_of = [&](int64_t block) {
    return std::max<int64_t>((args.rows - first_row(block) + blocks - 1) / blocks, 0);
  };

  // 1. Items.
  const Workspace<Computing<scalar_t>> workspace(Layout::workspace_size(args));
  share(blocks * chunks, args.rows * classes >= 2 * kElementsPerThread, [&](int64_t item, int64_t worker) {
    const int64_t block = item / chunks, chunk = item % chunks, rows = rows_of(block);
    const int64_t from = rows * chunk / chunks, to = rows * (chunk + 1) / chunks;
    const Sums sums = chunk_sums(item);
    if (from == to) {
      if (chunks == 1) nothing_to_add(sums, classes);
      return;
    }
    Layout(args, workspace.of_thread(worker)).add({first_row(block) + from * blocks, blocks, to - from}, sums);
  });

  // 2. Blocks.
  for (int64_t block = 0; block < blocks; ++block) {
    const double before = args.initial_count == nullptr ? 0 : args.initial_count[block];
    args.count[block] = before + static_cast<double>(rows_of(block));
  }
  if (chunks == 1) return;
  share(blocks, blocks * chunks * classes >= 2 * kElementsPerThread, [&](int64_t block, int64_t) {
    Sums into = block_sums(block);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const Sums part = chunk_sums(block * chunks + chunk);
      into.entropy.add(0, *part.entropy.to);
      for (int64_t k = 0; k < classes; ++k) {
        into.prob.add(k, part.prob.to[k]);
        into.prob_sq.add(k, part.prob_sq.to[k]);
        into.log_prob.add(k, part.log_prob.to[k]);
      }
      into.have_begun();
    }
  });
}

}  // namespace

template <>
void run(const ScoresArgs& args) {
  const auto for_type = [&](Dtype dtype, const auto& f) {
    args.in_double ? for_dtype_in_double(dtype, f) : for_dtype(dtype, f);
  };
  for_layout_of<InLanes, InColumns>(for_type, args.dtype, args.classes, [&](auto layout) {
    sum_blocks<typename decltype(layout)::scalar_t, typename decltype(layout)::type>(args);
  });
}

}  // namespace amgan::cpu::CPU_CAPABILITY
