import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { datasetObjects } from '../demo/dataset-objects.ts';
import { type S3Server, startS3Server } from '../demo/s3/server.ts';
import { sampleDatasets } from '../demo/sample-datasets.ts';
import { type TourSurroundings, listingSteps, mountSteps, takeSteps } from '../demo/tour.ts';
import { UserError } from '../errors.ts';
import { fuseObstacle } from '../fuse/session.ts';
import { print, styled } from './terminal.ts';

export interface DemoCommandOptions {
  readonly check: boolean;
  readonly serverOnly: boolean;
  readonly port: number;
  readonly data?: string;
}

const BUCKET = 'lab';

/**
 * Starts an S3 server with sample datasets on the loopback interface and, unless only that is asked for, mounts it in
 * a fresh directory, walks through it, and waits for Ctrl-C. Leaves nothing behind but the directory of `--data`.
 *
 * @throws UserError when it can't be mounted; FsError in a check when a step goes wrong
 */
export async function demoCommand(options: DemoCommandOptions): Promise<void> {
  const user = { name: 'demo', accessKeyId: 'demo', secretAccessKey: randomBytes(16).toString('hex') };
  const server = await startS3Server({
    port: options.port,
    users: [user],
    buckets: [BUCKET],
    ...(options.data === undefined ? {} : { data: options.data }),
  });
  try {
    await fill(server);
    const env = {
      [`DTOOL_ECS_ENDPOINT_${BUCKET}`]: server.endpoint,
      [`DTOOL_ECS_ACCESS_KEY_ID_${BUCKET}`]: user.accessKeyId,
      [`DTOOL_ECS_SECRET_ACCESS_KEY_${BUCKET}`]: user.secretAccessKey,
    };
    if (options.serverOnly) await serve(env);
    else await mountAndTour(env, options.check);
  } finally {
    await server.close();
  }
}

async function fill(server: S3Server): Promise<void> {
  for (const dataset of sampleDatasets()) {
    for (const { key, body, metadata } of datasetObjects(dataset)) {
      await server.putObject(BUCKET, key, body, metadata ? { metadata } : {});
    }
  }
}

async function serve(env: Readonly<Record<string, string>>): Promise<void> {
  print(`Serving the bucket ${BUCKET} until Ctrl-C. In another shell:\n`);
  for (const [name, value] of Object.entries(env)) print(`export ${name}=${value}`);
  print(`dtool-ecs-mount ls ${BUCKET}`);
  await untilInterrupted();
}

async function mountAndTour(env: Readonly<Record<string, string>>, check: boolean): Promise<void> {
  const mountpoint = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-demo-'));
  const state = await mkdtemp(join(tmpdir(), 'dtool-ecs-mount-demo-state-'));
  const [script = ''] = process.argv.slice(1);
  const results = join(state, 'barley-heights');
  await makeResults(results);
  const surroundings: TourSurroundings = {
    mountpoint,
    results,
    bucket: BUCKET,
    program: `${shellQuoted(process.execPath)} ${shellQuoted(script)}`,
    // The demo's sockets and logs stay out of the way of the user's own mounts.
    env: { ...env, XDG_RUNTIME_DIR: state, XDG_STATE_HOME: state },
    say: (line) => print(line.startsWith('$ ') ? styled('bold', line) : line),
  };
  try {
    await takeSteps(listingSteps(surroundings), surroundings);
    const obstacle = await fuseObstacle();
    if (obstacle !== undefined) {
      print(`\nSKIPPED: everything that needs a mount, because ${obstacle.reason}. ${obstacle.advice}`);
      return;
    }
    const run = async (...args: string[]): Promise<void> => {
      await promisify(execFile)(process.execPath, [script, ...args], {
        env: { ...process.env, ...surroundings.env },
      }).catch((error: unknown) => {
        throw new UserError(`the demo could not ${args[0]}: ${String(error)}`);
      });
    };
    await run('mount', BUCKET, mountpoint);
    try {
      await takeSteps(mountSteps(surroundings), surroundings);
      if (check) print('\nEvery step went as it should.');
      else {
        print(`\nLook around in ${styled('bold', mountpoint)} from another shell. Ctrl-C ends the demo.`);
        await untilInterrupted();
      }
    } finally {
      await run('umount', mountpoint);
    }
  } finally {
    await rmdir(mountpoint);
    await rm(state, { recursive: true });
  }
}

/** What somebody has measured. */
async function makeResults(directory: string): Promise<void> {
  await mkdir(join(directory, 'notes'), { recursive: true });
  const files = {
    'README.yml': 'description: heights of barley, measured by hand\nproject: demo\n',
    'heights.csv': 'plot,height_cm\n1,62\n2,58\n3,65\n',
    'notes/day-1.txt': 'Leaves pale.\n',
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
}

function untilInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
}

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
