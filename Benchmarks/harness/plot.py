"""Draws the ratios: one line each on a logarithmic axis, with its range, and the goal as a mark."""

import html
import math

width, left, right, top, step = 1100, 520, 40, 46, 24
blue, orange, grey, dark = "#2563a8", "#d9730d", "#d4d4d4", "#333333"
ticks = [0.25, 0.5, 1, 2, 4, 8, 16, 32]


def draw(rows):
    """An SVG picture of rows with `ratio`, `ratio_range` and, where there is a goal, `at_least`."""
    values = [v for r in rows for v in [*r["ratio_range"], r["ratio"], r["at_least"] or 1]] + [0.5, 16]
    low, high = math.log2(min(values)) - 0.3, math.log2(max(values)) + 0.3

    def x(ratio):
        return left + (width - left - right) * (math.log2(ratio) - low) / (high - low)

    height = top + step * len(rows) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(left, 18, "times better than … (theirs / ours)", weight="bold"),
        circle(left + 236, 14), text(left + 246, 18, "median, with the rounds' range"),
        mark(left + 448, 14), text(left + 456, 18, "goal"),
    ]
    for tick in ticks:
        if low <= math.log2(tick) <= high:
            colour, thickness = (dark, 1.2) if tick == 1 else (grey, 0.7)
            parts.append(line(x(tick), top - 8, x(tick), height - 26, colour, thickness))
            parts.append(text(x(tick), height - 10, f"{tick:g}×", anchor="middle"))
    for index, row in enumerate(rows):
        y = top + step * index + step / 2
        parts.append(text(left - 12, y + 4, f"{row['work']}  ·  {row['against']}", anchor="end", size=11))
        parts.append(line(x(row["ratio_range"][0]), y, x(row["ratio_range"][1]), y, blue, 2.5))
        if row["at_least"] is not None:
            parts.append(mark(x(row["at_least"]), y))
        parts.append(circle(x(row["ratio"]), y))
    return "\n".join(part for part in parts if part) + "\n</svg>\n"


def text(x, y, content, anchor="start", size=12, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
            f'fill="{dark}">{html.escape(content.replace("`", ""))}</text>')


def line(x1, y1, x2, y2, colour, thickness):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{thickness}"/>')


def circle(x, y):
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{blue}"/>'


def mark(x, y):
    return line(x, y - 8, x, y + 8, orange, 3)
