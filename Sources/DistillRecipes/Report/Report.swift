/// The report of a run: one HTML file that needs nothing beside it, to read in any browser, to send and to print.
///
/// It is complete without its script, which only makes the notes of the charts appear at the pointer and offers to copy
/// the recipe.
public enum Report {
  /// The whole page.
  public static func html(_ data: ReportData) -> String {
    ReportPage(
      kind: "Distillation report", title: data.title.isEmpty ? "Untitled run" : data.title,
      windowTitle: data.title.isEmpty ? "Distillation report" : data.title, date: data.date, contents: contents(data)
    ).html {
      VerdictSection(data: data).markup()
      GainsSection(data: data).markup()
      for (index, _) in data.settings.enumerated() { SettingSection(data: data, index: index).markup() }
      SimilaritySection(data: data).markup()
      ExamplesSection(data: data).markup()
      RecipeSection(data: data).markup()
      ManifestSection(data: data).markup()
      WordsSection().markup()
    }
  }

  private static func contents(_ data: ReportData) -> [(String, String)] {
    var places = data.settings.enumerated().map { ($1.name, "setting-\($0 + 1)") }
    if !data.similarities.isEmpty { places.append(("Similar classes", "similarity")) }
    if !data.examples.isEmpty { places.append(("Examples", "examples")) }
    if !data.recipe.isEmpty { places.append(("Recipe", "recipe")) }
    if !data.manifest.isEmpty { places.append(("Manifest", "manifest")) }
    return places + [("Words", "words")]
  }
}

/// A part of the page with a heading and a sentence that says how to read it.
func section(
  _ id: String, _ title: String, lead: String = "", @MarkupBuilder _ content: () -> Markup
) -> Markup {
  element("section", ["id": id, "aria-labelledby": "\(id)-h"]) {
    element("div", ["class": "wrap"]) {
      element("h2", ["id": "\(id)-h"]) { title }
      if !lead.isEmpty { element("p", ["class": "lead"]) { lead } }
      content()
    }
  }
}

/// A table that scrolls sideways where it does not fit.
func scrolling(_ label: String, @MarkupBuilder _ content: () -> Markup) -> Markup {
  element("div", ["class": "scroll", "role": "region", "aria-label": label, "tabindex": "0"], content)
}

/// The head of a table: titles, and whether a column has numbers.
func head(_ columns: [(title: String, isNumeric: Bool)]) -> Markup {
  element("thead") {
    element("tr") {
      for (index, column) in columns.enumerated() {
        element("th", ["scope": "col", "class": column.isNumeric && index > 0 ? "number" : nil]) { column.title }
      }
    }
  }
}

/// A table of names and what belongs to each.
func namedValues(_ entries: [(name: String, value: String)]) -> Markup {
  element("table", ["class": "manifest"]) {
    element("tbody") {
      for entry in entries {
        element("tr") {
          element("th", ["scope": "row"]) { entry.name }
          element("td") { entry.value }
        }
      }
    }
  }
}

/// The section that explains the words of a page.
func wordsSection(_ words: [(word: String, meaning: String)]) -> Markup {
  section("words", "The words") {
    element("dl", ["class": "words"]) {
      for entry in words {
        element("div") {
          element("dt") { entry.word }
          element("dd") { entry.meaning }
        }
      }
    }
  }
}
