/**
 * `node scripts/openapi.ts`: writes docs/openapi.json from the route table. A test fails when the committed file is another one.
 */
import { writeFileSync } from 'node:fs';
import { openApi } from '#protocol/http/openapi.ts';
import { endpoints } from '#protocol/http/table.ts';
import { version } from '#coordinator/version.ts';

export const openApiFile = new URL('../docs/openapi.json', import.meta.url);

export function openApiText(): string {
  return `${JSON.stringify(openApi(endpoints, version), null, 2)}\n`;
}

if (import.meta.main) writeFileSync(openApiFile, openApiText());
