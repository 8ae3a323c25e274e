// What csrc/ops/tickets.h promises, one promise a run: its name is the argument.
#include "ops/tickets.h"

#include <cstdio>
#include <map>
#include <set>
#include <string>

using amgan::kGraphTickets;
using amgan::kStreamTickets;
using amgan::ops::Tickets;

#define CHECK(condition)                                         \
  if (!(condition)) {                                            \
    std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
    std::exit(1);                                                \
  }

static Tickets tickets;

static int take(cudaStream_t stream) {
  int ticket = -2;
  CHECK(tickets.take(stream, &ticket) == cudaSuccess);
  return ticket;
}

static cudaStream_t stream_of(size_t id) {
  return reinterpret_cast<cudaStream_t>(1000 + id);
}

// `launches` captured on a stream, as a graph.
static cudaGraph_t capture(int launches, std::vector<int>* taken) {
  const cudaStream_t stream = stream_of(0);
  auto* graph = new Graph;
  fake::capturing[stream] = graph;
  for (int i = 0; i < launches; ++i) taken->push_back(take(stream));
  fake::capturing.erase(stream);
  return graph;
}

static void a_stream_keeps_its_own() {
  std::set<int> seen;
  for (int id = 0; id < 12; ++id) seen.insert(take(stream_of(id)));
  CHECK(seen.size() == 12 && *seen.begin() >= 0 && *seen.rbegin() < kStreamTickets);
  for (int id = 0; id < 12; ++id) CHECK(take(stream_of(id)) == take(stream_of(id)));
}

static void one_handle_for_a_stream_of_each_thread() {
  const int mine = take(cudaStreamPerThread);
  int other = mine;
  std::thread([&] { other = take(cudaStreamPerThread); }).join();
  CHECK(other != mine);
  CHECK(take(cudaStreamPerThread) == mine);
}

static void captured_launches_have_one_each() {
  std::vector<int> first, second;
  const cudaGraph_t graph = capture(5, &first), other = capture(5, &second);
  std::set<int> all(first.begin(), first.end());
  all.insert(second.begin(), second.end());
  CHECK(all.size() == 10 && *all.begin() >= kStreamTickets && *all.rbegin() < kStreamTickets + kGraphTickets);
  fake::destroy(graph);
  fake::destroy(other);
}

static void destroyed_graphs_give_them_back() {
  for (int i = 0; i < 3; ++i) {
    std::vector<int> taken;
    const cudaGraph_t graph = capture(kGraphTickets - 1, &taken);
    CHECK(std::set<int>(taken.begin(), taken.end()).size() == taken.size());
    CHECK(taken.back() != Tickets::kNone);
    fake::destroy(graph);
  }
}

static void living_graphs_hold_no_more_than_there_are() {
  std::vector<int> taken;
  const cudaGraph_t graph = capture(kGraphTickets + 1, &taken);
  CHECK(taken[kGraphTickets - 1] != Tickets::kNone && taken[kGraphTickets] == Tickets::kNone);
  CHECK(take(stream_of(0)) != Tickets::kNone);  // of streams there are others
  fake::destroy(graph);
}

static void a_graph_that_takes_nothing_costs_nothing() {
  fake::retain_fails = true;
  auto* graph = new Graph;
  fake::capturing[stream_of(0)] = graph;
  int ticket;
  for (int i = 0; i < 2 * kGraphTickets; ++i) CHECK(tickets.take(stream_of(0), &ticket) == cudaErrorInvalidValue);
  fake::retain_fails = false;
  CHECK(take(stream_of(0)) != Tickets::kNone);
  fake::destroy(graph);
}

static void an_invalid_capture_is_an_error() {
  fake::capturing[stream_of(0)] = nullptr;
  int ticket;
  CHECK(tickets.take(stream_of(0), &ticket) == cudaErrorStreamCaptureInvalidated);
}

static void streams_that_came_last_differ() {
  const int count = 3 * kStreamTickets + 5;
  std::map<int, int> last;  // by ticket
  for (int id = 0; id < count; ++id) last[take(stream_of(id))] = id;
  CHECK(last.size() == kStreamTickets);
  for (const auto& [ticket, id] : last) {
    CHECK(id >= count - kStreamTickets);
    CHECK(take(stream_of(id)) == ticket);
  }
  CHECK(take(stream_of(0)) < kStreamTickets);
}

int main(int, char** arguments) {
  const std::map<std::string, void (*)()> promises = {
      {"a_stream_keeps_its_own", a_stream_keeps_its_own},
      {"one_handle_for_a_stream_of_each_thread", one_handle_for_a_stream_of_each_thread},
      {"captured_launches_have_one_each", captured_launches_have_one_each},
      {"destroyed_graphs_give_them_back", destroyed_graphs_give_them_back},
      {"living_graphs_hold_no_more_than_there_are", living_graphs_hold_no_more_than_there_are},
      {"a_graph_that_takes_nothing_costs_nothing", a_graph_that_takes_nothing_costs_nothing},
      {"an_invalid_capture_is_an_error", an_invalid_capture_is_an_error},
      {"streams_that_came_last_differ", streams_that_came_last_differ},
  };
  promises.at(arguments[1])();
}
