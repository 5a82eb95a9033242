import DistillRuntime
import Foundation

let usage = """
  usage: predict MODEL-FOLDER PICTURE...         what a model sees in pictures
         predict MODEL-FOLDER --text TEXT...     what it makes of texts
  """
func stop(_ message: String) -> Never {
  FileHandle.standardError.write(Data("\(message)\n".utf8))
  exit(2)
}

let arguments = Array(CommandLine.arguments.dropFirst())
if ["-h", "--help"].contains(arguments.first) { print(usage); exit(0) }
let isText = arguments.dropFirst().first == "--text"
let inputs = Array(arguments.dropFirst(isText ? 2 : 1))
if inputs.isEmpty { stop(usage) }

do {
  let predictor = try Predictor(arguments[0], folds: inputs.count > 32)
  let found = isText ? try predictor.predict(texts: inputs) : try predictor.predict(pictures: inputs)
  for (input, classes) in zip(inputs, found) {
    print(input, classes.map { "\($0.name) \(String(format: "%.3f", $0.probability))" }.joined(separator: "  "))
  }
} catch {
  stop("\(error)")
}
