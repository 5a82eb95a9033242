/// A chart as a picture of vectors, with the title and the description by which a screen reader tells it.
func drawing(
  _ id: String, title: String, description: String, width: Double, height: Double,
  @MarkupBuilder _ content: () -> Markup
) -> Markup {
  element(
    "svg",
    [
      "viewBox": "0 0 \(coordinate(width)) \(coordinate(height))", "role": "img",
      "aria-labelledby": "\(id)-t \(id)-d",
    ]
  ) {
    element("title", ["id": "\(id)-t"]) { title }
    element("desc", ["id": "\(id)-d"]) { description }
    content()
  }
}

/// The values of a vertical axis: a line across the chart from `left` to `right` for each, and its number before it.
@MarkupBuilder
func valueAxis(_ vertical: Scale, ticks: Int, from left: Double, to right: Double, isShare: Bool) -> Markup {
  let values = vertical.ticks(ticks)
  let decimals = Scale.decimals(isShare ? values.map { $0 * 100 } : values)
  for value in values {
    let y = coordinate(vertical(value))
    element("line", ["x1": coordinate(left), "x2": coordinate(right), "y1": y, "y2": y])
    element("text", ["x": coordinate(left - 7), "y": y, "dy": "0.35em", "text-anchor": "end"]) {
      isShare ? Quantity.number(value * 100, decimals: decimals) + "%" : Quantity.number(value, decimals: decimals)
    }
  }
}
