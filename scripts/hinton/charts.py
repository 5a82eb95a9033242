"""Charts as SVG pictures, in the look of Benchmarks/results.svg."""

import html
import math

blue, orange, grey, dark = "#2563a8", "#d9730d", "#d4d4d4", "#333333"
colours = [blue, orange, "#3f8f4f", "#8a4fa8", "#8c6d31", "#c2405a"]
width = 760


def text(x, y, content, anchor="start", size=12, weight="normal", colour=dark, turn=None):
    turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
            f'fill="{colour}"{turned}>{html.escape(content)}</text>')


def line(x1, y1, x2, y2, colour, thickness, dashes=None):
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{thickness}"{dashed}/>')


def circle(x, y, colour, radius=4):
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'


def picture(height, title, parts):
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
            f'font-size="12" role="img" aria-label="{html.escape(title)}">',
            f'<rect width="{width}" height="{height}" fill="white"/>', text(16, 20, title, weight="bold")]
    return "\n".join(head + parts) + "\n</svg>\n"


def ticks(low, high, count=6):
    """Round numbers between two others."""
    raw = (high - low) / count
    size = 10 ** math.floor(math.log10(raw))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= raw)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def around(values):
    """A little more than the range of some values."""
    low, high = min(values), max(values)
    margin = 0.07 * (high - low) or 0.05 * abs(high) or 1
    return low - margin, high + margin


def shown(number):
    return f"{number:.10g}".replace("-", "−")


def dots(title, unit, rows):
    """A line for each row: (name, values of the seeds); a dot at the mean, a line over the range, the values small."""
    left, right, top, step = 300, 40, 44, 28
    low, high = around([value for _, values in rows for value in values])

    def x(value):
        return left + (width - left - right) * (value - low) / (high - low)

    height = top + step * len(rows) + 44
    parts = []
    for tick in ticks(low, high):
        parts += [line(x(tick), top - 6, x(tick), height - 40, grey, 0.7),
                  text(x(tick), height - 24, shown(tick), anchor="middle", size=11)]
    parts.append(text(left + (width - left - right) / 2, height - 8, unit, anchor="middle", size=11))
    for index, (name, values) in enumerate(rows):
        y = top + step * index + step / 2
        parts.append(text(left - 12, y + 4, name, anchor="end"))
        parts.append(line(x(min(values)), y, x(max(values)), y, blue, 2))
        parts += [circle(x(value), y, "#9dbbe0", 2.5) for value in values if len(values) > 1]
        parts.append(circle(x(sum(values) / len(values)), y, blue))
    return picture(height, title, parts)


def lines(title, x_title, y_title, series, is_logarithmic=False, x_ticks=None, levels=()):
    """Series over a common axis.

    series: {name: [(x, y, low, high), ...]}: a dot or, of many, a line at y, and a bar or a band from low to high
    levels: (name, y) of dashed lines across
    """
    left, right, top, bottom = 64, 24, 40, 56
    legend = 18 * ((len(series) + len(levels) + 2) // 3)
    height = 360 + legend
    top += legend
    points = [point for of_one in series.values() for point in of_one]
    low, high = around([value for point in points for value in point[1:]] + [value for _, value in levels])
    scale = math.log if is_logarithmic else float
    first, last = min(scale(point[0]) for point in points), max(scale(point[0]) for point in points)
    margin = 0.03 * (last - first)

    def x(value):
        return left + (width - left - right) * (scale(value) - first + margin) / (last - first + 2 * margin)

    def y(value):
        return height - bottom - (height - top - bottom) * (value - low) / (high - low)

    parts = []
    for tick in ticks(low, high):
        parts += [line(left, y(tick), width - right, y(tick), grey, 0.7),
                  text(left - 8, y(tick) + 4, shown(tick), anchor="end", size=11)]
    for tick in x_ticks or ticks(first, last, 8):
        parts += [line(x(tick), height - bottom, x(tick), height - bottom + 5, dark, 1),
                  text(x(tick), height - bottom + 18, shown(tick), anchor="middle", size=11)]
    parts += [line(left, height - bottom, width - right, height - bottom, dark, 1.2),
              text(left + (width - left - right) / 2, height - 12, x_title, anchor="middle", size=11),
              text(16, top + (height - top - bottom) / 2, y_title, anchor="middle", size=11, turn=-90)]
    place = 0

    def entry(name, colour, dashes=None):
        nonlocal place
        column, row = place % 3, place // 3
        place += 1
        px, py = 16 + 245 * column, 38 + 18 * row
        return [line(px, py, px + 22, py, colour, 2.5, dashes), text(px + 30, py + 4, name, size=11)]

    for index, (name, of_one) in enumerate(series.items()):
        colour = colours[index % len(colours)]
        path = " ".join(f"{x(point[0]):.1f},{y(point[1]):.1f}" for point in of_one)
        is_dense = len(of_one) > 15
        if is_dense:
            band = [f"{x(p[0]):.1f},{y(p[3]):.1f}" for p in of_one] + [
                f"{x(p[0]):.1f},{y(p[2]):.1f}" for p in reversed(of_one)]
            parts.append(f'<polygon points="{" ".join(band)}" fill="{colour}" opacity="0.15"/>')
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in [] if is_dense else of_one:
            shift = 1.5 * (index - (len(series) - 1) / 2)
            parts += [line(x(point[0]) + shift, y(point[2]), x(point[0]) + shift, y(point[3]), colour, 1.2),
                      circle(x(point[0]), y(point[1]), colour)]
        parts += entry(name, colour)
    for name, level in levels:
        parts += [line(left, y(level), width - right, y(level), dark, 1.2, "6 4"), *entry(name, dark, "6 4")]
    return picture(height, title, parts)
