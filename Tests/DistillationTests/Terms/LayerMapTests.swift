import Distillation
import Testing
import TorchNN

@Suite struct LayerMapTests {
  func numbers(_ map: LayerMap, _ student: Int, _ teacher: Int) throws -> [[Int]] {
    try map.steps(studentDepth: student, teacherDepth: teacher).map { [$0.student, $0.teacher] }
  }

  @Test func everyThirdIsTinyBERTs() throws {
    #expect(try numbers(.every(3), 4, 12) == [[0, 2], [1, 5], [2, 8], [3, 11]])
    #expect(try numbers(.every(2), 6, 12).last == [5, 11])
    #expect(try numbers(.every(3), 2, 12) == [[0, 2], [1, 5]])
  }

  @Test func uniformEndsAtTheLastAndRises() throws {
    #expect(try numbers(.uniform, 4, 12) == numbers(.every(3), 4, 12))
    for student in 1...9 {
      for teacher in student...13 {
        let found = try numbers(.uniform, student, teacher).map { $0[1] }
        #expect(found.count == student && found.last == teacher - 1)
        #expect(zip(found, found.dropFirst()).allSatisfy { $0 < $1 } && (found.first ?? -1) >= 0)
      }
    }
    #expect(try numbers(.uniform, 3, 3) == [[0, 0], [1, 1], [2, 2]])
  }

  @Test func lastAndExplicit() throws {
    #expect(try numbers(.last(1), 4, 12) == [[3, 11]])
    #expect(try numbers(.last(2), 4, 12) == [[2, 10], [3, 11]])
    #expect(try numbers(.explicit([.init(0, 4), .init(3, 11)]), 4, 12) == [[0, 4], [3, 11]])
  }

  @Test func pairsFillThePatterns() throws {
    let pairs = try LayerMap.every(3).pairs(student: "blocks.{}.attention", 2, teacher: "encoder.layers.{}", 6)
    #expect(
      pairs == [
        LayerPair(student: Tap("blocks.0.attention"), teacher: Tap("encoder.layers.2")),
        LayerPair(student: Tap("blocks.1.attention"), teacher: Tap("encoder.layers.5")),
      ])
  }

  @Test func depthIsCounted() throws {
    let model = try TinyModelOfBlocks(depth: 3)
    #expect(try LayerMap.depth(of: "blocks.{}", in: model) == 3)
    #expect(try LayerMap.depth(of: "blocks.{}.scores", in: model) == 3)
    let error = #expect(throws: DistillationError.self) { try LayerMap.depth(of: "block.{}", in: model) }
    #expect(try #require(error).description.contains("blocks.0"))
  }

  final class TinyModelOfBlocks: Module {
    let blocks: [MultiHeadAttention]
    init(depth: Int) throws { blocks = try (0..<depth).map { _ in try MultiHeadAttention(2, heads: 1) } }
  }

  @Test(arguments: ["uniform", "last", "last 2", "every 3", "0 ← 4, 3 ← 11"])
  func textIsReadAndWritten(text: String) throws {
    #expect(try #require(LayerMap(text)).description == text)
  }

  @Test func otherTextIsNot() {
    #expect(LayerMap("0:4, 3:11") == .explicit([.init(0, 4), .init(3, 11)]))
    for text in ["", "every", "every 0", "last -1", "third", "0", "0:1:2", "a:b", "1:-2"] {
      #expect(LayerMap(text) == nil, "\(text)")
    }
  }

  @Test func impossibleMapsAreRefused() {
    func refuses(_ map: LayerMap, _ student: Int, _ teacher: Int) {
      #expect(throws: DistillationError.self, "\(map)") { try map.steps(studentDepth: student, teacherDepth: teacher) }
    }
    refuses(.every(3), 5, 12)
    refuses(.every(0), 1, 12)
    refuses(.uniform, 5, 4)
    refuses(.uniform, 0, 4)
    refuses(.last(3), 2, 12)
    refuses(.last(0), 2, 12)
    refuses(.explicit([.init(2, 0)]), 2, 12)
    refuses(.explicit([]), 2, 12)
    #expect(throws: DistillationError.self) { try LayerMap.last(1).pairs(student: "a", 1, teacher: "b.{}", 1) }
    #expect(throws: DistillationError.self) { try LayerMap.last(1).pairs(student: "a.{}.{}", 1, teacher: "b.{}", 1) }
  }
}
