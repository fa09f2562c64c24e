/**
 * CPU time of a process and all its descendants, user and system, from /proc (Linux only).
 *
 * A browser is many processes: its own, a GPU process (where SwiftShader computes) and renderers. Wall time means little on a shared machine, and
 * one peer's threads would look like speed; CPU-seconds of the whole tree count everybody's work. Ticks are 10 ms: measure half a second or more.
 */
import { readdirSync, readFileSync } from 'node:fs';

const ticksPerSecond = 100;

interface Stat {
  parent: number;
  ticks: number;
}

function statOf(pid: number): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in brackets, may hold spaces; what follows is state, parent, ...
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return null;
  }
}

/** CPU-seconds of the living processes of the tree below and including `root`. */
export function treeSeconds(root: number): number {
  const stats = new Map<number, Stat>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const stat = Number.isInteger(pid) ? statOf(pid) : null;
    if (stat) stats.set(pid, stat);
  }
  const isBelow = (pid: number): boolean => {
    for (let at = pid; at > 1; at = stats.get(at)?.parent ?? 0) if (at === root) return true;
    return false;
  };
  let ticks = 0;
  for (const [pid, stat] of stats) if (isBelow(pid)) ticks += stat.ticks;
  return ticks / ticksPerSecond;
}
