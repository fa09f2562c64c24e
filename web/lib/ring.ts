/**
 * Geometry of the round's ring: one arc a lane, and the depth contours around it. Pure; angles in turns, clockwise from the top.
 */
export interface Point {
  x: number;
  y: number;
}

export function pointAt(radius: number, turn: number): Point {
  const angle = (turn - 0.25) * 2 * Math.PI;
  return { x: radius * Math.cos(angle), y: radius * Math.sin(angle) };
}

const text = (value: number): string => value.toFixed(2);

/** Path of an arc from one angle to another; never a full circle, which SVG cannot draw as one arc. */
export function arcPath(radius: number, fromTurn: number, toTurn: number): string {
  const from = pointAt(radius, fromTurn);
  const to = pointAt(radius, Math.min(toTurn, fromTurn + 0.9999));
  const large = toTurn - fromTurn > 0.5 ? 1 : 0;
  return `M${text(from.x)} ${text(from.y)}A${radius} ${radius} 0 ${large} 1 ${text(to.x)} ${text(to.y)}`;
}

/** The arcs of `lanes` equal lanes with a gap between neighbours; a single lane keeps its gap too, so that it has a start. */
export function laneArcs(lanes: number, radius: number, gapTurn = 0.014): string[] {
  const gap = Math.min(gapTurn, 0.4 / lanes);
  return Array.from({ length: lanes }, (_, lane) =>
    arcPath(radius, lane / lanes + gap / 2, (lane + 1) / lanes - gap / 2),
  );
}

/** A closed, slightly uneven curve around the ring, as depth lines around an island; `level` 0 is the shore. */
export function contourPath(baseRadius: number, level: number): string {
  const points: string[] = [];
  const steps = 96;
  for (let step = 0; step < steps; step++) {
    const turn = step / steps;
    const angle = turn * 2 * Math.PI;
    const uneven =
      Math.sin(2 * angle + 0.6 + level * 0.22) * 0.034 +
      Math.sin(3 * angle - 1.1 - level * 0.17) * 0.026 +
      Math.sin(5 * angle + 2.3 + level * 0.31) * 0.011;
    const radius = baseRadius * (1 + uneven * (0.55 + level * 0.16));
    const { x, y } = pointAt(radius, turn);
    points.push(`${text(x)} ${text(y)}`);
  }
  return `M${points.join('L')}Z`;
}
