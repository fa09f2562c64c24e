/** Every case that goes through the ops of a device. */
import type { Case } from './case.ts';
import { elementCases } from './element-cases.ts';
import { clipCases } from './clip-cases.ts';
import { codecCases } from './codec-cases.ts';
import { gemmCases } from './gemm-cases.ts';
import { llamaCases } from './llama-cases.ts';
import { moeCases } from './moe-cases.ts';
import { quantizeCases } from './quantize-cases.ts';
import { rowCases } from './row-cases.ts';
import { sampleCases } from './sample-cases.ts';

export const opCases: readonly Case[] = [
  ...quantizeCases,
  ...gemmCases,
  ...rowCases,
  ...elementCases,
  ...llamaCases,
  ...codecCases,
  ...clipCases,
  ...sampleCases,
  ...moeCases,
];
