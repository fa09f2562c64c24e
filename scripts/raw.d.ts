/** `import text from './file?raw'`: the file's text. Vite does it in the page, `scripts/raw-hooks.ts` in Node. */
declare module '*?raw' {
  const text: string;
  export default text;
}
