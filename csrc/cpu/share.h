// Work that is shared with whoever has time for it.
//
// A parallel region of OpenMP ends when every thread of the team has come, had it work to do or not: where other
// programs keep the cores busy, that is a time slice of theirs, milliseconds, for work of a fraction of one. Here the
// caller does what nobody else takes, and waits only for items that others have begun.
#pragma once

#include <cstdint>

namespace amgan::cpu {

// Calls run(context, item, worker) once for each item, on the calling thread and on others, at most
// at::get_num_threads() in all; worker is a number below that, of one thread at a time. run must not throw.
void share_items(int64_t items, const void* context, void (*run)(const void* context, int64_t item, int64_t worker));

namespace {

// f(item, worker), if `worth_it`; else for all items on this thread.
template <typename F>
void share(int64_t items, bool worth_it, const F& f) {
  if (!worth_it) {
    for (int64_t item = 0; item < items; ++item) f(item, 0);
    return;
  }
  share_items(items, &f, [](const void* context, int64_t item, int64_t worker) {
    (*static_cast<const F*>(context))(item, worker);
  });
}

}  // namespace
}  // namespace amgan::cpu
