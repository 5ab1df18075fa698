import { resolve } from 'node:path';
import type { DiskCacheChoice } from '../cache/open-disk-store.ts';
import type { Config } from '../config.ts';
import { defaultCacheDirectory } from '../state-directory.ts';

/** Where everything is that the program keeps and can have again, as an absolute path. */
export function cacheDirectoryOf(config: Config, options: { readonly cacheDir?: string }): string {
  return resolve(options.cacheDir ?? defaultCacheDirectory(config.cacheDirectory));
}

/** What `--cache-dir` and `--cache-size` say, with their defaults; undefined for no cache on disk. */
export function diskCacheOf(
  config: Config,
  options: { readonly cacheDir?: string; readonly cacheSize: number | 'none' },
): DiskCacheChoice | undefined {
  if (options.cacheSize === 'none') return undefined;
  const directory = cacheDirectoryOf(config, options);
  return { directory, maxBytes: options.cacheSize, isRequired: options.cacheDir !== undefined };
}
