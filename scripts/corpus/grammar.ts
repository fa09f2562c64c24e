/**
 * A probabilistic grammar as a finite tree of choices with integer weights, whose entropy is computed, not estimated.
 *
 * A tree gives one passage. Its entropy is the sum over the choices met, each weighted by the probability of meeting it; its mean length likewise.
 * Three things can be done with a tree: measure it, emit a passage from it, and give the probability of a passage. That the probability of
 * an emitted passage equals the probability of the choices that made it shows that no string can be made in two ways, without which
 * the entropy of the choices would exceed the entropy of the text.
 */

/** A part of a passage. Trees are shared freely: a node has no state. */
export type Node =
  | { kind: 'text'; text: string }
  | { kind: 'sequence'; parts: readonly Node[] }
  | { kind: 'choice'; total: number; options: readonly Option[] };

export interface Option {
  /** A positive integer. */
  weight: number;
  node: Node;
}

/** What may stand for a node: a string stands for itself. */
export type Part = Node | string;

const toNode = (part: Part): Node => (typeof part === 'string' ? { kind: 'text', text: part } : part);

export function sequence(...parts: Part[]): Node {
  return { kind: 'sequence', parts: parts.map(toNode) };
}

export function choice(options: readonly (readonly [weight: number, part: Part])[]): Node {
  const built = options.map(([weight, part]) => ({ weight, node: toNode(part) }));
  return { kind: 'choice', total: built.reduce((sum, option) => sum + option.weight, 0), options: built };
}

/** An equal choice of values, each with the passage built from it: so that what follows can agree with what came before. */
export function each<T>(values: readonly T[], build: (value: T, index: number) => Part): Node {
  return choice(values.map((value, index) => [1, build(value, index)]));
}

/** The same with frequent values first: weights fall like 1 / (rank + 2), as words do, in integers. */
export function ranked<T>(values: readonly T[], build: (value: T, index: number) => Part): Node {
  return choice(values.map((value, index) => [Math.floor(720_720 / (index + 2)), build(value, index)]));
}

export interface Measure {
  /** Nats in one passage. */
  entropy: number;
  /** Mean bytes of one passage (ASCII). */
  bytes: number;
}

/** The exact entropy and mean length of the passages of a tree (exact but for the rounding of the logarithms). */
export function measure(node: Node, known: Map<Node, Measure> = new Map()): Measure {
  const before = known.get(node);
  if (before) return before;
  const result: Measure = { entropy: 0, bytes: 0 };
  if (node.kind === 'text') result.bytes = node.text.length;
  else {
    for (const [p, child] of childrenOf(node)) {
      const inside = measure(child, known);
      result.entropy += p * inside.entropy;
      result.bytes += p * inside.bytes;
      if (node.kind === 'choice') result.entropy -= p * Math.log(p);
    }
  }
  known.set(node, result);
  return result;
}

function childrenOf(node: Exclude<Node, { kind: 'text' }>): (readonly [number, Node])[] {
  if (node.kind === 'sequence') return node.parts.map((part) => [1, part]);
  return node.options.map((option) => [option.weight / node.total, option.node]);
}

/** A seeded source of exact integers. */
export interface Dice {
  /** A uniform integer below `bound`, at most 2^32. */
  below(bound: number): number;
}

/** Appends one passage to `out` and returns the nats of the choices that made it: -ln of their probability. */
export function emit(node: Node, dice: Dice, out: string[]): number {
  if (node.kind === 'text') {
    out.push(node.text);
    return 0;
  }
  if (node.kind === 'sequence') {
    let nats = 0;
    for (const part of node.parts) nats += emit(part, dice, out);
    return nats;
  }
  let at = dice.below(node.total);
  for (const option of node.options) {
    if (at < option.weight) return emit(option.node, dice, out) - Math.log(option.weight / node.total);
    at -= option.weight;
  }
  throw new RangeError('A choice without options, or with weights that do not add up.');
}

/** The probability that a tree makes exactly `text`, over all the ways to make it. */
export function probabilityOf(node: Node, text: string): number {
  return endsOf(node, text, 0).get(text.length) ?? 0;
}

/** Where a node's passage may end when it starts at `at`, with the probability of each. */
function endsOf(node: Node, text: string, at: number): Map<number, number> {
  if (node.kind === 'text') {
    return new Map(text.startsWith(node.text, at) ? [[at + node.text.length, 1]] : []);
  }
  if (node.kind === 'choice') {
    const ends = new Map<number, number>();
    for (const { weight, node: child } of node.options)
      addEnds(ends, endsOf(child, text, at), weight / node.total);
    return ends;
  }
  let ends = new Map([[at, 1]]);
  for (const part of node.parts) {
    const next = new Map<number, number>();
    for (const [end, p] of ends) addEnds(next, endsOf(part, text, end), p);
    ends = next;
  }
  return ends;
}

function addEnds(to: Map<number, number>, more: Map<number, number>, factor: number): void {
  for (const [end, p] of more) to.set(end, (to.get(end) ?? 0) + p * factor);
}
