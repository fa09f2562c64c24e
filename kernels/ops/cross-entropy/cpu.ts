/** Reference of softmax cross-entropy with its gradient. */
import { add, exp, ln, mul, recip, sub } from '../math/cpu.ts';
import { sum } from '../reduce/cpu.ts';

export function crossEntropy(
  logits: Float32Array,
  targets: Uint32Array,
  losses: Float32Array,
  rows: number,
  V: number,
  gradientScale: number | null,
): void {
  const e = new Float32Array(V);
  for (let r = 0; r < rows; r++) {
    const at = r * V;
    const target = Math.min(targets[r] as number, V - 1);
    let max = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < V; i++) max = Math.max(max, logits[at + i] as number);
    for (let i = 0; i < V; i++) e[i] = exp(sub(logits[at + i] as number, max));
    const total = sum(e, 0, V);
    losses[r] = sub(add(ln(total), max), logits[at + target] as number);
    if (gradientScale === null) continue;
    const inverse = recip(total);
    for (let i = 0; i < V; i++) {
      const p = mul(e[i] as number, inverse);
      logits[at + i] = mul(i === target ? sub(p, 1) : p, gradientScale);
    }
  }
}
