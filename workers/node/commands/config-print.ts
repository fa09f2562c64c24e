/** `atoll node config print`: every setting, where it comes from, and what it would be; passwords are redacted. */
import type { Setting, Settings } from '../config.ts';
import { specOf } from '../options.ts';
import type { Output } from '../output.ts';

export function printConfig({ settings, file }: Settings, isJson: boolean, out: Output): void {
  const rows = settings.map((setting) => ({ ...setting, text: shown(setting) }));
  if (isJson) {
    const values = rows.map(({ name, text, source }) => [name, { value: text, source }]);
    out.print(
      JSON.stringify({ file: file.exists ? file.path : null, settings: Object.fromEntries(values) }, null, 2),
    );
    return;
  }
  out.print(file.exists ? `Config file: ${file.path}` : `Config file: none (${file.path} would be read)`);
  const width = Math.max(...rows.map(({ name }) => name.length));
  const valueWidth = Math.min(48, Math.max(...rows.map(({ text }) => text?.length ?? 1)));
  for (const { name, text, source } of rows) {
    const from = source === 'env' ? `env ${specOf(name).env}` : source;
    const line = `${name.padEnd(width)}  ${(text ?? '-').padEnd(valueWidth)}  ${out.dim(from)}`;
    out.print(source === 'default' ? line : out.bold(line));
  }
}

function shown({ name, text }: Setting): string | null {
  return text === null ? null : (specOf(name).kind.redact?.(text) ?? text);
}
