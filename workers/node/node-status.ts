/** What a running node tells about itself over the control socket, made from its view. Nothing of peers but their number. */
import type { ContributorView } from '../runtime/view.ts';
import { type Config, labelOf } from './config.ts';
import type { NodeStatus } from './control/messages.ts';
import type { ChildState } from './ops/supervisor.ts';
import { address } from './option-kinds.ts';

export interface StatusFacts {
  config: Config;
  version: string;
  startedAt: Date;
  now: Date;
  draining: boolean;
  held: readonly string[];
}

export function nodeStatus(view: ContributorView, facts: StatusFacts): NodeStatus {
  const { config, startedAt, now } = facts;
  const { phase, reason, contributor, unit, pending, agreed, rejected, credit, bytesDown, bytesUp } = view;
  const { device, kept, swarm, why } = view;
  return {
    name: labelOf(config),
    pid: process.pid,
    version: facts.version,
    url: address.redact?.(config.url) ?? config.url,
    backend: config.backend,
    startedAt: startedAt.toISOString(),
    uptimeSeconds: Math.round((now.getTime() - startedAt.getTime()) / 1000),
    draining: facts.draining,
    held: [...facts.held],
    ...{ phase, reason, contributor, unit, pending, agreed, rejected, credit, bytesDown, bytesUp },
    device: device ? { backend: device.backend, label: device.label } : null,
    ...(why ? { why } : {}),
    ...(kept ? { keptBytes: kept.heldBytes, keptBytesMax: kept.limitBytes } : {}),
    ...(swarm ? { peers: { state: swarm.state, direct: swarm.direct, relayed: swarm.relayed } } : {}),
    problem: view.problem?.detail ?? null,
  };
}

/** Of a process that computes nothing itself but supervises those that do: their figures together, and a line about each. */
export function fleetStatus(name: string, children: readonly ChildState[], facts: StatusFacts): NodeStatus {
  const views = children.flatMap(({ view }) => (view ? [view] : []));
  const sum = (key: 'pending' | 'agreed' | 'rejected' | 'credit' | 'bytesDown' | 'bytesUp') =>
    views.reduce((total, view) => total + view[key], 0);
  const lines = children.map(({ label, state, view }) => `${label}: ${view?.phase ?? state}`);
  return {
    name,
    pid: process.pid,
    version: facts.version,
    url: address.redact?.(facts.config.url) ?? facts.config.url,
    backend: 'cuda',
    startedAt: facts.startedAt.toISOString(),
    uptimeSeconds: Math.round((facts.now.getTime() - facts.startedAt.getTime()) / 1000),
    draining: facts.draining,
    held: [...new Set(children.flatMap(({ held }) => held))],
    phase: views.some(({ phase }) => phase === 'computing') ? 'computing' : (views[0]?.phase ?? 'starting'),
    reason: `A process for each of ${children.length} graphics processors (${lines.join(', ')}).`,
    contributor: null,
    device: null,
    unit: null,
    pending: sum('pending'),
    agreed: sum('agreed'),
    rejected: sum('rejected'),
    credit: sum('credit'),
    bytesDown: sum('bytesDown'),
    bytesUp: sum('bytesUp'),
    problem: views.find(({ problem }) => problem)?.problem?.detail ?? null,
  };
}
