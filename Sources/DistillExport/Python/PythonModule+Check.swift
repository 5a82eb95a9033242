import Foundation
import Torch
import TorchNN

extension PythonModule {
  /// Loads the module in PyTorch and compares what it gives with what the model gives here.
  ///
  /// - Parameters:
  ///   - folder: where `model.py` and the weights lie
  ///   - python: a Python with the package `torch`
  ///   - examples: what the model takes, at least one
  /// - Throws: `Unverified` where it cannot be compared.
  public static func check(
    in folder: String, against model: any Layer, examples: Tensor, python: String = "python3", batches: [Int] = [1, 7]
  ) throws -> RuntimeCheck {
    let cases = try batches.map { count in
      let rows = try examples.size(0)
      let batch = try examples.gathered(Tensor((0..<count).map { Int64($0 % rows) })).contiguous()
      return (there: batch, here: batch)
    }
    return try RuntimeCheck.run(program, python: python, file: folder, model: model, examples: cases)
  }

  /// Reads a `RuntimeQuestion` and answers it.
  private static let program = """
    import importlib.util, json, os, sys, time
    try:
        import torch
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
    question = json.load(open(sys.argv[1]))
    torch.set_num_threads(question["threads"])
    sys.dont_write_bytecode = True
    place = os.path.join(question["model"], "model.py")
    spec = importlib.util.spec_from_file_location("model", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.Model.load()
    seconds, shapes = [], []
    for batch in question["batches"]:
        data = bytearray(open(batch["inputs"], "rb").read())
        inputs = torch.frombuffer(data, dtype=getattr(torch, batch["type"])).reshape(batch["shape"])
        output = model(inputs)
        open(batch["outputs"], "wb").write(bytes(output.float().contiguous().flatten().view(torch.uint8).tolist()))
        shapes.append(list(output.shape))
        times, end = [], time.perf_counter() + 0.1
        while len(times) < 5 or (time.perf_counter() < end and len(times) < 200):
            start = time.perf_counter()
            model(inputs)
            times.append(time.perf_counter() - start)
        seconds.append(sorted(times)[len(times) // 2])
    runtime = "PyTorch " + torch.__version__
    print(json.dumps({"runtime": runtime, "checker": None, "seconds": seconds, "shapes": shapes}))
    """
}
