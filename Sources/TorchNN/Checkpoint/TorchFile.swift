import Torch

/// A file of `torch.save`: what tensors it holds, and where their numbers lie. Both forms are read: the zip file that
/// PyTorch has written since 1.6, and the one before it, which is several pickles and then the storages. Nothing in either
/// is executed, and nothing is trusted.
///
/// ## Reference
/// `torch/serialization.py` of PyTorch 2.13
struct TorchFile {
  /// A tensor, checked to lie in the file.
  struct Entry {
    var name: String
    var dtype: DType
    var shape: [Int]
    /// In elements.
    var strides: [Int]
    /// Where its storage lies in the file, as a whole.
    var storage: Range<Int>
    /// Its first element, counted in elements from the beginning of the storage.
    var offset: Int
    /// How many elements there are from its first to its last.
    var span: Int

    var count: Int { shape.reduce(1, *) }

    /// Whether its elements lie in row-major order without gaps. The stride of a dimension of one is never used.
    var isContiguous: Bool {
      guard span > 0 else { return true }
      var expected = 1
      for (size, stride) in zip(shape, strides).reversed() where size != 1 {
        guard stride == expected else { return false }
        expected *= size
      }
      return true
    }
  }

  /// One dictionary of a file that has several with tensors.
  struct Part {
    var path: [Pickle.Value]
    var dictionary: Int
    /// How many tensors it has, and whether all of them are single numbers.
    var count: Int
    var isOfNumbers: Bool
  }

  private(set) var entries: [Entry] = []
  /// Numbers and short texts that stand beside the tensors, such as the epoch.
  private(set) var metadata: [String: String] = [:]
  /// Whether the bytes of each number are in the order that this machine does not have.
  private(set) var isBigEndian = false

  let bytes: UnsafeRawBufferPointer
  private let path: String

  /// Whether bytes begin as a file of `torch.save` does.
  static func begins(_ bytes: UnsafeRawBufferPointer) -> Bool {
    ZipFile.begins(bytes) || (bytes.count > 2 && bytes[0] == 0x80 && (2...5).contains(bytes[1]))
  }

  /// - Parameters:
  ///   - bytes: the whole file; they have to stay where they are as long as this is used
  ///   - part: which dictionary is meant, where there are several with tensors: its key, or keys with dots between them
  init(_ bytes: UnsafeRawBufferPointer, path: String, part: String? = nil) throws {
    self.bytes = bytes
    self.path = path
    do {
      let (pickle, places) = try ZipFile.begins(bytes) ? readZip() : readOld()
      let dictionary = try Self.choose(part, of: pickle, path: path)
      try collect(dictionary, of: pickle, places)
    } catch let failure as Pickle.Failure {
      throw CheckpointError(path: path, problem: failure.problem)
    } catch let error as ZipError {
      throw CheckpointError(path: path, problem: "\(error.problem); \(Self.advice)")
    }
  }

  private static let advice = "fetch or write the file again"

  private func fail(_ problem: String) -> CheckpointError { CheckpointError(path: path, problem: problem) }

  // MARK: The two forms

  /// Where one of a pickle's storages lies, in bytes of the file.
  private struct Place {
    var storage: Range<Int>
    /// What its tensors may be of. In the old form that may be a part of the storage.
    var part: Range<Int>
  }

  /// By the storages' numbers; nil for one that is not there.
  private typealias Places = [Place?]

  private mutating func readZip() throws -> (Pickle, Places) {
    let zip = try ZipFile(bytes)
    let pickles = zip.entries.filter { $0.name == "data.pkl" || $0.name.hasSuffix("/data.pkl") }
    guard let main = pickles.min(by: { $0.name.utf8.count < $1.name.utf8.count }) else {
      throw fail("it is a zip file, but none of torch.save: there is no data.pkl in it")
    }
    let folder = main.name.dropLast("data.pkl".count)
    var found: [Substring: ZipFile.Entry] = [:]
    for entry in zip.entries where entry.name.hasPrefix(folder) { found[entry.name.dropFirst(folder.count)] = entry }
    if found["constants.pkl"] != nil || found.keys.contains(where: { $0.hasPrefix("code/") }) {
      throw fail(
        "it is a TorchScript program, not a file of weights: \(Pickle.remedy)")
    }
    for name in ["data.pkl", "byteorder"] {
      if let entry = found[Substring(name)] { try checkStored(entry) }
    }
    if let order = found["byteorder"] {
      switch String(decoding: bytes[order.range].prefix(10), as: UTF8.self) {
      case "little": isBigEndian = false
      case "big": isBigEndian = true
      default: throw fail("it does not say in which order the bytes of a number are; \(Self.advice)")
      }
    }
    let pickle = try Pickle(bytes, in: main.range)
    guard pickle.end == main.range.upperBound else { throw fail("something follows the end of its pickle") }
    let places = try pickle.storages.map { storage -> Place? in
      guard let entry = found[Substring("data/\(storage.key)")] else { return nil }
      try checkStored(entry)
      let size = storage.dtype?.byteCount ?? 1
      guard storage.foreignType != nil || product([storage.count, size]) == entry.count else {
        throw fail(
          "the storage '\(storage.key)' has \(entry.count) bytes, but \(storage.count) elements are announced; "
            + Self.advice)
      }
      return Place(storage: entry.range, part: entry.range)
    }
    return (pickle, places)
  }

  private func checkStored(_ entry: ZipFile.Entry) throws {
    guard !entry.isEncrypted else { throw fail("'\(entry.name.prefix(100))' in it is encrypted") }
    guard entry.method == 0 else {
      throw fail(
        "'\(entry.name.prefix(100))' in it is compressed, as PyTorch writes no file: read it in Python with torch.load "
          + "and save it again")
    }
  }

  /// Magic number, version, facts of the machine, the object, the keys of the storages: a pickle each. Then each storage,
  /// its number of elements in eight bytes and the elements, in the order of the keys.
  private mutating func readOld() throws -> (Pickle, Places) {
    var start = 0
    func next() throws -> Pickle {
      let pickle = try Pickle(bytes, in: start..<bytes.count)
      start = pickle.end
      return pickle
    }
    func other() -> CheckpointError {
      fail("it is pickled, but not by torch.save: save the weights from Python, torch.save(model.state_dict(), path)")
    }
    let magic: [UInt8] = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, UInt8(ascii: ".")]
    guard bytes.count >= 15, bytes[2..<15].elementsEqual(magic) else {
      // What it names is said first: that is what a person has to know of a file from elsewhere.
      _ = try next()
      throw other()
    }
    _ = try next()
    guard case .integer(let version) = try next().root else { throw other() }
    guard version == 1001 else { throw fail("it is in version \(version) of torch.save's form; 1001 is known") }
    let machine = try next()
    if case .dictionary(let place) = machine.root {
      for (key, value) in machine.dictionaries[place] where machine.text(key) == "little_endian" {
        if case .bool(false) = value { isBigEndian = true }
      }
    }
    let pickle = try next()
    let keys = try next()
    guard case .sequence(let list, _) = keys.root else {
      throw fail("the list of its storages is damaged; \(Self.advice)")
    }
    var numbers: [String: [Int]] = [:]
    for (number, storage) in pickle.storages.enumerated() { numbers[storage.key, default: []].append(number) }
    var places = Places(repeating: nil, count: pickle.storages.count)
    for value in keys.sequences[list] {
      guard let key = keys.text(value), let users = numbers.removeValue(forKey: key), let first = users.first else {
        throw fail("it has a storage that nothing uses; \(Self.advice)")
      }
      let storage = pickle.storages[first]
      if let type = storage.foreignType {
        throw fail("the storage '\(key)' has elements of type \(type): convert it in Python, such as .float()")
      }
      let size = storage.dtype?.byteCount ?? 1
      guard bytes.count - start >= 8 else { throw fail("it is cut off before the storage '\(key)'; \(Self.advice)") }
      let count = Int(
        truncatingIfNeeded: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)))
      start += 8
      guard count == storage.count, let byteCount = product([count, size]) else {
        throw fail(
          "the storage '\(key)' has \(count) elements, but \(storage.count) are announced; \(Self.advice)")
      }
      guard byteCount <= bytes.count - start else {
        throw fail(
          "the storage '\(key)' needs \(byteCount) bytes, but there are only \(bytes.count - start): the file is cut off; "
            + Self.advice)
      }
      for user in users {
        let own = pickle.storages[user]
        guard own.dtype == storage.dtype, own.count == count else {
          throw fail("the storage '\(key)' is announced in two ways; \(Self.advice)")
        }
        let view = own.view ?? (0, count)
        guard view.offset >= 0, view.count >= 0, view.count <= count, view.offset <= count - view.count else {
          throw fail("a part of the storage '\(key)' lies beyond it; \(Self.advice)")
        }
        places[user] = Place(
          storage: start..<start + byteCount,
          part: start + view.offset * size..<start + (view.offset + view.count) * size)
      }
      start += byteCount
    }
    guard start == bytes.count else {
      throw fail("\(bytes.count - start) bytes at its end belong to no tensor; \(Self.advice)")
    }
    return (pickle, places)
  }

  // MARK: Which dictionary

  /// Deeper than any training program puts its weights.
  private static let mostLevels = 8

  /// What belongs to a training and not to a model.
  private static func isOfTraining(_ key: String) -> Bool {
    let key = key.lowercased()
    return ["optim", "sched", "scaler", "rng_state", "callback", "loops"].contains { key.contains($0) }
  }

  private static func choose(_ part: String?, of pickle: Pickle, path: String) throws -> Int {
    func fail(_ problem: String) -> CheckpointError { CheckpointError(path: path, problem: problem) }
    var seen: Set<Int> = []
    var parts: [Part] = []
    var waiting: [(path: [Pickle.Value], dictionary: Int, isOfTraining: Bool)] = []
    if case .dictionary(let place) = pickle.root { waiting.append(([], place, false)) }
    var ofTraining: [Part] = []
    var index = 0
    while index < waiting.count {
      let (keys, dictionary, isOfTraining) = waiting[index]
      index += 1
      guard seen.insert(dictionary).inserted else { continue }
      var found = Part(path: keys, dictionary: dictionary, count: 0, isOfNumbers: true)
      for (key, value) in pickle.dictionaries[dictionary] {
        switch value {
        case .tensor(let number):
          found.count += 1
          if !pickle.tensors[number].shape.isEmpty { found.isOfNumbers = false }
        case .dictionary(let inner) where keys.count < mostLevels:
          let isNext = isOfTraining || (shortText(key, of: pickle).map(Self.isOfTraining) ?? false)
          waiting.append((keys + [key], inner, isNext))
        default: break
        }
      }
      if found.count > 0 { if isOfTraining { ofTraining.append(found) } else { parts.append(found) } }
    }
    if let part {
      let wanted = (parts + ofTraining).filter { name($0, of: pickle, ifLength: part.utf8.count) == part }
      guard let wanted = wanted.first else {
        throw fail("it has no part '\(part)' with tensors. \(listed(parts + ofTraining, of: pickle))")
      }
      return wanted.dictionary
    }
    let models = parts.contains { !$0.isOfNumbers } ? parts.filter { !$0.isOfNumbers } : parts
    guard let first = models.first else {
      if case .tensor = pickle.root {
        throw fail("it holds a tensor without a name: save a dictionary, {'logits': tensor}")
      }
      throw fail("it holds no dictionary with tensors: \(Pickle.remedy)")
    }
    guard models.count == 1 else {
      throw fail(
        "it has several parts with tensors. \(listed(models, of: pickle)) Say which you mean: "
          + "distill convert \(path) --part \(name(first, of: pickle)) -o FILE.safetensors")
    }
    return first.dictionary
  }

  private static func shortText(_ key: Pickle.Value, of pickle: Pickle) -> String? {
    switch key {
    case .text(_, let count) where count <= 200: pickle.text(key)
    case .integer(let number): "\(number)"
    default: nil
    }
  }

  /// The keys that lead there, with dots between them; `.` for the whole file.
  private static func name(_ part: Part, of pickle: Pickle) -> String {
    part.path.isEmpty ? "." : part.path.map { shortText($0, of: pickle) ?? "?" }.joined(separator: ".")
  }

  /// nil where it has another length, which costs less to find out.
  private static func name(_ part: Part, of pickle: Pickle, ifLength length: Int) -> String? {
    let parts = part.path.map { key in if case .text(_, let count) = key { count } else { 1 } }
    let least = parts.reduce(max(0, parts.count - 1), +)
    return least <= max(length, 1) ? name(part, of: pickle) : nil
  }

  private static func listed(_ parts: [Part], of pickle: Pickle) -> String {
    let shown = parts.prefix(10).map {
      "'\(name($0, of: pickle))' (\($0.count == 1 ? "1 tensor" : "\($0.count) tensors"))"
    }.joined(separator: ", ")
    return parts.isEmpty ? "It has none" : "It has \(shown)\(parts.count > 10 ? " and \(parts.count - 10) more" : "")."
  }

  // MARK: The tensors

  /// How often the file's bytes may be used by tensors that share them.
  private static let mostUses = 32

  private mutating func collect(_ dictionary: Int, of pickle: Pickle, _ places: Places) throws {
    var names: [String: Int] = [:]
    var seenTexts: Set<Int> = []
    var total = 0
    for (key, value) in pickle.dictionaries[dictionary].reversed() {
      // Of a key that stands twice the last one counts, as in Python. The same text is looked at once.
      if case .text(let start, _) = key, !seenTexts.insert(start).inserted { continue }
      guard case .tensor(let number) = value else { continue }
      let name: String
      switch key {
      case .integer(let number): name = "\(number)"
      default:
        guard let text = pickle.text(key) else { throw fail("the name of a tensor is no text in UTF-8") }
        name = text
      }
      guard names.updateValue(number, forKey: name) == nil else { continue }
      let entry = try entry(name, pickle.tensors[number], pickle, places)
      let (sum, overflow) = total.addingReportingOverflow(entry.count * entry.dtype.byteCount)
      guard !overflow, sum / Self.mostUses <= bytes.count else {
        throw fail("its tensors would have more than \(Self.mostUses) times the \(bytes.count) bytes of the file")
      }
      total = sum
      entries.append(entry)
    }
    entries.reverse()
    removeWrappers()
    metadata = Self.plainValues(beside: dictionary, of: pickle)
  }

  private func entry(
    _ name: String, _ tensor: Pickle.StoredTensor, _ pickle: Pickle, _ places: Places
  ) throws -> Entry {
    let shown = "the tensor '\(name.prefix(200))'"
    guard let dtype = tensor.dtype else {
      throw fail(
        "\(shown) has elements of type \(tensor.foreignType ?? "unknown"): convert it in Python, such as .float()")
    }
    let storage = pickle.storages[tensor.storage]
    guard let place = places[tensor.storage] else {
      throw fail("the storage '\(storage.key)' of \(shown) is missing; \(Self.advice)")
    }
    guard tensor.shape.allSatisfy({ $0 >= 0 }), tensor.offset >= 0 else {
      throw fail("\(shown) has a negative size or place: \(tensor.shape), from \(tensor.offset); \(Self.advice)")
    }
    guard tensor.strides.allSatisfy({ $0 >= 0 }) else {
      throw fail("\(shown) has the negative strides \(tensor.strides), which PyTorch does not have; \(Self.advice)")
    }
    let (beginning, rest) = (place.part.lowerBound - place.storage.lowerBound).quotientAndRemainder(
      dividingBy: dtype.byteCount)
    guard rest == 0 else {
      throw fail("the part of the storage '\(storage.key)' begins within an element of \(shown); \(Self.advice)")
    }
    let available = place.part.count / dtype.byteCount
    let isEmpty = tensor.shape.contains(0)
    // Sizes beside a zero could overflow too.
    guard let count = product(tensor.shape.filter { $0 != 0 }), let byteCount = product([count, dtype.byteCount]) else {
      throw fail("the shape \(tensor.shape) of \(shown) is larger than any memory; \(Self.advice)")
    }
    var last = tensor.offset
    for (size, stride) in zip(tensor.shape, tensor.strides) where !isEmpty && size > 1 {
      let (step, first) = (size - 1).multipliedReportingOverflow(by: stride)
      let (next, second) = last.addingReportingOverflow(step)
      guard !first, !second else { throw fail("the strides \(tensor.strides) of \(shown) lead beyond any memory") }
      last = next
    }
    guard isEmpty ? tensor.offset <= available : last < available else {
      throw fail(
        "\(shown) reaches beyond its storage: \(tensor.shape) from \(tensor.offset) with strides \(tensor.strides), but "
          + "there are \(available) elements; \(Self.advice)")
    }
    guard isEmpty || byteCount <= bytes.count else {
      throw fail("\(shown) repeats its numbers: it would have \(byteCount) bytes, more than the whole file")
    }
    return Entry(
      name: name, dtype: dtype, shape: tensor.shape, strides: tensor.strides, storage: place.storage,
      offset: isEmpty ? 0 : beginning + tensor.offset, span: isEmpty ? 0 : last - tensor.offset + 1)
  }

  /// What wrappers of PyTorch put before every name: `DataParallel` and `torch.compile`.
  private mutating func removeWrappers() {
    for _ in 0..<4 {
      guard
        let wrapper = ["module.", "_orig_mod."].first(where: { wrapper in
          entries.allSatisfy { $0.name.hasPrefix(wrapper) && $0.name.utf8.count > wrapper.utf8.count }
        })
      else { return }
      for index in entries.indices { entries[index].name.removeFirst(wrapper.count) }
    }
  }

  /// Numbers and short texts of the whole file, and of the dictionary itself.
  private static func plainValues(beside dictionary: Int, of pickle: Pickle) -> [String: String] {
    var places = [dictionary]
    if case .dictionary(let root) = pickle.root, root != dictionary { places.append(root) }
    var found: [String: String] = [:]
    for place in places {
      for (key, value) in pickle.dictionaries[place] {
        guard found.count < 100, let name = shortText(key, of: pickle) else { continue }
        switch value {
        case .integer(let number): found[name] = "\(number)"
        case .number(let number): found[name] = "\(number)"
        case .bool(let truth): found[name] = "\(truth)"
        case .text(_, let count) where count <= 1000: found[name] = pickle.text(value)
        default: break
        }
      }
    }
    return found
  }
}
