import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{protocol,kernels,workers,coordinator,web,scripts,test}/**/*.test.ts'],
    testTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
