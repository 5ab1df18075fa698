import { type Stats } from 'node:fs';
import { lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Written {
  /** Relative to the directory that was walked. */
  readonly path: string;
  readonly stat: Stats;
  /** Empty for what is no regular file. */
  readonly content: Buffer;
}

/** Everything below a directory, except what is mounted there. */
export async function allWritten(directory: string): Promise<readonly Written[]> {
  const { dev } = await lstat(directory);
  const walk = async (path: string): Promise<readonly Written[]> => {
    const stat = await lstat(join(directory, path));
    if (stat.dev !== dev) return [];
    const content = stat.isFile() ? await readFile(join(directory, path)) : Buffer.alloc(0);
    const below = stat.isDirectory() ? await readdir(join(directory, path)) : [];
    const found = await Promise.all(below.map(async (name) => walk(join(path, name))));
    return [{ path, stat, content }, ...found.flat()];
  };
  return walk('.');
}
