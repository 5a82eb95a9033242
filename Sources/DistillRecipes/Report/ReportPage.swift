import Foundation

/// The page around a report: its head, its style, its contents, and the script. A section with the id `verdict` comes
/// first in it.
struct ReportPage {
  /// What the page is, above its title.
  var kind: String
  var title: String
  var windowTitle: String
  var date: Date
  /// Names and ids of its sections.
  var contents: [(String, String)]
  /// Style that only this kind of page needs.
  var style = ""

  func html(@MarkupBuilder _ sections: () -> Markup) -> String {
    let page = element("html", ["lang": "en"]) {
      element("head") {
        element("meta", ["charset": "utf-8"])
        element("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"])
        element("meta", ["name": "color-scheme", "content": "light dark"])
        element("title") { windowTitle }
        element("style") { Markup(trusted: ReportStyle.sheet + style) }
      }
      element("body") {
        element("a", ["class": "skip", "href": "#verdict"]) { "Skip to the verdict" }
        masthead()
        element("main") { sections() }
        element("div", ["id": "tip", "role": "status", "hidden": "hidden"])
        element("script") { Markup(trusted: ReportStyle.script) }
      }
    }
    return "<!DOCTYPE html>\n" + page.source + "\n"
  }

  private func masthead() -> Markup {
    element("header", ["class": "masthead"]) {
      element("div", ["class": "wrap"]) {
        element("p", ["class": "over"]) {
          kind
          element("time", ["datetime": ISO8601DateFormatter().string(from: date)]) { Self.day(date) }
        }
        element("h1") { title }
        element("nav", ["aria-label": "Contents"]) {
          for (name, target) in contents { element("a", ["href": "#\(target)"]) { name } }
        }
      }
    }
  }

  /// "21 November 2026, 03:52 UTC".
  private static func day(_ date: Date) -> String {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_GB")
    formatter.timeZone = TimeZone(identifier: "UTC")
    formatter.dateFormat = "d MMMM yyyy, HH:mm 'UTC'"
    return formatter.string(from: date)
  }
}
