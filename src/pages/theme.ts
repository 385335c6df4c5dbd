/** Red, green and blue, 0 to 255. */
type Color = [number, number, number]

/** The surfaces that the stylesheet paints in light and in dark; texts have to be readable on both of each. */
const surfaces: Record<'light' | 'dark', Color[]> = {
  light: [[255, 255, 255], [243, 244, 246]],
  dark: [[28, 31, 36], [17, 19, 23]]
}

/** WCAG 2.2, 1.4.3 (AA). */
const readable = 4.5

/**
 * A stylesheet that gives the pages their colour (`#rrggbb`). Where the colour itself can't be read on the page, as text and lines it is
 * made darker, or lighter in the dark, until it can.
 */
export function themeOf (color: string): string {
  const accent = [1, 3, 5].map(at => Number.parseInt(color.slice(at, at + 2), 16)) as Color
  const white: Color = [255, 255, 255]
  const black: Color = [0, 0, 0]
  const onAccent = contrast(accent, white) >= readable ? white : black
  const variables = (scheme: 'light' | 'dark') =>
    `--accent:${hex(accent)};--on-accent:${hex(onAccent)};--accent-text:${hex(readableOn(surfaces[scheme], accent, scheme === 'light' ? black : white))}`
  return `:root{${variables('light')}}@media (prefers-color-scheme:dark){:root{${variables('dark')}}}\n`
}

/** `color`, mixed with `end` until it can be read on every one of `backgrounds`. */
function readableOn (backgrounds: Color[], color: Color, end: Color): Color {
  for (let share = 0; share < 1; share += 0.05) {
    const mixed = color.map((value, i) => Math.round(value + ((end[i] as number) - value) * share)) as Color
    if (backgrounds.every(background => contrast(mixed, background) >= readable)) return mixed
  }
  return end
}

/** WCAG 2.2's contrast ratio, 1 to 21. */
export function contrast (one: Color, other: Color): number {
  const [darker, lighter] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number]
  return (lighter + 0.05) / (darker + 0.05)
}

function luminance (color: Color): number {
  const [red, green, blue] = color.map(value => {
    const share = value / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  }) as Color
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

const hex = (color: Color): string => `#${color.map(value => value.toString(16).padStart(2, '0')).join('')}`
