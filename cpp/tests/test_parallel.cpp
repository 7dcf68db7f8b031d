#include <boost/test/unit_test.hpp>
#include <cstring>
#include <pyscale/parallel.hpp>
#include <string>

#include "cases.hpp"

using namespace pyscale;
using namespace pyscale_tests;

namespace {

std::uint64_t bits(double value) {
  std::uint64_t result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

/// Records who was merged with whom.
struct Expression {
  std::string text;
  void merge(const Expression& other) { text = "(" + text + other.text + ")"; }
};

std::string merged_expression(int n) {
  std::vector<Expression> parts;
  for (int i = 0; i < n; ++i) parts.push_back({std::string(1, static_cast<char>('a' + i))});
  return tree_merge(std::move(parts)).text;
}

void check_covers(const std::vector<Index>& edges, Index n, Index n_chunks) {
  BOOST_TEST(edges.front() == 0);
  BOOST_TEST(edges.back() == n);
  BOOST_TEST(static_cast<Index>(edges.size()) - 1 <= n_chunks);
  for (std::size_t c = 1; c < edges.size(); ++c) BOOST_TEST(edges[c] > edges[c - 1]);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(parallel)

BOOST_AUTO_TEST_CASE(loops_end_soon_after_a_request) {
  const std::vector<Index> edges = fixed_size_edges(1000, 1);
  for (const int n_threads : {1, 3}) {
    Cancellation request;
    std::atomic<int> n_done{0};
    const auto body = [&](Index chunk, Index, Index) {
      if (chunk == 10) request.cancel();
      ++n_done;
    };
    {
      const CancellationScope scope(&request);
      BOOST_CHECK_THROW(for_each_chunk(edges, n_threads, body), Cancelled);
      BOOST_TEST(n_done < 1000);
      BOOST_CHECK_THROW(throw_if_cancelled(), Cancelled);
    }
    n_done = 0;
    for_each_chunk(edges, n_threads, body);
    BOOST_TEST(n_done == 1000);
  }
}

BOOST_AUTO_TEST_CASE(polls_of_all_scopes_are_asked_in_their_thread) {
  int n_asked = 0;
  const CancellationScope outer(nullptr, [&] { return ++n_asked > 0; });
  const CancellationScope inner(nullptr);
  BOOST_CHECK_THROW(for_each_chunk(fixed_size_edges(10, 1), 1, [](Index, Index, Index) {}), Cancelled);
  BOOST_TEST(n_asked == 1);
}

BOOST_AUTO_TEST_CASE(exceptions_of_polls_come_through) {
  const CancellationScope scope(nullptr, []() -> bool { throw std::runtime_error("asked"); });
  BOOST_CHECK_THROW(for_each_chunk(fixed_size_edges(10, 1), 1, [](Index, Index, Index) {}),
                    std::runtime_error);
}

BOOST_AUTO_TEST_CASE(balanced_edges_cover_every_group_once) {
  for (const Index n_rows : {1, 2, 17, 1000})
    for (const Index max_size : {1, 5, 400})
      for (const Index n_chunks : {1, 2, 7, 64}) {
        const std::vector<Index> offsets = random_offsets(n_rows, max_size, 11);
        check_covers(balanced_group_edges(offsets, n_chunks), static_cast<Index>(offsets.size()) - 1,
                     n_chunks);
      }
}

BOOST_AUTO_TEST_CASE(balanced_edges_give_chunks_of_about_equal_rows) {
  const Index n_rows = 10000, max_size = 9, n_chunks = 16;
  const std::vector<Index> offsets = random_offsets(n_rows, max_size, 5);
  const std::vector<Index> edges = balanced_group_edges(offsets, n_chunks);
  BOOST_TEST(edges.size() == static_cast<std::size_t>(n_chunks + 1));
  for (std::size_t c = 1; c < edges.size(); ++c)
    BOOST_TEST(std::abs(offsets[edges[c]] - offsets[edges[c - 1]] - n_rows / n_chunks) <= max_size);
}

BOOST_AUTO_TEST_CASE(balanced_edges_of_a_part_of_the_rows_start_at_its_first_group) {
  const std::vector<Index> offsets{100, 103, 104, 110, 120};
  check_covers(balanced_group_edges(offsets, 3), 4, 3);
}

BOOST_AUTO_TEST_CASE(nothing_to_do_means_no_chunk) {
  int calls = 0;
  const auto count = [&](Index, Index, Index) { ++calls; };
  for_each_chunk(balanced_group_edges(std::vector<Index>{}, 4), 2, count);
  for_each_chunk(balanced_group_edges(std::vector<Index>{0}, 4), 2, count);
  for_each_chunk(fixed_size_edges(0, 10), 2, count);
  for_each_chunk({}, 2, count);
  BOOST_TEST(calls == 0);
}

BOOST_AUTO_TEST_CASE(fixed_size_edges_cover_every_row_once) {
  for (const Index n : {1, 9, 10, 11, 100}) check_covers(fixed_size_edges(n, 10), n, (n + 9) / 10);
}

BOOST_AUTO_TEST_CASE(every_chunk_runs_once_with_its_own_edges) {
  const std::vector<Index> edges = fixed_size_edges(1003, 10);
  for (const int n_threads : {0, 1, 2, 3, 8}) {
    std::vector<int> visits(1003);
    for_each_chunk(edges, n_threads, [&](Index chunk, Index begin, Index end) {
      if (begin == edges[chunk] && end == edges[chunk + 1])
        for (Index i = begin; i < end; ++i) ++visits[i];
    });
    BOOST_TEST(visits == std::vector<int>(1003, 1), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(tree_depends_on_the_number_of_parts_only) {
  BOOST_TEST(merged_expression(1) == "a");
  BOOST_TEST(merged_expression(2) == "(ab)");
  BOOST_TEST(merged_expression(3) == "((ab)c)");
  BOOST_TEST(merged_expression(4) == "((ab)(cd))");
  BOOST_TEST(merged_expression(7) == "(((ab)(cd))((ef)g))");
}

BOOST_AUTO_TEST_CASE(the_lowest_failing_chunk_reports_and_the_others_still_run) {
  const std::vector<Index> edges = fixed_size_edges(40, 1);
  for (const int n_threads : {1, 2, 3, 8}) {
    std::vector<int> visits(40);
    const auto body = [&](Index chunk, Index, Index) {
      visits[chunk] = 1;
      if (chunk == 5 || chunk == 6 || chunk == 39) throw std::runtime_error(std::to_string(chunk));
    };
    BOOST_CHECK_EXCEPTION(for_each_chunk(edges, n_threads, body), std::runtime_error,
                          [](const std::runtime_error& e) { return std::string(e.what()) == "5"; });
    BOOST_TEST(visits == std::vector<int>(40, 1), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(sums_have_the_same_bits_for_any_number_of_threads) {
  const std::vector<double> values = adversarial_values(50000, 7);
  const std::vector<Index> edges = fixed_size_edges(50000, 128);
  const double one = chunked_sum(values, edges, 1);
  for (const int n_threads : {2, 3, 8})
    for (int repeat = 0; repeat < 5; ++repeat)
      BOOST_TEST(bits(chunked_sum(values, edges, n_threads)) == bits(one));
  // The values can tell: another grouping of the same sum has other bits.
  BOOST_TEST(bits(chunked_sum(values, fixed_size_edges(50000, 50000), 1)) != bits(one));
}

BOOST_AUTO_TEST_SUITE_END()
