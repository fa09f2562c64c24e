/** Where a command's words go, with colour only where somebody looks on and has nothing against it. */

export interface Output {
  print(line: string): void;
  /** For what is no result: hints and errors. */
  note(line: string): void;
  readonly isTerminal: boolean;
  bold(text: string): string;
  dim(text: string): string;
  /** `code` is an SGR colour. */
  colour(code: number, text: string): string;
}

interface Stream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export function terminalOutput(stdout: Stream, stderr: Stream, env: NodeJS.ProcessEnv): Output {
  const isTerminal = stdout.isTTY === true;
  const isColoured = isTerminal && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
  const sgr = (code: number) => (text: string) => (isColoured ? `\x1b[${code}m${text}\x1b[0m` : text);
  return {
    print: (line) => void stdout.write(`${line}\n`),
    note: (line) => void stderr.write(`${line}\n`),
    isTerminal,
    bold: sgr(1),
    dim: sgr(2),
    colour: (code, text) => sgr(code)(text),
  };
}
