// Memory for small tensors on the processor.
//
// The memory of a tensor has to lie on a boundary of 64 bytes, and the C library takes its slow way for that: for a
// small tensor it costs more than the arithmetic. So small blocks, once freed, are kept for the next tensor of about
// their size, on a shelf of the thread that freed them; large ones are left to libtorch's own allocator.

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <array>
#include <bit>
#include <cstddef>
#include <new>
#include <utility>

namespace {

constexpr size_t smallest_bits = 6;
/// Blocks of 64, 128, … 16,384 bytes.
constexpr size_t classes = 9;
/// Blocks that a thread keeps of each size: at most 2 MiB in all.
constexpr int kept = 64;

struct Block {
  Block* next;
};

struct Shelf {
  Block* first;
  int count;
};

/// A thread's shelves, of a plain type so that reaching them costs little.
struct Shelves {
  std::array<Shelf, classes> of;
  bool opened, closed;
};

thread_local Shelves shelves;

/// Empties the shelves when its thread ends; from then on nothing is kept.
struct Closing {
  ~Closing() {
    shelves.closed = true;
    for (Shelf& shelf : shelves.of)
      while (shelf.first) c10::free_cpu(std::exchange(shelf.first, shelf.first->next));
  }
};

void open() {
  thread_local Closing closing;
  shelves.opened = true;
}

template <size_t index>
void put_back(void* memory) {
  Shelves& mine = shelves;
  Shelf& shelf = mine.of[index];
  if (shelf.count == kept || mine.closed) return c10::free_cpu(memory);
  if (!mine.opened) open();
  shelf.first = new (memory) Block{shelf.first};
  shelf.count++;
}

template <size_t... index>
constexpr std::array<c10::DeleterFnPtr, classes> deleters(std::index_sequence<index...>) {
  return {put_back<index>...};
}

struct SmallBlocks final : c10::Allocator {
  static constexpr auto give_back = deleters(std::make_index_sequence<classes>());

  c10::Allocator& standard = *c10::GetDefaultCPUAllocator();

  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0 || bytes > (size_t(1) << (smallest_bits + classes - 1))) return standard.allocate(bytes);
    const size_t index = std::bit_width((bytes - 1) >> smallest_bits);
    Shelf& shelf = shelves.of[index];
    void* memory = nullptr;
    if (shelf.first) {
      memory = std::exchange(shelf.first, shelf.first->next);
      shelf.count--;
    } else {
      memory = c10::alloc_cpu(size_t(1) << (smallest_bits + index));
    }
    return {memory, memory, give_back[index], c10::Device(c10::DeviceType::CPU)};
  }

  /// What frees memory without a tensor around it, as some of libtorch's recurrent kernels want it: every block came from
  /// the standard allocator's own source, and may go back there.
  c10::DeleterFnPtr raw_deleter() const override { return standard.raw_deleter(); }

  void copy_data(void* destination, const void* source, std::size_t count) const override {
    default_copy_data(destination, source, count);
  }
};

/// Before the first tensor is made.
[[maybe_unused]] const bool installed = [] {
  static SmallBlocks allocator;
  c10::SetCPUAllocator(&allocator);
  return true;
}();

}  // namespace
