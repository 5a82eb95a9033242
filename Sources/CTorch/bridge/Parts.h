// Work in as many parts as libtorch has threads, split in the same way every time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "Parallel.h"

namespace bridge {

/// Calls `body(part)` for each part from 0 to `parts` − 1, several at a time. Whoever computes a part, its sums are its
/// own; added up in the order of the parts they give the same result every time.
template <typename Body>
void in_parts(int64_t parts, const Body& body) {
  parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; part++) body(part);
  });
}

/// Into how many parts to split `count` pieces, of which each part should have at least `least`.
inline int64_t part_count(int64_t count, int64_t least) {
  return std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), count / least));
}

/// Where a part begins among `count` pieces.
inline int64_t part_start(int64_t part, int64_t parts, int64_t count) { return part * count / parts; }

}  // namespace bridge
