import Foundation
import Testing

@testable import DistillRecipes

/// The report in a real browser.
@Suite("Report in a browser", .serialized)
struct ReportBrowserTests {
  @Test(
    "The page opens without a console error, wide and narrow, light and dark",
    .enabled(if: Browser.found != nil, "needs Chromium (Debian: apt-get install chromium)"), .timeLimit(.minutes(30)))
  func opensCleanly() throws {
    let browser = try #require(Browser.found)
    // First that this check notices an error at all.
    let broken = try browser.open("<!DOCTYPE html><html><body><script>undefinedFunction()</script></body></html>")
    #expect(broken.console.contains { $0.contains("undefinedFunction") })

    for options in [["--window-size=1280,900"], ["--window-size=500,800", "--blink-settings=preferredColorScheme=0"]] {
      for page in Self.pages {
        let visit = try browser.open(page.html, options: options)
        #expect(visit.console.isEmpty, "\(visit.console)")
        // The script ran to its end, and the page is all there.
        let (isReady, isWhole) = (visit.page.contains("data-ready=\"yes\""), visit.page.contains("id=\"words\""))
        #expect(isReady && isWhole)
      }
    }
  }

  /// Pages of different kinds, and how many pictures they have.
  static let pages = [
    (html: Report.html(ReportSample.data), pictures: 8),
    (html: ExplanationReport.html(ExplanationSample.ofClass()), pictures: 4),
    (html: ExplanationReport.html(ExplanationSample.ofAll()), pictures: 2),
  ]

  @Test(
    "Every picture can be decoded and nothing is wider than a small screen",
    .enabled(if: Browser.found != nil, "needs Chromium (Debian: apt-get install chromium)"), .timeLimit(.minutes(30)))
  func fitsSmallScreens() throws {
    let browser = try #require(Browser.found)
    // A window is at least 500 pixels wide, a frame can be narrower.
    let check = """
      <script>window.addEventListener("load", function () {
        var frame = document.createElement("iframe");
        frame.style.width = "360px";
        frame.srcdoc = document.getElementById("page").textContent;
        frame.addEventListener("load", function () {
          var page = frame.contentDocument;
          var broken = Array.from(page.images).filter(function (image) { return image.naturalWidth === 0; }).length;
          var root = page.documentElement;
          document.title = "overflow " + (root.scrollWidth - root.clientWidth) + " pictures " + page.images.length
            + " broken " + broken;
        });
        document.body.appendChild(frame);
      });</script>
      """
    for page in Self.pages {
      let visit = try browser.open(
        "<!DOCTYPE html><html><head><title>none</title></head><body>"
          + "<textarea id=\"page\">\(Markup.escaped(page.html))</textarea>" + check + "</body></html>")
      let title = visit.page.split(separator: "<title>").dropFirst().first?.split(separator: "</title>").first
      #expect(title == "overflow 0 pictures \(page.pictures) broken 0")
    }
  }
}

/// Chromium without a window.
struct Browser {
  struct Visit {
    /// The document after its scripts ran.
    var page: String
    /// What was written to the console.
    var console: [String]
  }

  var path: String

  static let found: Browser? = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    let names = ["chromium", "chromium-browser", "google-chrome"]
    let places =
      folders.flatMap { folder in names.map { "\(folder)/\($0)" } }
      + ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"]
    return places.first { FileManager.default.isExecutableFile(atPath: $0) }.map { Browser(path: $0) }
  }()

  func open(_ html: String, options: [String] = []) throws -> Visit {
    let folder = FileManager.default.temporaryDirectory.appending(path: "distill-report-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appending(path: "report.html")
    try html.write(to: file, atomically: true, encoding: .utf8)
    let (page, log) = (folder.appending(path: "page"), folder.appending(path: "log"))
    for output in [page, log] { try Data().write(to: output) }
    let process = Process()
    process.executableURL = URL(filePath: path)
    process.arguments =
      [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr",
        "--user-data-dir=\(folder.path)/profile", "--virtual-time-budget=3000", "--dump-dom",
      ] + options + [file.absoluteString]
    // Into files: a pipe that nobody reads while the process runs would fill up.
    process.standardOutput = try FileHandle(forWritingTo: page)
    process.standardError = try FileHandle(forWritingTo: log)
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    let lines = try String(decoding: Data(contentsOf: log), as: UTF8.self).split(separator: "\n").map(String.init)
    return Visit(
      page: try String(decoding: Data(contentsOf: page), as: UTF8.self),
      console: lines.filter { $0.contains("CONSOLE") })
  }
}
