/** Writes the golden files. Look at the diff before you commit it: a line that changes is a protocol that changes. */
import { writeFile } from 'node:fs/promises';
import * as prettier from 'prettier';
import { goldenFiles } from './fixtures.ts';

for (const [name, content] of Object.entries(await goldenFiles())) {
  const file = new URL(name, import.meta.url);
  const options = { ...(await prettier.resolveConfig(file)), parser: 'json' };
  await writeFile(file, await prettier.format(JSON.stringify(content), options));
}
