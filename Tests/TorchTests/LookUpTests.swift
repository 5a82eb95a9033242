import Testing
import Torch

/// Sixteen bytes are looked up at once where the processor can: with whatever is left over, and wherever they begin.
struct LookUpTests {
  @Test(arguments: 0...70) func givesEveryByteItsNumber(_ count: Int) {
    let table = (0..<256).map { Float($0 * $0) - 1000.5 }
    for offset in 0..<17 {
      let bytes = (0..<offset + count).map { UInt8(truncatingIfNeeded: $0 * 37 + count) }
      var found = [Float](repeating: .nan, count: offset + count + 1)
      bytes.withUnsafeBufferPointer { bytes in
        table.withUnsafeBufferPointer { table in
          found.withUnsafeMutableBufferPointer { found in
            guard let bytes = bytes.baseAddress, let table = table.baseAddress, let found = found.baseAddress else {
              return
            }
            lookUp(bytes + offset, count: count, in: table, to: found + offset)
          }
        }
      }
      #expect(found[offset..<offset + count].elementsEqual(bytes.dropFirst(offset).map { table[Int($0)] }))
      // Nothing before and nothing behind is written.
      #expect(found[..<offset].allSatisfy(\.isNaN) && found[offset + count].isNaN)
    }
  }

  @Test func knowsAllBytes() {
    let table = (0..<256).map { Float($0) / 255 }
    let bytes = (0..<256).map { UInt8(255 - $0) }
    var found = [Float](repeating: .nan, count: 256)
    lookUp(bytes, count: 256, in: table, to: &found)
    #expect(found == table.reversed())
  }
}
