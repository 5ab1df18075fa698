import { execFile } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { BenchBucket } from '../bench-bucket.ts';
import { requestsOf } from '../mounts.ts';
import { largeItem, smallFiles } from '../prepared.ts';
import { DTOOL } from '../real-dtool.ts';
import type { Figure, RowOf } from '../row.ts';
import { atMost, timesAsGood } from '../target.ts';
import { DELAY_MS, type World } from '../world.ts';

/** By then a mount has found the hashes of what was copied into it, and the store has dropped what was deleted. */
const SETTLED_AFTER_MS = 8_000;
const PLAIN_UPLOAD = resolve(import.meta.dirname, '../plain-upload.js');

export const freezeLarge: RowOf = ({ largeBytes }) => {
  const title = `freeze of ${largeBytes / 2 ** 20} MiB in one file`;
  const limit = 'plain SDK upload';
  return {
    name: 'freeze-large',
    lines: {
      staged: {
        title: `${title}, staged in a mount some seconds before`,
        unit: 's',
        better: 'less',
        limit,
        target: timesAsGood('staged', 'less', 0.8, ['limit'], '0.8 of the plain upload'),
      },
      direct: {
        title: `${title}, of a directory`,
        unit: 's',
        better: 'less',
        limit,
        target: timesAsGood('direct', 'less', 0.8, ['limit'], '0.8 of the plain upload'),
      },
    },
    async measure(world, subject) {
      if (subject !== 'ours' && subject !== 'limit') return undefined;
      const { folder, local } = await largeItem(world, largeBytes);
      const bucket = await world.bucket('freezes');
      try {
        await settled();
        if (subject === 'limit') {
          const upload = [PLAIN_UPLOAD, local, world.endpoint(false), bucket.name, 'plain'] as const;
          const seconds = await world.command(bucket, { isSlow: false }, process.execPath, ...upload);
          return { staged: seconds, direct: seconds };
        }
        const { seconds: staged } = await stagedFreeze(world, bucket, folder);
        await bucket.empty();
        await settled();
        return { staged, direct: await world.freeze(bucket, false, folder) };
      } finally {
        await bucket.empty();
      }
    },
  };
};

export const freezeSmall: RowOf = ({ frozenItems: count }) => {
  const title = `freeze of ${count.toLocaleString('en')} small items`;
  return {
    name: 'freeze-small',
    lines: {
      fast: {
        title,
        unit: 's',
        better: 'less',
        target: timesAsGood('fast', 'less', 20, ['dtool'], '20 times dtool'),
      },
      slow: {
        title: `${title}, ${DELAY_MS} ms`,
        unit: 's',
        better: 'less',
        target: timesAsGood('slow', 'less', 20, ['dtool'], '20 times dtool'),
      },
      requests: { title, unit: 'requests', better: 'less', target: atMost('requests', count + 20) },
    },
    async measure(world, subject) {
      const bucket = await world.bucket('freezes');
      const folder = await smallFiles(world, count);
      const both = async (
        freeze: (isSlow: boolean) => Promise<Figure>,
      ): Promise<{ fast: Figure; slow: Figure }> => {
        const fast = await freeze(false);
        await bucket.empty();
        return { fast, slow: await freeze(true) };
      };
      try {
        const dtool = subject === 'dtool' ? DTOOL : undefined;
        if (dtool) return await both(async (isSlow) => dtool.copy(world, bucket, isSlow, folder));
        if (subject !== 'ours') return undefined;
        const { requests } = await stagedFreeze(world, bucket, folder);
        await bucket.empty();
        return { ...(await both(async (isSlow) => world.freeze(bucket, isSlow, folder))), requests };
      } finally {
        await bucket.empty();
      }
    },
  };
};

/**
 * Waits until the disk and the store have done what they still had to do. All wait before they are measured: who comes at once
 * is given the memory that the store has just given up, and who comes later has to wait for new memory.
 */
async function settled(): Promise<void> {
  await sleep(SETTLED_AFTER_MS);
  await promisify(execFile)('sync');
}

/** Copies a directory into a mount and freezes it there, once the mount has found the hashes. */
async function stagedFreeze(
  world: World,
  bucket: BenchBucket,
  folder: string,
): Promise<{ readonly seconds: Figure; readonly requests: number }> {
  const mount = await world.mount('ours', { bucket });
  if (!mount) throw new Error('our mount is not there');
  try {
    const staged = join(mount.path, 'staging', 'staged');
    cpSync(folder, staged, { recursive: true });
    await settled();
    const before = await requestsOf(mount);
    const seconds = await world.cli(bucket, false, 'freeze', staged);
    return { seconds, requests: (await requestsOf(mount)) - before };
  } finally {
    await mount.close();
  }
}
