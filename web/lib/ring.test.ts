/** The geometry of the round ring, over any lanes and shares. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { arcPath, contourPath, laneArcs, pointAt } from './ring.ts';

const ends = (path: string) => {
  const found = /^M(\S+) (\S+)A(\S+) \S+ 0 ([01]) 1 (\S+) (\S+)$/.exec(path);
  if (!found) throw new Error(`no arc: ${path}`);
  const [, x0, y0, radius, large, x1, y1] = found.map(Number);
  return { x0, y0, radius, large, x1, y1 } as Record<'x0' | 'y0' | 'radius' | 'large' | 'x1' | 'y1', number>;
};

/** Turns clockwise from the top. */
const turnOf = (x: number, y: number) => (Math.atan2(y, x) / (2 * Math.PI) + 1.25) % 1;

it('starts at the top and goes clockwise', () => {
  expect(pointAt(10, 0).y).toBeCloseTo(-10);
  expect(pointAt(10, 0.25).x).toBeCloseTo(10);
});

it('lays any number of lanes around the ring in order, on the radius, never touching', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), (lanes) => {
      const arcs = laneArcs(lanes, 146).map(ends);
      expect(arcs).toHaveLength(lanes);
      let last = 0;
      for (const arc of arcs) {
        expect(Math.hypot(arc.x0, arc.y0)).toBeCloseTo(146, 1);
        expect(Math.hypot(arc.x1, arc.y1)).toBeCloseTo(146, 1);
        const from = turnOf(arc.x0, arc.y0);
        const to = turnOf(arc.x1, arc.y1);
        expect(from).toBeGreaterThan(last);
        expect(to).toBeGreaterThan(from);
        last = to;
      }
      expect(last).toBeLessThan(1);
    }),
  );
});

it('marks an arc of more than half a turn as the long way round', () => {
  expect(ends(arcPath(100, 0, 0.4)).large).toBe(0);
  expect(ends(arcPath(100, 0, 0.6)).large).toBe(1);
});

it('never draws a full circle, which would vanish', () => {
  const { x0, y0, x1, y1 } = ends(arcPath(100, 0, 1));
  expect(x0 === x1 && y0 === y1).toBe(false);
});

it('closes its contours', () => {
  expect(contourPath(178, 2)).toMatch(/^M.*Z$/);
  expect(contourPath(178, 2)).not.toMatch(/NaN/);
});
