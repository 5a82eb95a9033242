import Distillation
import Foundation
import Testing

@testable import DistillRecipes

#if canImport(FoundationXML)
import FoundationXML
#endif

@Suite("Report")
struct ReportTests {
  // MARK: The page

  @Test("The page of a full report is well-formed and complete")
  func fullPage() throws {
    let html = Report.html(ReportSample.data)
    let page = try Page(html)
    #expect(
      page.ids.isSuperset(of: [
        "verdict", "gains", "setting-1", "setting-2", "setting-3", "similarity", "examples", "recipe", "manifest",
        "words",
      ]))
    #expect(page.count["img"] == 8)
    #expect(html.contains("Distillation helped"))
    #expect(html.contains("[9.2,\u{A0}10.1]"))
    #expect(page.says("wide-resnet"))
    // Light and dark, and narrow screens.
    #expect(html.contains("prefers-color-scheme:dark"))
    #expect(html.contains("width=device-width"))
  }

  @Test("A hundred settings make no page of many megabytes, and the page says what it leaves out")
  func manySettings() throws {
    var data = ReportSample.data
    let setting = data.settings[0]
    data.settings = (1...100).map { number in
      var setting = setting
      setting.name = "setting \(number)"
      return setting
    }
    let html = Report.html(data)
    let page = try Page(html)
    #expect(html.utf8.count < 5_000_000, "\(html.utf8.count)")
    #expect(page.duplicateIds.isEmpty)
    let sections = try (1...100).map { number in
      let start = try #require(html.range(of: "<section id=\"setting-\(number)\""))
      let rest = html[start.lowerBound...]
      return rest.prefix(upTo: try #require(rest.range(of: "</section>")).lowerBound)
    }
    for (index, section) in sections.enumerated() {
      #expect(section.contains("-confusion-0") == (index < 10), "\(index)")
      #expect(section.contains("-reliability-0") == (index < 10), "\(index)")
      #expect(section.contains("for the first 10 settings only") == (index >= 10), "\(index)")
      #expect(section.contains("Most confused pairs") == (index >= 10), "\(index)")
    }
  }

  @Test("Every link goes somewhere, every label exists, no id occurs twice")
  func references() throws {
    let page = try Page(Report.html(ReportSample.data))
    #expect(page.duplicateIds.isEmpty)
    for target in page.references { #expect(page.ids.contains(target), "\(target)") }
    #expect(page.references.count > 20)
  }

  @Test("Every chart has a name, every table head a scope")
  func accessibility() throws {
    let page = try Page(Report.html(ReportSample.data))
    #expect(page.namelessPictures == 0)
    #expect(page.scopelessHeads == 0)
    #expect((page.count["svg"] ?? 0) > 30)
  }

  @Test("Nothing is fetched: no address, no import, no file")
  func noOutsideResources() {
    let html = Report.html(ReportSample.data)
    for forbidden in ["http:", "https:", "//cdn", "@import", "<link", "<iframe", "url("] {
      #expect(!html.contains(forbidden), "\(forbidden)")
    }
    let sources = html.split(separator: "src=\"").dropFirst()
    #expect(!sources.isEmpty)
    for source in sources { #expect(source.hasPrefix("data:image/png;base64,")) }
  }

  @Test("Text of people stays text")
  func escaping() throws {
    let evil = "</script><script>alert('x')</script> & \"quoted\" <b>bold\u{0}\u{1B}[31m"
    var data = ReportSample.data
    data.title = evil
    data.recipe = "name: \(evil)\n# \(evil)\n\(evil): 1"
    data.classNames[0] = evil
    data.classNames[6] = evil
    data.manifest = [ReportData.ManifestEntry(evil, evil)]
    data.teacher?.name = evil
    data.teacher?.figures.architecture = evil
    for index in data.settings.indices {
      data.settings[index].name = evil
      data.settings[index].description = evil
      data.settings[index].conclusion = evil
      data.settings[index].student.architecture = evil
      data.settings[index].arms[0].name = evil
      for seed in data.settings[index].arms[1].seeds.indices {
        for point in data.settings[index].arms[1].seeds[seed].curve.indices {
          data.settings[index].arms[1].seeds[seed].curve[point].lossParts[0].name = evil
        }
      }
    }
    data.examples[0].opinions[0].model = evil
    let html = Report.html(data)
    let page = try Page(html)
    #expect(page.count["script"] == 1)
    #expect(page.says("</script><script>alert('x')</script> & \"quoted\" <b>bold"))
    #expect(!html.contains("<script>alert"))
    #expect(!html.unicodeScalars.contains { $0.value < 32 && $0 != "\n" && $0 != "\t" })
  }

  // MARK: What can be missing

  @Test("A report of nothing is still a page")
  func empty() throws {
    let html = Report.html(ReportData(title: ""))
    let page = try Page(html)
    #expect(page.ids.contains("verdict"))
    #expect(page.says("Nothing was compared"))
    #expect(!page.ids.contains("gains"))
  }

  @Test("No teacher, one seed, no examples, no curves")
  func sparse() throws {
    var data = ReportSample.data
    data.teacher = nil
    data.examples = []
    data.similarities = []
    data.recipe = ""
    data.manifest = []
    for index in data.settings.indices {
      for arm in data.settings[index].arms.indices {
        data.settings[index].arms[arm].seeds.removeLast(2)
        data.settings[index].arms[arm].seeds[0].curve = []
        data.settings[index].arms[arm].gain = nil
        data.settings[index].arms[arm].confusion = []
        data.settings[index].arms[arm].reliability = []
        data.settings[index].arms[arm].classScores = []
      }
    }
    let page = try Page(Report.html(data))
    #expect(page.says("Too few seeds for a verdict"))
    #expect(page.says("one seed: no interval"))
    #expect(!page.ids.contains("examples"))
  }

  @Test("Settings without arms, arms without seeds, one arm, one class")
  func degenerate() throws {
    var data = ReportData(title: "t", classNames: ["only"])
    let student = ReportData.Figures(architecture: "s")
    let bin = Metrics.ReliabilityBin(lower: 0.5, upper: 0.5, count: 1, confidence: 1, accuracy: 1)
    data.similarities = [
      ReportData.Similarity(temperature: 1, matrix: [[1]]), ReportData.Similarity(temperature: 2, matrix: []),
    ]
    data.settings = [
      ReportData.Setting(name: "none", student: student, arms: []),
      ReportData.Setting(name: "seedless", student: student, arms: [ReportData.Arm(.alone, name: "alone", seeds: [])]),
      ReportData.Setting(
        name: "one class", student: student,
        arms: [ReportData.Arm.Kind.alone, .distilled].map {
          ReportData.Arm(
            $0, name: $0.rawValue,
            seeds: [
              ReportData.SeedResult(
                seed: 1, scores: ReportData.Scores(accuracy: 1),
                curve: [ReportData.CurvePoint(epoch: 1, trainLoss: 0, validationAccuracy: 1, validationLoss: 0)])
            ],
            classScores: [Metrics.ClassScore(precision: 1, recall: 1, f1: 1, count: 3)], confusion: [[3]],
            reliability: [bin])
        }),
    ]
    data.examples = [
      ReportData.Example(
        id: 0, picture: ReportData.Picture(width: 3, height: 3, channels: 1, pixels: Data([1])), label: 7,
        opinions: [
          ReportData.Opinion(model: "teacher", top: []),
          ReportData.Opinion(
            model: "alone", top: [ReportData.ClassProbability(classIndex: -1, probability: .nan)]),
        ])
    ]
    let page = try Page(Report.html(data))
    #expect(page.count["img"] == nil)
    #expect(page.says("class 7"))
  }

  @Test("NaN and infinity become dashes, never coordinates")
  func notANumber() throws {
    var data = ReportSample.data
    let broken = ReportData.Scores(
      accuracy: .nan, topKAccuracy: .nan, topK: 3, negativeLogLikelihood: .infinity, calibrationError: .nan,
      agreement: -.infinity, divergence: .nan)
    data.teacher?.scores = broken
    data.teacher?.figures.latencySeconds = .nan
    data.settings[0].student.imagesPerSecond = .infinity
    data.settings[0].arms[1].gain = ReportData.Interval(mean: .nan, low: .nan, high: .nan)
    data.settings[0].arms[1].seeds[0].scores = broken
    data.settings[0].arms[0].reliability[14].accuracy = .nan
    data.settings[0].arms[0].classScores[3].recall = .nan
    for point in data.settings[0].arms[1].seeds[0].curve.indices {
      data.settings[0].arms[1].seeds[0].curve[point].trainLoss = point.isMultiple(of: 2) ? .nan : .infinity
      data.settings[0].arms[1].seeds[0].curve[point].validationAccuracy = .nan
    }
    data.settings[1].arms[1].gain = ReportData.Interval(mean: 0.1, low: -.infinity, high: .infinity)
    data.similarities[0].matrix[0][3] = .nan
    let html = Report.html(data)
    _ = try Page(html)
    let lowered = html.lowercased()
    #expect(!lowered.contains("\"nan") && !lowered.contains(">nan") && !lowered.contains(" nan"))
    #expect(!lowered.contains("\"inf") && !lowered.contains(">inf") && !lowered.contains("-inf"))
    #expect(html.contains(Quantity.missing))
  }

  @Test("A hundred classes become one picture, a thousand a list of the most confused pairs", arguments: [100, 1000])
  func manyClasses(_ count: Int) throws {
    var data = ReportSample.data
    data.classNames = (0..<count).map { "kind \($0)" }
    let uniform = (0..<count).map { _ in [Double](repeating: 1 / Double(count), count: count) }
    data.similarities = [ReportData.Similarity(temperature: 1, matrix: uniform)]
    let scores = (0..<count).map {
      Metrics.ClassScore(precision: 0.5, recall: Double($0) / Double(count), f1: 0.5, count: 50)
    }
    var confusion = (0..<count).map { row in (0..<count).map { $0 == row ? 40 : 0 } }
    confusion[17][42] = 10
    for arm in data.settings[0].arms.indices {
      data.settings[0].arms[arm].confusion = confusion
      data.settings[0].arms[arm].classScores = scores
    }
    data.settings = [data.settings[0]]
    data.teacher?.confusion = confusion
    let html = Report.html(data)
    let page = try Page(html)
    #expect(html.utf8.count < 1_500_000)
    #expect(page.says("most confused pairs:"))
    #expect(page.says("kind 42"))
    #expect(html.contains("class=\"matrix\"") == (count == 100))
  }

  // MARK: What it says

  @Test(
    "The verdict follows the interval",
    arguments: [
      (
        0.083, 0.079, 0.087, Verdict.Kind.helped,
        "Distillation helped: +8.30 points, 95 % interval +7.90 to +8.70, 3 seeds."
      ),
      (-0.02, -0.03, -0.012, .hurt, "Distillation hurt: −2.00 points, 95 % interval −3.00 to −1.20, 3 seeds."),
      (0.002, -0.001, 0.005, .unclear, "No clear difference: +0.20 points, 95 % interval −0.10 to +0.50, 3 seeds."),
      (0.05, 0, 0.1, .unclear, "No clear difference: +5.00 points, 95 % interval 0.00 to +10.00, 3 seeds."),
      (
        0.05, .nan, .nan, .tooFewSeeds,
        "Too few seeds for a verdict: the difference was +5.00 points. Use three seeds or more."
      ),
    ])
  func verdict(mean: Double, low: Double, high: Double, kind: Verdict.Kind, sentence: String) {
    var setting = ReportSample.data.settings[0]
    setting.arms[1].gain = ReportData.Interval(mean: mean, low: low, high: high)
    #expect(Verdict(setting).kind == kind)
    #expect(Verdict(setting).sentence == sentence)
  }

  @Test("A gain that is the same with all seeds has no interval, and is told by the examples or not at all")
  func equalGains() {
    var setting = ReportSample.data.settings[0]
    for index in setting.arms[1].seeds.indices {
      setting.arms[1].seeds[index].scores.accuracy = setting.arms[0].seeds[index].scores.accuracy + 0.1
    }
    setting.arms[1].gain = nil
    #expect(Verdict(setting).kind == .notMeasured)
    #expect(
      Verdict(setting).sentence.hasPrefix("No verdict: +10.00 points with each of 3 seeds; all seeds differ by exactly")
    )
    let right = [Bool](repeating: true, count: 20)
    let wrong = [Bool](repeating: false, count: 20)
    setting.arms[1].evidence = ExampleEvidence([right, right, right], [wrong, wrong, wrong])
    #expect(Verdict(setting).kind == .helped)
    #expect(Verdict(setting).sentence.contains("by the test examples p below 0.001 (McNemar)"))
    setting.arms[1].evidence = ExampleEvidence([right], [right])
    #expect(Verdict(setting).kind == .unclear)
  }

  @Test("Without a student alone there is nothing to say of a gain")
  func nothingCompared() {
    var setting = ReportSample.data.settings[0]
    setting.arms.removeFirst()
    #expect(Verdict(setting).kind == .notCompared && Verdict(setting).gain == nil)
    #expect(Verdict(setting).sentence.hasPrefix("Nothing was compared"))
    var data = ReportSample.data
    data.settings = [setting]
    let metrics = MetricsFile(data)
    #expect(metrics.alone == nil && metrics.gain == nil)
    #expect(metrics.distilled?.scores.accuracy == setting.arms[0].accuracy?.mean)
    #expect(setting.tone(0) == .distilled)
    let row = ComparisonTable(setting, teacher: nil).rows[0]
    #expect(row.isPrimary && row.cells[2] == Quantity.gain(nil))
    #expect(GainsSection(data: data).markup() == nil)
  }

  @Test("The comparison has the teacher, each arm, and the figures of the right model")
  func comparison() {
    let data = ReportSample.data
    let table = ComparisonTable(data.settings[0], teacher: data.teacher)
    #expect(table.rows.map { $0.cells[0] } == ["teacher", "alone", "distilled"])
    for row in table.rows { #expect(row.cells.count == table.columns.count) }
    #expect(table.rows[0].cells[1] == "93.74\u{A0}%")
    #expect(table.rows[1].cells[1] == "81.61\u{A0}±\u{A0}0.31\u{A0}%")
    #expect(table.rows[2].cells[2] == "+9.6\u{A0}[9.2,\u{A0}10.1]")
    #expect(table.rows[0].cells[3] == "691,674")
    #expect(table.rows[2].cells[4] == "103\u{A0}kB")
    #expect(table.rows.map(\.isPrimary) == [false, false, true])
  }

  @Test("The spread is the sample standard deviation")
  func spread() throws {
    let spread = try #require(ReportData.Spread([1, 2, 4]))
    #expect(abs(spread.mean - 7.0 / 3) < 1e-12)
    #expect(abs((spread.deviation ?? 0) - 1.527525231651947) < 1e-12)
    #expect(ReportData.Spread([3])?.deviation == nil)
    #expect(ReportData.Spread([]) == nil)
  }

  @Test("Numbers are written as people read them")
  func quantities() {
    let nbsp = "\u{A0}"
    #expect(Quantity.count(26_698) == "26,698")
    #expect(Quantity.count(1_240_000) == "1.24\(nbsp)M")
    #expect(Quantity.count(4_100_000_000) == "4.10\(nbsp)G")
    #expect(Quantity.bytes(999) == "999\(nbsp)B")
    #expect(Quantity.bytes(2_940_000) == "2.94\(nbsp)MB")
    #expect(Quantity.seconds(0.000_084) == "84.0\(nbsp)µs")
    #expect(Quantity.seconds(0.001_2) == "1.20\(nbsp)ms")
    #expect(Quantity.seconds(245) == "4\(nbsp)min\(nbsp)05\(nbsp)s")
    #expect(Quantity.seconds(3_725) == "1\(nbsp)h\(nbsp)02\(nbsp)min")
    #expect(Quantity.rate(48_217) == "48,200")
    #expect(Quantity.ratio(59.6) == "60×")
    #expect(Quantity.ratio(2.54) == "2.5×")
    #expect(Quantity.points(-0.0004) == "0.0")
    #expect(Quantity.points(0.083) == "+8.3")
    #expect(Quantity.percent(nil as Double?) == Quantity.missing)
    #expect(Quantity.percent(Double.nan) == Quantity.missing)
    #expect(Quantity.integer(-1_234_567) == "−1,234,567")
  }

  @Test("Text is measured and cut by columns, not by bytes")
  func textWidth() {
    #expect(TextWidth.of("Ankle boot") == 10)
    #expect(TextWidth.of("日本語") == 6)
    #expect(TextWidth.of("e\u{301}") == 1)
    #expect(TextWidth.of("👟") == 2)
    #expect(TextWidth.shortened("日本語日本語", to: 7) == "日本語…")
    #expect(TextWidth.shortened("Ankle boot", to: 7) == "Ankle…")
    #expect(TextWidth.shortened("Bag", to: 3) == "Bag")
    #expect(TextWidth.shortened("Bag", to: 0) == "")
  }

  // MARK: Files

  @Test("metrics.json has the numbers of the first setting on top, as fractions, and all settings below")
  func metricsFile() throws {
    let data = ReportSample.data
    let file = try MetricsFile(data).encoded()
    let json = try #require(try JSONSerialization.jsonObject(with: file) as? [String: Any])
    func number(_ path: String...) -> Double? {
      var value: Any? = json
      for key in path { value = (value as? [String: Any])?[key] }
      return value as? Double
    }
    #expect(number("teacher", "accuracy") == 0.9374)
    #expect(abs((number("alone", "accuracy") ?? 0) - 0.8161) < 1e-9)
    #expect(abs((number("distilled", "accuracy") ?? 0) - 0.912_166_666) < 1e-6)
    #expect(number("gain", "mean") == 0.0961)
    #expect(number("gain", "low") == 0.0917)
    #expect(number("gain", "high") == 0.1005)
    #expect(number("teacher", "multiply_adds") == 72_300_000)
    let settings = try #require(json["settings"] as? [[String: Any]])
    #expect(settings.compactMap { $0["name"] as? String } == ["few labels", "all labels", "the paper's regularizer"])
    let arms = try #require(settings[2]["arms"] as? [[String: Any]])
    #expect(arms.map { ($0["seeds"] as? [Any])?.count } == [3, 3, 3])
    #expect((arms[0]["seeds"] as? [[String: Any]])?.first?["accuracy"] as? Double == 0.8131)
    #expect(try MetricsFile(decoding: file) == MetricsFile(data))
  }

  @Test("metrics.json never holds what is not a number")
  func metricsNotANumber() throws {
    var data = ReportSample.data
    data.settings[0].arms[1].gain = ReportData.Interval(mean: 0.1, low: .nan, high: .infinity)
    data.teacher?.scores.accuracy = .nan
    let metrics = MetricsFile(data)
    #expect(metrics.teacher?.scores.accuracy == nil)
    #expect(metrics.gain?.low == nil && metrics.gain?.high == nil && metrics.gain?.mean == 0.1)
    let json = try JSONSerialization.jsonObject(with: metrics.encoded())
    #expect(json is [String: Any])
  }

  @Test("Pictures are PNG files with the right size and check sums")
  func pictures() throws {
    let grey = try #require(InlinePicture.encoded(ReportSample.picture(2)))
    #expect(grey.prefix(8) == Data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]))
    // The check sum of the closing chunk is the same in every PNG file.
    #expect(grey.suffix(4) == Data([0xAE, 0x42, 0x60, 0x82]))
    #expect(grey[16..<24] == Data([0, 0, 0, 28, 0, 0, 0, 28]))
    let large = ReportData.Picture(width: 500, height: 300, channels: 3, pixels: Data(count: 450_000))
    let small = try #require(InlinePicture.encoded(large))
    #expect(small[16..<24] == Data([0, 0, 0, 125, 0, 0, 0, 75]))
    #expect(InlinePicture.encoded(ReportData.Picture(width: 2, height: 2, channels: 2, pixels: Data(count: 8))) == nil)
    #expect(InlinePicture.encoded(ReportData.Picture(width: 0, height: 2, channels: 1, pixels: Data())) == nil)
  }
}

/// A page read by a strict parser, which throws where an element is not closed or a character not escaped.
final class Page: NSObject, XMLParserDelegate {
  var ids: Set<String> = []
  var duplicateIds: [String] = []
  var references: [String] = []
  var count: [String: Int] = [:]
  var text = ""
  var namelessPictures = 0
  var scopelessHeads = 0

  init(_ html: String) throws {
    super.init()
    let doctype = "<!DOCTYPE html>\n"
    #expect(html.hasPrefix(doctype))
    let parser = XMLParser(data: Data(html.dropFirst(doctype.count).utf8))
    parser.delegate = self
    let isRead = parser.parse()
    let problem = parser.parserError.map { "line \(parser.lineNumber), column \(parser.columnNumber): \($0)" }
    try #require(isRead, "\(problem ?? "")")
  }

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
    attributes: [String: String]
  ) {
    count[name, default: 0] += 1
    if let id = attributes["id"], !ids.insert(id).inserted { duplicateIds.append(id) }
    if let target = attributes["href"] { references.append(String(target.dropFirst())) }
    references += (attributes["aria-labelledby"] ?? "").split(separator: " ").map(String.init)
    let isNamed = attributes["aria-labelledby"] != nil || attributes["aria-label"] != nil
    if name == "svg", attributes["role"] == "img", !isNamed { namelessPictures += 1 }
    if name == "img", attributes["alt"] == nil { namelessPictures += 1 }
    if name == "th", attributes["scope"] == nil { scopelessHeads += 1 }
    for key in ["x", "y", "width", "height", "d", "cx", "cy", "x1", "x2", "y1", "y2", "viewBox"] {
      if let value = attributes[key] { #expect(!value.lowercased().contains("nan"), "\(name) \(key)") }
    }
  }

  /// Whether a text is somewhere on the page; as a method, so that a failed expectation does not print the page.
  func says(_ words: String) -> Bool { text.contains(words) }

  func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }
}
