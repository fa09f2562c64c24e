/** The status of a node as a person likes to look at it. Text from the node is stripped of what could move a terminal's cursor. */
import type { NodeStatus } from '../control/messages.ts';
import type { Output } from '../output.ts';

const barCells = 20;
const colours: Record<string, number> = {
  computing: 32,
  fetching: 36,
  waiting: 36,
  paused: 33,
  connecting: 33,
  failed: 31,
};

export function statusText(status: NodeStatus, out: Output): string {
  const state = status.draining ? 'draining' : status.phase;
  const mark = out.colour(colours[status.phase] ?? 36, '●');
  const head = [mark, out.bold(status.name), state, ...(status.unit ? [progressOf(status.unit)] : [])];
  const rows: [string, string][] = [
    [
      'device',
      status.device ? `${status.device.label} (${status.device.backend})` : `none yet (${status.backend})`,
    ],
    ['coordinator', status.url],
    ['work', workOf(status)],
    ['traffic', trafficOf(status)],
    ...(status.peers ? [['peers', peersOf(status.peers)] as [string, string]] : []),
    ['running', `${duration(status.uptimeSeconds)}, process ${status.pid}, version ${status.version}`],
    ...(status.contributor ? [['contributor', status.contributor] as [string, string]] : []),
  ];
  const said = [status.reason, ...status.held].map((line) => `  ${plain(line)}`);
  return [
    head.join('  '),
    ...new Set(said),
    ...rows.map(([name, value]) => `  ${out.dim(name.padEnd(11))}  ${plain(value)}`),
  ].join('\n');
}

function progressOf({ program, done, total }: { program: string; done: number; total: number }): string {
  if (total <= 0) return plain(program);
  const share = Math.max(0, Math.min(1, done / total));
  const full = Math.round(share * barCells);
  const bar = '█'.repeat(full) + '░'.repeat(barCells - full);
  return `${plain(program)}  ${bar}  ${Math.floor(share * 100)}%`;
}

function workOf({ credit, agreed, rejected, pending }: NodeStatus): string {
  return [
    `${credit.toLocaleString('en')} credit`,
    `${agreed.toLocaleString('en')} agreed`,
    `${rejected.toLocaleString('en')} rejected`,
    `${pending.toLocaleString('en')} to be settled`,
  ].join(', ');
}

function trafficOf({ bytesDown, bytesUp, keptBytes, keptBytesMax }: NodeStatus): string {
  const kept =
    keptBytes === undefined || keptBytesMax === undefined
      ? ''
      : `; ${sizeWords(keptBytes)} of ${sizeWords(keptBytesMax)} kept on disk`;
  return `${sizeWords(bytesDown)} down, ${sizeWords(bytesUp)} up${kept}`;
}

function peersOf({ state, direct, relayed }: { state: string; direct: number; relayed: number }): string {
  return state === 'on' ? `${direct} direct, ${relayed} relayed` : state;
}

export function sizeWords(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let [value, unit] = [bytes, 0];
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function duration(seconds: number): string {
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [Math.floor(seconds) % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}

/** A node's words are shown as words: no control characters. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, ' ').slice(0, 400);
}
