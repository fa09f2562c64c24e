/** Prometheus metrics of one coordinator, in a registry of their own. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { PeerFault } from '#protocol/messages/frames.ts';

export interface MetricSources {
  contributorsOnline: () => number;
  eventStreams: () => number;
  /** Of the relay that contributors find each other through: peers connected, and peers that can be found. */
  relayConnections: () => number;
  relayReservations: () => number;
}

export class Metrics {
  readonly registry = new Registry();
  /** A step of the consensus on a unit, by its kind. */
  readonly transition: (type: string) => void;
  /** How a replica ended. */
  readonly verdict: (outcome: string) => void;
  readonly problem: (code: string) => void;
  readonly originLease: (outcome: 'granted' | 'wait') => void;
  readonly complaint: (fault: PeerFault) => void;
  readonly pin: (outcome: 'pinned' | 'failed' | 'dropped') => void;
  readonly #batches: Histogram;
  readonly #commits: Histogram;
  readonly #rounds: Counter;
  readonly #requests: Counter;
  readonly #requestSeconds: Histogram;
  readonly #gatewayBytes: Counter;

  constructor(sources: MetricSources) {
    const registers = [this.registry];
    const steps = 'Steps of the consensus on units, by kind.';
    this.transition = tally(registers, 'atoll_unit_transitions_total', steps, 'type');
    this.verdict = tally(registers, 'atoll_replica_verdicts_total', 'How replicas ended.', 'outcome');
    this.problem = tally(
      registers,
      'atoll_problems_total',
      'Problems reported to contributors and HTTP clients, by code.',
      'code',
    );
    this.#batches = new Histogram({
      name: 'atoll_storage_batch_operations',
      help: 'Operations that one database transaction made durable.',
      buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
      registers,
    });
    this.#commits = new Histogram({
      name: 'atoll_storage_commit_seconds',
      help: 'Time of one database transaction.',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1],
      registers,
    });
    this.#rounds = new Counter({ name: 'atoll_rounds_total', help: 'Rounds closed.', registers });
    this.#requests = counter(
      registers,
      'atoll_http_requests_total',
      'HTTP requests answered, by method, route of the table and status.',
      ['method', 'route', 'status'],
    );
    this.#requestSeconds = new Histogram({
      name: 'atoll_http_request_seconds',
      help: 'Time until the head of an answer was there.',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5],
      registers,
    });
    this.#gatewayBytes = counter(
      registers,
      'atoll_gateway_bytes_total',
      'Bytes of blocks that left over HTTP, by the form in which they were asked for.',
      ['format'],
    );
    this.originLease = tally(
      registers,
      'atoll_origin_leases_total',
      'Fetches that named their swarm: granted, or told to wait for a neighbour.',
      'outcome',
    );
    this.complaint = tally(
      registers,
      'atoll_peer_complaints_total',
      'Complaints of contributors about their neighbours that counted, by what was wrong.',
      'fault',
    );
    this.pin = tally(
      registers,
      'atoll_pins_total',
      'Checkpoints handed to the IPFS node that pins them, by how that ended.',
      'outcome',
    );
    gaugeSources(registers, sources);
  }

  batch(size: number, ms: number): void {
    this.#batches.observe(size);
    this.#commits.observe(ms / 1000);
  }

  /** `route` is a path of the table, never one that a client made up, and so is the method. */
  request(method: string, route: string, status: number, ms: number): void {
    const named = route === '' ? 'other' : method;
    this.#requests.inc({ method: named, route: route === '' ? 'other' : route, status });
    this.#requestSeconds.observe(ms / 1000);
  }

  served(format: 'raw' | 'document' | 'car', bytes: number): void {
    this.#gatewayBytes.inc({ format }, bytes);
  }

  round(): void {
    this.#rounds.inc();
  }
}

function gaugeSources(registers: Registry[], sources: MetricSources): void {
  const { contributorsOnline, eventStreams, relayConnections, relayReservations } = sources;
  gauge(registers, 'atoll_contributors_online', 'Contributors connected now.', contributorsOnline);
  gauge(registers, 'atoll_event_streams', 'Event streams open now.', eventStreams);
  gauge(registers, 'atoll_relay_connections', 'Peers connected to the relay now.', relayConnections);
  gauge(
    registers,
    'atoll_relay_reservations',
    'Peers that can be found through the relay now.',
    relayReservations,
  );
}

/** Counts by one label for what happens thousands of times a second: the counter is told when somebody looks. */
function tally(registers: Registry[], name: string, help: string, label: string): (value: string) => void {
  const counts = new Map<string, number>();
  new Counter({
    name,
    help,
    labelNames: [label],
    registers,
    collect() {
      for (const [value, count] of counts) this.inc({ [label]: value }, count);
      counts.clear();
    },
  });
  return (value) => void counts.set(value, (counts.get(value) ?? 0) + 1);
}

function counter(registers: Registry[], name: string, help: string, labelNames: string[]): Counter {
  return new Counter({ name, help, labelNames, registers });
}

function gauge(registers: Registry[], name: string, help: string, value: () => number): void {
  new Gauge({
    name,
    help,
    registers,
    collect() {
      this.set(value());
    },
  });
}
