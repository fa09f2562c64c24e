/**
 * What an option of the headless contributor may take: its text parsed to a value, or refused in words that name the option and what it takes.
 *
 * Every value comes as text, from a flag, the environment or the file (whose numbers and switches are texts before they come here).
 */
import { AtollError } from '#protocol/errors.ts';
import { contributeUrl } from '../transport/web-socket.ts';
import { parseDataMax } from './ops/data-cap.ts';
import { parseSchedule } from './ops/schedule.ts';

export interface Kind<T> {
  /** What help shows behind the flag; none for a switch. */
  takes?: string;
  /** The values that JSON may give besides text. */
  json?: 'number' | 'boolean' | 'list';
  /** A path: the file's is taken from the file's folder. */
  isPath?: true;
  parse(text: string, flag: string): T;
  /** As `config print` shows it; the text itself unless given. */
  redact?(text: string): string;
}

/** A setting that cannot be used; the hint is added once. */
export function badConfig(message: string): AtollError {
  return new AtollError('bad_config', `${/[.?]$/.test(message) ? message : `${message}.`} See --help.`);
}

export const toggle: Kind<boolean> = {
  json: 'boolean',
  parse(text, flag) {
    if (text === 'true' || text === '1') return true;
    if (text === 'false' || text === '0' || text === '') return false;
    throw badConfig(`${flag} is a switch: true or false`);
  },
};

export function choice<const Names extends readonly string[]>(...names: Names): Kind<Names[number]> {
  const words = `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
  return {
    takes: 'CHOICE',
    parse(text, flag) {
      if (names.includes(text)) return text as Names[number];
      throw badConfig(`${flag} must be ${words}`);
    },
  };
}

/** A whole number within bounds; `words` says it where "from .. to .." does not. */
export function whole(
  min: number,
  max: number,
  words = `a whole number from ${min} to ${max}`,
): Kind<number> {
  return {
    takes: 'N',
    json: 'number',
    parse(text, flag) {
      const value = Number(text);
      if (/^\d{1,15}$/.test(text) && value >= min && value <= max) return value;
      throw badConfig(`${flag} takes ${words}`);
    },
  };
}

export function text(takes: string, pattern: RegExp, words: string): Kind<string> {
  return {
    takes,
    parse(value, flag) {
      if (pattern.test(value)) return value;
      throw badConfig(`${flag} takes ${words}`);
    },
  };
}

export function file(takes: string): Kind<string> {
  return {
    takes,
    isPath: true,
    parse(value, flag) {
      if (value !== '' && value.length <= 4096 && !value.includes('\0')) return value;
      throw badConfig(`${flag} takes a path`);
    },
  };
}

/** An http(s) address; a password in it is not printed. */
export const address: Kind<string> = {
  takes: 'URL',
  parse(value) {
    contributeUrl(value); // says what is wrong with it
    return value;
  },
  redact(value) {
    const url = URL.parse(value);
    if (!url || (!url.username && !url.password && !url.search)) return value;
    const who = url.username || url.password ? '<redacted>@' : '';
    return `${url.protocol}//${who}${url.host}${url.pathname}${url.search ? '?<redacted>' : ''}`;
  },
};

const gpuPattern = /^(\d{1,3}|(GPU|MIG)-[0-9A-Za-z/-]{4,60})$/;
const gpuWords = 'an index such as 0, or a UUID as nvidia-smi -L shows it (GPU-... or MIG-...)';

/** One graphics processor. */
export const oneGpu = text('ID', gpuPattern, gpuWords);

/** With `0:1` for an instance of a processor. */
const gpusPattern = /^(\d{1,3}(:\d{1,3})?|(GPU|MIG)-[0-9A-Za-z/-]{4,60})$/;

/** Several of them, none twice; `all` stands for itself, and nothing is `none`. */
export const manyGpus: Kind<readonly string[]> = {
  takes: 'LIST',
  json: 'list',
  parse(value, flag) {
    if (value === 'all') return ['all'];
    if (value === 'none') return [];
    const ids = value.split(',').map((id) => id.trim());
    if (ids.length > 64 || !ids.every((id) => gpusPattern.test(id))) {
      throw badConfig(`${flag} takes all, none, or a list with commas, each ${gpuWords}`);
    }
    if (new Set(ids).size < ids.length) throw badConfig(`${flag} names a graphics processor twice`);
    return ids;
  },
};

/** Hours of work, in local time. */
export const hours: Kind<string> = {
  takes: 'HOURS',
  parse(value) {
    parseSchedule(value);
    return value;
  },
};

/** Caps on data, by day or month. */
export const dataCaps: Kind<string> = {
  takes: 'CAPS',
  parse(value) {
    parseDataMax(value);
    return value;
  },
};
