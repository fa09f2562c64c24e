/**
 * The files of deploy/, as far as they can be checked without Docker: what they name exists, settings are ones that the programs know and take, ports and stages
 * fit each other, and the dashboard draws only metrics that are there.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseConfig as parseCoordinator } from '#coordinator/config.ts';
import { Metrics } from '#coordinator/service/metrics.ts';
import { parseOptions } from '#scripts/start-options.ts';
import { configOf, readSettings } from '#workers/node/config.ts';
import { nodeMetrics } from '#workers/node/ops/metrics.ts';
import { optionNames, specOf } from '#workers/node/options.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const { parse } = createRequire(import.meta.url)('yaml') as {
  parse: (text: string, options: { merge: boolean }) => unknown;
};
const yaml = <T>(file: string) => parse(read(file), { merge: true }) as T;

interface Service {
  image?: string;
  build?: { context?: string; dockerfile?: string; target: string };
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  healthcheck?: { test: string[] };
  depends_on?: Record<string, unknown>;
  network_mode?: string;
  stop_grace_period?: string;
}
interface Compose {
  services: Record<string, Service>;
  volumes?: Record<string, unknown>;
}
const compose = yaml<Compose>('deploy/compose.yaml');
const cuda = yaml<Compose>('deploy/compose.cuda.yaml');
const services = Object.entries(compose.services);

interface Stage {
  name: string;
  from: string;
  lines: string[];
}

/** Instructions of the Dockerfile, with their continuations, by stage. */
function stagesOf(text: string): Stage[] {
  const instructions = text
    .replace(/^#.*\n/gm, '')
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => line.trim() !== '');
  const stages: Stage[] = [];
  for (const line of instructions) {
    const [, from, name] = /^FROM (\S+) AS (\S+)$/.exec(line) ?? [];
    if (from && name) stages.push({ name, from, lines: [] });
    else stages.at(-1)?.lines.push(line);
  }
  return stages;
}
const stages = stagesOf(read('deploy/Dockerfile'));
const stageOf = (name: string) => stages.find((stage) => stage.name === name) as Stage;

function envOf(stage: Stage): Record<string, string> {
  const text = stage.lines.filter((line) => line.startsWith('ENV ')).join(' ');
  return Object.fromEntries([...text.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]));
}

/** With every variable that compose would put in, at its default. */
function filled(environment: Record<string, string> = {}): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [
      name,
      String(value).replace(/\$\{\w+(?::([-?])([^}]*))?\}/g, (_, kind, word) =>
        kind === '-' ? word : 'secret',
      ),
    ]),
  );
}

describe('the Dockerfile', () => {
  it('copies what is there, from stages that come before', () => {
    const known: string[] = [];
    for (const { name, lines, from } of stages) {
      expect(known.includes(from) || /^[\w/]+:[\w.-]+$/.test(from), `${name} is from ${from}`).toBe(true);
      for (const line of lines.filter((each) => each.startsWith('COPY '))) {
        const [, stage] = /--from=(\S+)/.exec(line) ?? [];
        const files = line
          .split(/\s+/)
          .slice(1, -1)
          .filter((word) => !word.startsWith('--'));
        if (stage) expect(known.includes(stage) || stage.includes(':'), line).toBe(true);
        else
          for (const file of files) expect(existsSync(path.join(root, file)), `${name}: ${file}`).toBe(true);
      }
      known.push(name);
    }
  });

  it('starts programs that are there, by signals they know', () => {
    for (const name of ['coordinator', 'node-cpu', 'node-cuda']) {
      const { lines } = stageOf(name);
      const [entry = ''] = lines.filter((line) => line.startsWith('ENTRYPOINT '));
      const words = JSON.parse(entry.slice('ENTRYPOINT '.length)) as string[];
      for (const file of words.filter((word) => word.endsWith('.ts')))
        expect(existsSync(path.join(root, file)), file).toBe(true);
      expect(lines).toContain('STOPSIGNAL SIGTERM');
      expect(
        lines.some((line) => /^USER (?!root)/.test(line)),
        `${name} is not root`,
      ).toBe(true);
    }
  });

  it('sets only what the programs know, to what they take', () => {
    parseOptions([], envOf(stageOf('coordinator')), '/');
    parseCoordinator({}, envOf(stageOf('coordinator')));
    for (const name of ['node-cpu', 'node-cuda']) {
      const env = { ...envOf(stageOf(name)), ATOLL_URL: 'http://coordinator:4400' };
      expectKnown(nodeVariables, env);
      expect(configOf(readSettings([], env).values).healthPort).toBe(9464);
    }
    expectKnown(coordinatorVariables, envOf(stageOf('coordinator')));
  });

  it('does not leave out by .dockerignore what it copies', () => {
    const ignored = read('deploy/Dockerfile.dockerignore').split('\n');
    for (const folder of ['protocol', 'kernels', 'workers', 'scripts', 'coordinator', 'web', 'package.json'])
      expect(ignored).not.toContain(folder);
  });
});

const nodeVariables = new Set([
  ...optionNames.flatMap((name) => specOf(name).env ?? []),
  'NODE_ENV',
  'NVIDIA_VISIBLE_DEVICES',
  'NVIDIA_DRIVER_CAPABILITIES',
]);
const coordinatorVariables = new Set([
  ...[...read('coordinator/config.ts').matchAll(/'([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)'/g)].map(
    ([, name]) => name as string,
  ),
  ...[...read('scripts/start-options.ts').matchAll(/^ {2}'?([a-z-]+)'?: \{/gm)].map(
    ([, name = '']) => `ATOLL_${name.replaceAll('-', '_').toUpperCase()}`,
  ),
  'NODE_ENV',
]);

function expectKnown(known: Set<string>, env: Record<string, string>): void {
  expect(Object.keys(env).filter((name) => !known.has(name))).toEqual([]);
}

describe('the compose files', () => {
  it('build stages that exist, and wait for and mount what exists', () => {
    for (const [name, { build, depends_on: needs = {}, volumes = [], network_mode: network }] of services) {
      if (build) {
        expect(path.join('deploy', build.context ?? ''), name).toBe('.');
        expect(existsSync(path.join(root, build.dockerfile ?? '')), name).toBe(true);
        expect(stages.map((stage) => stage.name)).toContain(build.target);
      }
      for (const needed of Object.keys(needs)) expect(Object.keys(compose.services)).toContain(needed);
      if (network) expect(Object.keys(compose.services)).toContain(network.replace('service:', ''));
      for (const volume of volumes) {
        const [from = ''] = volume.split(':');
        if (from.startsWith('.')) expect(existsSync(path.join(root, 'deploy', from)), volume).toBe(true);
        else expect(Object.keys(compose.volumes ?? {})).toContain(from);
      }
    }
    expect(stages.map(({ name }) => name)).toContain(cuda.services['node']?.build?.target);
  });

  it('set only what the programs know, to what they take', () => {
    const coordinator = filled(compose.services['coordinator']?.environment);
    expectKnown(coordinatorVariables, coordinator);
    const config = parseCoordinator({}, coordinator);
    expect(config.allowedHosts).toContain('coordinator');
    for (const [name, target] of [
      ['node', 'node-cpu'],
      ['node-2', 'node-cpu'],
    ] as const) {
      const env = filled(compose.services[name]?.environment);
      expectKnown(nodeVariables, env);
      configOf(readSettings([], { ...envOf(stageOf(target)), ...env }).values);
    }
    const onGpus = { ...compose.services['node']?.environment, ...cuda.services['node']?.environment };
    expectKnown(nodeVariables, filled(onGpus));
    expect(
      configOf(readSettings([], { ...envOf(stageOf('node-cuda')), ...filled(onGpus) }).values),
    ).toMatchObject({ backend: 'cuda', gpus: ['all'] });
  });

  it('agree with the images on ports, and give a drain its time', () => {
    const { ATOLL_PORT: port } = envOf(stageOf('coordinator'));
    const { ATOLL_HEALTH_PORT: health } = envOf(stageOf('node-cpu'));
    expect(stageOf('coordinator').lines).toContain(`EXPOSE ${port}`);
    expect(compose.services['coordinator']?.ports).toEqual([`127.0.0.1:${port}:${port}`]);
    expect(compose.services['coordinator']?.healthcheck?.test.join(' ')).toContain(
      `127.0.0.1:${port}/readyz`,
    );
    expect(compose.services['node']?.environment?.['ATOLL_URL']).toBe(`http://coordinator:${port}`);
    expect(compose.services['node']?.healthcheck?.test.join(' ')).toContain(`127.0.0.1:${health}/healthz`);
    expect(Number.parseInt(compose.services['node']?.stop_grace_period ?? '', 10)).toBeGreaterThanOrEqual(35);
    const targets = JSON.stringify(yaml('deploy/prometheus.yaml'));
    expect(targets).toContain(`coordinator:${port}`);
    expect(targets).toContain(`127.0.0.1:${health}`);
    for (const [name, { ports = [] }] of services)
      for (const each of ports) expect(each, name).toMatch(/^127\.0\.0\.1:/);
  });

  it('ask for exactly the variables of env.example', () => {
    const asked = new Set(
      [...`${read('deploy/compose.yaml')}${read('deploy/compose.cuda.yaml')}`.matchAll(/\$\{(\w+)/g)].map(
        ([, name]) => name,
      ),
    );
    const given = new Set(
      [...read('deploy/env.example').matchAll(/^#?([A-Z_]+)=/gm)].map(([, name]) => name),
    );
    expect([...asked].sort()).toEqual([...given].sort());
  });
});

describe('the dashboard', () => {
  interface Panel {
    title: string;
    type: string;
    gridPos: { x: number; y: number; w: number; h: number };
    targets?: { expr: string }[];
  }
  const { panels } = JSON.parse(read('deploy/grafana/dashboards/atoll.json')) as { panels: Panel[] };

  it('draws only metrics and labels that are there', async () => {
    const none = () => 0;
    const coordinator = new Metrics({
      contributorsOnline: none,
      eventStreams: none,
      relayConnections: none,
      relayReservations: none,
    });
    const node = nodeMetrics({ version: '0', workers: () => [], gpus: () => new Map() });
    const known = new Set(
      [coordinator.registry, node].flatMap((registry) =>
        registry.getMetricsAsArray().map(({ name }) => name),
      ),
    );
    const drawn = panels
      .flatMap(({ targets = [] }) => targets)
      .flatMap(({ expr }) =>
        [...expr.matchAll(/\batoll_\w+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, '')),
      );
    expect(drawn.length).toBeGreaterThan(20);
    expect(drawn.filter((name) => !known.has(name))).toEqual([]);
    // Each of the node's is worth a look, but for its version and what a panel cannot show.
    const hidden = ['atoll_node_info', 'atoll_node_unit_progress_ratio'];
    const ofNode = node.getMetricsAsArray().map(({ name }) => name);
    expect(ofNode.filter((name) => !drawn.includes(name) && !hidden.includes(name))).toEqual([]);
  });

  it('has panels that do not lie on each other', () => {
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
  });

  it('is provisioned from where compose puts it', () => {
    const mounted =
      compose.services['grafana']?.volumes?.map((volume) => volume.split(':').slice(0, 2).join(' ')) ?? [];
    expect(mounted).toContain('./grafana/dashboards /var/lib/grafana/dashboards');
    expect(read('deploy/grafana/provisioning/dashboards/atoll.yaml')).toContain(
      'path: /var/lib/grafana/dashboards',
    );
    expect(read('deploy/grafana/provisioning/datasources/prometheus.yaml')).toContain('uid: prometheus');
  });
});
