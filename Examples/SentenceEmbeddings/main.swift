import DistillModels
import Distillation
import Foundation

// Two layers learn where MiniLM's six put sentences, and say how near the similarities of pairs come to the teacher's.
let arguments = CommandLine.arguments
let seed =
  arguments.count == 5 && arguments[3] == "--seed"
  ? UInt64(arguments[4]) : arguments.count == 3 ? 1 : nil
guard let seed else {
  say(
    """
    usage: sentence-embeddings TEXTS MODEL [--seed N]

    TEXTS is a folder with train.csv and test.csv, MODEL one of sentence-transformers whose sentences are means.
    """)
  exit(2)
}
do {
  try TorchRuntime.setThreadCount(2)
  let study = try Study(texts: arguments[1], model: arguments[2])
  let place = LayerPair("last_features")
  let ways: KeyValuePairs = [
    "cosine": [Objective.Entry(try CosineHiddenStates(layers: [place]))],
    "both": [
      .init(try CosineHiddenStates(layers: [place])),
      .init(try RelationalKnowledge(layers: [place]), weight: 0.1),
    ],
  ]
  var results = ["start": try study.result(of: study.student())]
  for (name, entries) in ways {
    results[name] = try study.result(of: study.learned(by: entries, seed: seed))
    say("\(name): Spearman \(results[name]?.spearman ?? 0)")
  }
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
  print(String(decoding: try encoder.encode(results), as: UTF8.self))
} catch {
  say("error: \(error)")
  exit(1)
}

func say(_ text: String) { FileHandle.standardError.write(Data("\(text)\n".utf8)) }
