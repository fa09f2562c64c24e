/** Which proxy the environment names for an address, and whether this Node goes through it: it does only where NODE_USE_ENV_PROXY says so. */

export type ProxyUse =
  | { kind: 'none' }
  /** Named by a variable, and not used. */
  | { kind: 'unused'; variable: string }
  | { kind: 'used'; variable: string; url: URL };

export function proxyFor(target: URL, env: NodeJS.ProcessEnv): ProxyUse {
  const names = target.protocol === 'https:' ? ['https_proxy', 'HTTPS_PROXY'] : ['http_proxy', 'HTTP_PROXY'];
  const variable = names.find((name) => env[name]);
  const url = variable === undefined ? null : URL.parse(env[variable] as string);
  if (variable === undefined || !url || isExempt(target, env['no_proxy'] || env['NO_PROXY'] || '')) {
    return { kind: 'none' };
  }
  return env['NODE_USE_ENV_PROXY'] === '1' ? { kind: 'used', variable, url } : { kind: 'unused', variable };
}

function isExempt({ hostname, host }: URL, list: string): boolean {
  return list
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => {
      const name = entry.replace(/^\*?\./, '').toLowerCase();
      return entry === '*' || hostname === name || host === name || hostname.endsWith(`.${name}`);
    });
}
