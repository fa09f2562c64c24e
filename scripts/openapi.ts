/**
 * `node scripts/openapi.ts`: writes docs/openapi.json from the route table. A test fails when the committed file is another one.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { openApi } from '#protocol/http/openapi.ts';
import { endpoints } from '#protocol/http/table.ts';
import { version } from '#coordinator/version.ts';
import { root } from './run-tool.ts';

export const openApiFile = path.join(root, 'docs', 'openapi.json');

export function openApiText(): string {
  return `${JSON.stringify(openApi(endpoints, version), null, 2)}\n`;
}

if (import.meta.main) writeFileSync(openApiFile, openApiText());
