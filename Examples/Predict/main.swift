import DistillRuntime
import Foundation

// What a model sees in pictures, or makes of texts:
//   predict MODEL-FOLDER PICTURE...              predict MODEL-FOLDER --text TEXT...
func stop(_ message: String) -> Never {
  FileHandle.standardError.write(Data("\(message)\n".utf8))
  exit(2)
}

let arguments = Array(CommandLine.arguments.dropFirst())
let isText = arguments.dropFirst().first == "--text"
let inputs = Array(arguments.dropFirst(isText ? 2 : 1))
if inputs.isEmpty { stop("usage: predict MODEL-FOLDER PICTURE...  or  predict MODEL-FOLDER --text TEXT...") }

do {
  let predictor = try Predictor(arguments[0], folds: inputs.count > 32)
  let found = isText ? try predictor.predict(texts: inputs) : try predictor.predict(pictures: inputs)
  for (input, classes) in zip(inputs, found) {
    print(input, classes.map { "\($0.name) \(String(format: "%.3f", $0.probability))" }.joined(separator: "  "))
  }
} catch {
  stop("\(error)")
}
