/**
 * A systemd unit that runs a node: an account of its own, a file system it cannot write but for its state, no privileges, and of devices only the graphics ones.
 *
 * What is left open is what V8 and graphics drivers need: memory that is written and then run (both compile as they go), /proc/driver, and threads that are pinned.
 */
import { readFileSync, statSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { AtollError } from '#protocol/errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { projectRoot } from './project-root.ts';
import { finalExitCodes } from './supervisor.ts';

export interface ServiceOptions {
  /** Program and arguments, absolute where they are paths; `serviceCommand` makes them. */
  command: readonly string[];
  /** An account that exists; one is made for the time the service runs unless given. */
  user?: string;
  /** Of the unit: `atoll-node` unless given. */
  name?: string;
  /** Seconds a stop may take; systemd's limit is five more. */
  drainSeconds?: number;
}

/** Names under which graphics drivers list their devices in /proc/devices. */
const gpuDevices = ['char-nvidia*', 'char-nvidia-uvm', 'char-nvidia-caps*', 'char-drm', 'char-kfd'];

/** In systemd's own order: Unit, Service, Install. */
export function serviceUnit({
  command,
  user,
  name = 'atoll-node',
  drainSeconds = 30,
}: ServiceOptions): string {
  const stopSeconds = drainSeconds + 5;
  const root = projectRoot();
  return `# Made by \`atoll node install-service\`. Changes belong into \`systemctl edit ${name}\`.
[Unit]
Description=Atoll node: contributes this machine to an Atoll network
Documentation=file://${root}/docs/operations.md
Wants=network-online.target nvidia-persistenced.service
After=network-online.target nvidia-persistenced.service
StartLimitIntervalSec=0

[Service]
Type=simple
ExecStart=${command.map(quoted).join(' ')}
EnvironmentFile=-/etc/atoll/node.env
Environment=ATOLL_DATA_DIR=%S/${name} HOME=%S/${name} XDG_CACHE_HOME=%S/${name}/cache
${user === undefined ? 'DynamicUser=yes' : `User=${user}`}
StateDirectory=${name}
StateDirectoryMode=0700
UMask=0077
WorkingDirectory=%S/${name}
Nice=10
OOMScoreAdjust=500

# A drain takes ${drainSeconds} s at most; the node passes the signal on to its own processes.
KillSignal=SIGTERM
KillMode=mixed
TimeoutStopSec=${stopSeconds}
Restart=on-failure
RestartSec=30
SuccessExitStatus=${exitCodes.unsettled} ${exitCodes.stoppedAtOnce}
# A setting, a refusal, other bits than the reference, another server: starting again would not help.
RestartPreventExitStatus=${finalExitCodes.join(' ')}

${sandbox(root)}[Install]
WantedBy=multi-user.target
`;
}

/** What the program cannot reach: all but the network, its own folder, and the graphics processors. */
function sandbox(root: string): string {
  return `NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=${isInHome(root) ? 'read-only' : 'yes'}
PrivateTmp=yes
PrivateMounts=yes
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
# Node asks netlink for its own addresses.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service @pkey
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
# V8 and graphics drivers compile at run time.
MemoryDenyWriteExecute=no
# Of devices: the graphics processors, and what every process has.
PrivateDevices=no
DevicePolicy=closed
${gpuDevices.map((device) => `DeviceAllow=${device} rw`).join('\n')}
${graphicsGroups()}
`;
}

/** What a unit runs: this Node and the node's program by their full paths, with the arguments of \`run\`. */
export function serviceCommand(args: readonly string[]): string[] {
  const root = projectRoot();
  const hooks = path.join(root, 'scripts/raw-hooks.ts');
  return [
    process.execPath,
    '--import',
    pathToFileURL(hooks).href,
    path.join(root, 'workers/node/main.ts'),
    'run',
    ...args,
  ];
}

/** Writes the unit, to be enabled by its owner. Returns what to say. Throws `bad_config` where it cannot be written. */
export async function installService(
  options: ServiceOptions,
  folder = '/etc/systemd/system',
): Promise<string[]> {
  const { name = 'atoll-node' } = options;
  const file = path.join(folder, `${name}.service`);
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(`${file}.new`, serviceUnit(options), { mode: 0o644 });
    await rename(`${file}.new`, file);
  } catch (cause) {
    const words = `${file} cannot be written. Run this as root, or take the text with --print.`;
    throw new AtollError('bad_config', words, { cause });
  }
  return [
    `Wrote ${file}. To begin now and at every start of the machine:`,
    `  systemctl daemon-reload && systemctl enable --now ${name}`,
    ...readabilityWarnings([projectRoot(), process.execPath], options.user),
  ];
}

/** An account that is made for the service reads only what everybody may read. */
export function readabilityWarnings(files: readonly string[], user: string | undefined): string[] {
  if (user !== undefined) return [];
  const closed = files.flatMap((file) => closedAbove(file) ?? []).at(0);
  if (closed === undefined) return [];
  return [
    `Note: ${closed} cannot be read by other accounts, so the service could not start. Give --user NAME, or move the program to /opt.`,
  ];
}

function closedAbove(file: string): string | null {
  for (let at = file; at !== path.dirname(at); at = path.dirname(at)) {
    const mode = statSync(at, { throwIfNoEntry: false })?.mode ?? 0;
    if ((mode & 0o005) !== 0o005) return at;
  }
  return null;
}

/** Render nodes belong to these groups; naming one that this machine lacks would keep the service from starting. */
function graphicsGroups(): string {
  const known = readTextOrNothing('/etc/group');
  const groups = ['video', 'render'].filter((name) => known.includes(`\n${name}:`));
  return groups.length > 0 ? `SupplementaryGroups=${groups.join(' ')}\n` : '';
}

function readTextOrNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function isInHome(root: string): boolean {
  return /^\/(home|root|run\/user)\//.test(`${root}/`);
}

/** One word of ExecStart. */
function quoted(word: string): string {
  if (/[\n\0]/.test(word))
    throw new AtollError('bad_config', 'An argument of a service cannot have a line break.');
  const escaped = word.replace(/[\\"]/g, (c) => `\\${c}`).replace(/[%$]/g, (c) => c + c);
  return /^[\w@%+=:,./-]+$/.test(escaped) ? escaped : `"${escaped}"`;
}
