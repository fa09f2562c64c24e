/** Contrast of the page's own colours, by WCAG's formula: text 4.5:1, signs and edges of controls 3:1, in light and in dark. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const css = readFileSync(new URL('theme.css', import.meta.url), 'utf8');

function tokensOf(block: string): Map<string, string> {
  return new Map(
    [...block.matchAll(/--([a-z-]+): (#[0-9a-f]{6});/g)].map(([, name, value]) => [
      name as string,
      value as string,
    ]),
  );
}

const [light, dark] = [...css.matchAll(/:root \{[^}]*\}/g)].map(([block]) => tokensOf(block));

function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

const text = ['ink', 'muted', 'lagoon', 'coral'];
const grounds = ['paper', 'surface'];
const pairs: [string, string, number][] = [
  ...text.flatMap((name) => grounds.map((ground): [string, string, number] => [name, ground, 4.5])),
  ['ink', 'coral-wash', 4.5],
  ['lagoon', 'lagoon-wash', 4.5],
  ['on-accent', 'lagoon', 4.5],
  ['muted', 'track', 4.5],
  ['strong-line', 'paper', 3],
  ['strong-line', 'surface', 3],
  ['lagoon', 'track', 3],
];

describe.each([
  ['light', light],
  ['dark', dark],
])('%s', (_, tokens) => {
  it.each(pairs)('%s on %s reaches %f:1', (name, ground, least) => {
    const [front, back] = [tokens?.get(name), tokens?.get(ground)];
    if (!front || !back) throw new Error(`theme.css has no ${name} or ${ground}`);
    expect(contrast(front, back)).toBeGreaterThanOrEqual(least);
  });
});

it('knows the formula', () => {
  expect(contrast('#000000', '#ffffff')).toBeCloseTo(21);
});
