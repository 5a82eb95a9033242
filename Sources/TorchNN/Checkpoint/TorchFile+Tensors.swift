import Torch

extension TorchFile {
  /// The tensors, over the file's own bytes where these lie as elements need it; else a storage is copied as a whole, once
  /// for all tensors and parts of it. In a file of the other byte order that is once for each size of elements, of which
  /// there are three.
  func tensors(in buffer: HostBuffer) throws -> [NamedTensor] {
    var copies: [CopyKey: HostBuffer] = [:]
    return try entries.map { entry in
      var (memory, start) = (buffer, entry.storage.lowerBound)
      let size = entry.dtype.byteCount
      if start % size != 0 || (isBigEndian && size > 1) {
        let key = CopyKey(storage: entry.storage, elementSize: isBigEndian ? size : 0)
        memory = copies[key] ?? copy(entry.storage, elementSize: size)
        copies[key] = memory
        start = 0
      }
      if entry.isContiguous {
        return NamedTensor(
          name: entry.name,
          tensor: try Tensor(memory, byteOffset: start + entry.offset * size, shape: entry.shape, dtype: entry.dtype))
      }
      let line = try Tensor(memory, byteOffset: start + entry.offset * size, shape: [entry.span], dtype: entry.dtype)
      return NamedTensor(name: entry.name, tensor: try line.strided(entry.shape, strides: entry.strides))
    }
  }

  private struct CopyKey: Hashable {
    var storage: Range<Int>
    var elementSize: Int
  }

  private func copy(_ range: Range<Int>, elementSize: Int) -> HostBuffer {
    let copy = HostBuffer(byteCount: range.count)
    copy.bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[range]))
    guard isBigEndian, elementSize > 1 else { return copy }
    for start in stride(from: 0, through: range.count - elementSize, by: elementSize) {
      copy.bytes[start..<start + elementSize].reverse()
    }
    return copy
  }
}
