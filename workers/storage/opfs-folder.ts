/** The name of the folder of blocks in the browser's own file system: all tabs of an origin use the same one. */
export const opfsFolder = 'atoll-blocks';
