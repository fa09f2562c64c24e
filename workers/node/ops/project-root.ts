/** Where the project lies. The program that asks may be a bundle of it, in a folder further down. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export function projectRoot(): string {
  for (let at = path.dirname(fileURLToPath(import.meta.url)); ; at = path.dirname(at)) {
    if (existsSync(path.join(at, 'package.json')) || at === path.dirname(at)) return at;
  }
}
