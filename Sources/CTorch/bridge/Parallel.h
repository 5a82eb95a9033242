// Work that libtorch's threads share.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>

#include <algorithm>
#include <cstdint>

namespace bridge {

/// Calls `body(first, last)` for parts of `begin ..< end`, of at least `grain` each, on libtorch's threads, as
/// `at::parallel_for` is meant to. That one is a template, which without the flags of OpenMP compiles to a plain loop, and
/// with them could bring a second OpenMP with threads of its own. So libtorch is given an iterator over as many bytes
/// as there are things to do, which it walks with its own threads.
template <typename Body>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Body& body) {
  if (begin >= end) return;
  if (end - begin <= std::max<int64_t>(grain, 1) || at::get_num_threads() == 1 || at::in_parallel_region())
    return body(begin, end);
  const auto things = at::empty({end - begin}, at::kByte);
  auto iterator = at::TensorIteratorConfig()
                      .set_check_mem_overlap(false)
                      .check_all_same_dtype(false)
                      .resize_outputs(false)
                      .add_output(things)
                      .build();
  const char* const start = static_cast<const char*>(things.data_ptr());
  const auto walk = [&](char** data, const int64_t*, int64_t count, int64_t repeats) {
    const int64_t first = begin + (data[0] - start);
    body(first, first + count * repeats);
  };
  iterator.for_each(at::TensorIteratorBase::loop2d_t(walk), std::max<int64_t>(grain, 1));
}

}  // namespace bridge
