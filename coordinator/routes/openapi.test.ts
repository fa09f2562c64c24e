/** The OpenAPI document: committed as it is generated, complete, and without a reference that leads nowhere. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { routes } from '#protocol/http/api.ts';
import type { Endpoint } from '#protocol/http/endpoint.ts';
import { endpoints } from '#protocol/http/table.ts';
import { openApiFile, openApiText } from '#scripts/openapi.ts';
import { getJson, testCoordinator } from '../testing/harness.ts';

interface Operation {
  operationId: string;
  summary: string;
  parameters?: { name: string; in: string }[];
  responses: Record<string, { description: string }>;
  security?: object[];
}
const document = JSON.parse(openApiText()) as {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
};
const all: readonly Endpoint[] = Object.values(endpoints);

describe('docs/openapi.json', () => {
  test('is what the route table says; `node scripts/openapi.ts` writes it', () => {
    expect(readFileSync(openApiFile, 'utf8')).toBe(openApiText());
  });

  test('has every endpoint of the table, and the table every path', () => {
    expect(document.openapi).toBe('3.1.0');
    const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
    expect(operations.map((operation) => operation.operationId).toSorted()).toEqual(
      Object.keys(endpoints).toSorted(),
    );
    const outside: string[] = [routes.contribute, routes.docs];
    expect(new Set([...all.map((endpoint) => endpoint.path), ...outside])).toEqual(
      new Set(Object.values(routes)),
    );
  });

  test('names every parameter in a path, every refusal, and who may ask', () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const operation of Object.values(methods)) {
        const named = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
        const inPath = (operation.parameters ?? []).filter((each) => each.in === 'path');
        expect(inPath.map((each) => each.name)).toEqual(named);
        expect(Object.keys(operation.responses)).toEqual(
          expect.arrayContaining(['400', '429', '500', '503']) as string[],
        );
        if (operation.responses['401'] && !operation.summary.includes('signed')) {
          expect(operation.security, operation.operationId).toBeDefined();
        }
      }
    }
  });

  test('has no reference that leads nowhere', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)];
    expect(references.length).toBeGreaterThan(50);
    for (const [, name] of references) expect(document.components.schemas).toHaveProperty(name as string);
    for (const schema of Object.values(document.components.schemas)) {
      expect(Object.keys(schema).length).toBeGreaterThan(0);
    }
  });

  test('is served', async () => {
    const coordinator = await testCoordinator();
    expect(await getJson(coordinator, routes.openapi)).toEqual(document);
  });
});
