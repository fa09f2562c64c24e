/** Flags win over the environment, the environment over defaults, and every wrong option says what it takes. */
import { describe, expect, test } from 'vitest';
import { helpText, parseOptions } from './start-options.ts';

const parse = (args: string[], env: Record<string, string> = {}) => parseOptions(args, env, '/home/me');

test('defaults', () => {
  expect(parse([])).toMatchObject({
    data: null,
    policy: 'i10sr',
    local: 2,
    rounds: null,
    json: false,
    dataDir: '/home/me/.data',
    chain: true,
  });
});

test('flags win over the environment, which wins over defaults; paths start where the person is', () => {
  const env = { ATOLL_PORT: '5000', ATOLL_DATA_DIR: 'state', ATOLL_NO_CHAIN: '1', ATOLL_HELD_OUT: '7' };
  expect(parse(['--port=0', '--data', '../x.txt', '--rounds', '3', '--json'], env)).toMatchObject({
    port: 0,
    dataDir: '/home/me/state',
    chain: false,
    heldOut: 7,
    data: '/home/x.txt',
    rounds: 3,
    json: true,
  });
});

test('a model is four numbers over bytes', () => {
  expect(parse(['--model', '4,128,8,64']).model).toEqual({ L: 4, C: 128, NH: 8, T: 64, V: 256 });
});

test('a kind of model adds to the numbers what it is known for', () => {
  const numbers = { L: 2, C: 64, NH: 4, T: 64, V: 256 };
  const llama = { ...numbers, norm: 'rms', mlp: 'swiglu', positions: 'rotary' };
  expect(parse(['--arch', 'gpt2']).model).toEqual({ ...numbers, biases: true });
  expect(parse(['--arch', 'llama']).model).toEqual({ ...llama, HID: 168, NKV: 2 });
  expect(parse(['--arch', 'experts']).model).toEqual({ ...llama, HID: 84, experts: { E: 4, k: 2 } });
});

describe('what is wrong is told with what would be right', () => {
  test.each([
    [['--model', '2,64,4'], 'four whole numbers'],
    [['--model', '2,64,4,x'], 'four whole numbers'],
    [['--model', '2,,4,64'], 'four whole numbers'],
    [['--model', '2,64,5,64'], 'C (64) must be a multiple of NH (5)'],
    [['--model', '0,64,4,64'], 'L is 0; it may be from 1 to 96'],
    [['--arch', 'mamba'], '--arch takes gpt, gpt2, llama, experts, not "mamba"'],
    [['--arch', 'llama', '--model', '2,60,4,64'], 'rotary positions need an even C / NH'],
    [['--policy', 'f32'], '--policy takes i8sr, i10sr, i15, not "f32"'],
    [['--rounds', '0'], '--rounds takes a whole number from 1'],
    [['--rounds', '1.5'], 'not "1.5"'],
    [['--port', '70000'], '--port takes a whole number from 0 to 65535'],
    [['--lr', '-1'], '--lr'],
    [['--lr', 'fast'], '--lr takes a number above 0 and up to 1, not "fast"'],
    [['--local', '-2'], '--local'],
    [['--seed', '4294967296'], '--seed takes a whole number'],
    [['--round', '3'], '--help'],
    [['--data'], '--help'],
    [['3'], 'npm start -- --rounds 3'],
  ])('%j', (args, words) => {
    expect(() => parse(args)).toThrow(words);
    expect(() => parse(args)).toThrow(expect.objectContaining({ code: 'bad_config' }));
  });

  test('in the environment too', () => {
    expect(() => parse([], { ATOLL_LANES: 'many' })).toThrow('--lanes takes a whole number');
  });
});

test('the help names every option with its default', () => {
  for (const words of [
    '--data FILE',
    '--model L,C,NH,T',
    '[2,64,4,64]',
    '--no-chain',
    '--held-out N',
    'ATOLL_DATA_DIR',
  ]) {
    expect(helpText()).toContain(words);
  }
});
