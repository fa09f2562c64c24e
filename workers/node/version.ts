/** The version of this program, as package.json has it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { projectRoot } from './ops/project-root.ts';

const manifest = path.join(projectRoot(), 'package.json');
export const version = (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
