import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { UserError } from '../errors.ts';
import type { MountStatus } from '../mount.ts';
import { findPlace } from './running-mounts.ts';

/** A folder in the staging area of a running mount. */
export interface StagedTarget {
  readonly mount: MountStatus;
  readonly bucket: string;
  /** The folder's name in `staging/`. */
  readonly folder: string;
}

const STAGING = 'staging';

/**
 * The staged folder that a path means.
 *
 * @returns undefined for a path that is in no staging area
 * @throws UserError for what is in one and is no dataset's folder
 */
export async function findStaged(path: string): Promise<StagedTarget | undefined> {
  const absolute = resolve(path);
  // The folder itself may be gone; whatever leads to it may be a link.
  const parent = await realpath(dirname(absolute)).catch(() => dirname(absolute));
  const full = join(parent, basename(absolute));
  const place = await findPlace(full);
  if (!place) return undefined;
  const { mount, bucket, names } = place;
  const [area, folder, ...rest] = names;
  if (bucket === undefined || area !== STAGING) return undefined;
  if (folder === undefined || rest.length > 0) {
    throw new UserError(
      `${path} is ${folder === undefined ? 'the staging area itself' : 'only a part of a staged folder'}`,
      `Give one of the folders directly in ${STAGING}/: each is a dataset.`,
    );
  }
  return { mount, bucket, folder };
}
