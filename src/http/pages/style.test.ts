import { expect, test } from 'vitest';
import { style } from './style.ts';

const [light = '', dark = ''] = [...style.matchAll(/:root \{([^}]*--ground[^}]*)\}/g)].map(
  ([, block]) => block,
);

/** WCAG 2.2, "relative luminance". */
function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const channel = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(block: string, front: string, back: string): number {
  const [a = 0, b = 0] = [front, back]
    .map((name) => luminance(block.match(new RegExp(`--${name}: (#[0-9a-f]{6});`))?.[1] ?? ''))
    .sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}

// Text needs 4.5:1 (WCAG 2.2, 1.4.3), the edge of a field and the ring of the focus 3:1 (1.4.11).
const pairs = [
  ['ink', 'card', 4.5],
  ['ink', 'inset', 4.5],
  ['ink', 'alarm-ground', 4.5],
  ['ink', 'caution-ground', 4.5],
  ['muted', 'card', 4.5],
  ['muted', 'inset', 4.5],
  ['muted', 'ground', 4.5],
  ['alarm', 'card', 4.5],
  ['alarm', 'alarm-ground', 4.5],
  ['accent', 'card', 4.5],
  ['accent', 'inset', 4.5],
  ['on-accent', 'accent', 4.5],
  ['on-accent', 'accent-strong', 4.5],
  ['edge', 'card', 3],
  ['cable', 'card', 3],
] as const;

test.each(pairs)('%s on %s has enough contrast in light and in dark', (front, back, least) => {
  expect(contrast(light, front, back)).toBeGreaterThanOrEqual(least);
  expect(contrast(dark, front, back)).toBeGreaterThanOrEqual(least);
});

test('the style sheet loads nothing and cannot end its element', () => {
  expect(style).not.toMatch(/url\(|@import|<|&/);
});

test('every colour of the sheet has a value in light and in dark', () => {
  const names = (block: string) => [...block.matchAll(/--[a-z-]+(?=:)/g)].map(([name]) => name);
  expect(names(dark)).toEqual(names(light));
  expect(new Set([...style.matchAll(/var\((--[a-z-]+)\)/g)].map(([, name]) => name))).toEqual(
    new Set(names(light)),
  );
});

test('nothing moves for who asked for less motion', () => {
  const [before = '', moving = ''] = style.split('@media (prefers-reduced-motion: no-preference)');
  expect(before).not.toMatch(/animation|transition/);
  expect(moving).toMatch(/animation/);
});
