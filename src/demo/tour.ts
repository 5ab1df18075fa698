import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FsError } from '../errors.ts';

/** A command of the tour, and what its output must tell when the tour is a check. */
interface Step {
  readonly says: string;
  readonly command: string;
  /** @throws when the output is not as it must be */
  readonly expect: (result: StepResult) => void | Promise<void>;
}

export interface StepResult {
  readonly output: string;
  readonly exitCode: number | null;
}

/** What the tour is taken in. */
export interface TourSurroundings {
  readonly mountpoint: string;
  /** A directory with a few files, to be made a dataset of. */
  readonly results: string;
  /** Shell command that runs this program. */
  readonly program: string;
  readonly bucket: string;
  /** Variables that the commands get besides ours. */
  readonly env: Readonly<Record<string, string>>;
  /** Hears what happens, line by line. */
  readonly say: (line: string) => void;
}

const LINES_SHOWN_MAX = 14;

/** The steps that look at the bucket without a mount. */
export function listingSteps({ program, bucket }: TourSurroundings): readonly Step[] {
  return [
    {
      says: 'The datasets of the bucket, straight from the store:',
      command: `${program} ls ${bucket}`,
      expect: includes('rnaseq-2026', 'leaf-imaging', 'md-trajectories~4e5f6071', 'not frozen'),
    },
  ];
}

/** The steps that walk through the mount. */
export function mountSteps(surroundings: TourSurroundings): readonly Step[] {
  const { mountpoint, program, results } = surroundings;
  const dataset = join(mountpoint, 'rnaseq-2026');
  const reads = join(dataset, 'data/reads/drought-1/drought-1_R1.fastq');
  return [
    {
      says: 'The bucket as a directory:',
      command: `ls -l ${mountpoint}`,
      expect: includes('rnaseq-2026', 'leaf-imaging', 'md-trajectories', 'md-trajectories~4e5f6071'),
    },
    {
      says: 'A dataset describes itself:',
      command: `cat ${dataset}/README.yml`,
      expect: includes('RNA-seq of barley'),
    },
    {
      says: 'Its items are files at the paths that they were uploaded from:',
      command: `find ${dataset}/data -type f -printf '%10s  %P\\n' | sort -k2`,
      expect: includes(
        'reads/control-1/control-1_R1.fastq',
        'counts/gene-counts.csv',
        'sample sheet (final).csv',
      ),
    },
    {
      says: 'Programs read what they need, and no more is fetched:',
      command: `head -n 4 ${reads}`,
      expect: includes('@drought-1:1/1\n'),
    },
    {
      says: 'Every byte is as the manifest says:',
      command: `md5sum ${reads}; grep -B 1 'reads/drought-1/drought-1_R1.fastq' ${dataset}/.dtool/manifest.json`,
      expect: async ({ output }) => {
        const [md5 = 'none'] = output.split(' ');
        const manifest = await readFile(join(dataset, '.dtool/manifest.json'), 'utf8');
        const content = createHash('md5')
          .update(await readFile(reads))
          .digest('hex');
        if (md5 !== content || !manifest.includes(`"hash": "${md5}"`)) throw new Error('the MD5 is another');
      },
    },
    {
      says: 'Tags, annotations and overlays are files, too:',
      command: `cd ${dataset}/.dtool && ls tags && head annotations/*.json overlays/treatment.json`,
      expect: includes('barley', 'rnaseq', 'Hordeum vulgare', '"drought"'),
    },
    {
      says: 'A picture, by the name that never changes:',
      command: `file -L ${mountpoint}/.uuid/2c3d4e5f-6071-4829-93a4-b5c6d7e8f90a/data/plate-A/day-07/leaf.png 2>/dev/null || head -c 8 ${mountpoint}/.uuid/2c3d4e5f-6071-4829-93a4-b5c6d7e8f90a/data/plate-A/day-07/leaf.png | od -c`,
      expect: includes('P', 'N', 'G'),
    },
    {
      says: 'Frozen means frozen:',
      command: `touch ${dataset}/data/new-file`,
      expect: ({ output, exitCode }) => {
        if (exitCode === 0 || !output.includes('Read-only file system'))
          throw new Error('it could be changed');
      },
    },
    {
      says: 'To make a dataset, copy a directory into staging …',
      command: `cp -r ${results} ${mountpoint}/staging/ && find ${mountpoint}/staging -type f`,
      expect: includes('staging/barley-heights/heights.csv', 'staging/barley-heights/README.yml'),
    },
    {
      says: '… where it can be worked on like any other …',
      command: `cd ${mountpoint}/staging/barley-heights && sed -i 's/pale/green/' notes/day-1.txt && cat notes/day-1.txt`,
      expect: includes('Leaves green.'),
    },
    {
      says: '… and freeze it:',
      command: `${program} freeze ${mountpoint}/staging/barley-heights`,
      expect: includes('barley-heights: 2 items', 'frozen as ecs://lab/'),
    },
    {
      says: 'It stands beside the others, and the staging area is empty again:',
      command: `ls ${mountpoint} ${mountpoint}/staging; cat ${mountpoint}/barley-heights/data/notes/day-1.txt`,
      expect: includes('barley-heights\n', `${mountpoint}/staging:\nLeaves green.`),
    },
    {
      says: 'What the mount did for this:',
      command: `${program} status`,
      expect: includes(mountpoint, 'requests'),
    },
  ];
}

/**
 * Takes the steps one by one and shows what a user would see.
 *
 * @throws FsError naming the first step whose outcome is not as it must be
 */
export async function takeSteps(
  steps: readonly Step[],
  { env, say, program }: TourSurroundings,
): Promise<void> {
  for (const { says, command, expect } of steps) {
    say(`\n${says}`);
    say(`$ ${command.replaceAll(program, 'dtool-ecs-mount')}`);
    const result = await runShell(command, env);
    const lines = result.output.trimEnd().split('\n');
    for (const line of lines.slice(0, LINES_SHOWN_MAX)) say(line);
    if (lines.length > LINES_SHOWN_MAX) say(`… ${lines.length - LINES_SHOWN_MAX} more lines`);
    try {
      await expect(result);
    } catch (error) {
      throw new FsError('EIO', `the demo went wrong at "${command}": ${String(error)}`, { cause: error });
    }
  }
}

function includes(...texts: readonly string[]): (result: StepResult) => void {
  return ({ output, exitCode }) => {
    if (exitCode !== 0) throw new Error(`it ended with exit code ${exitCode}`);
    for (const text of texts) {
      if (!output.includes(text)) throw new Error(`the output lacks ${JSON.stringify(text)}`);
    }
  };
}

function runShell(command: string, env: Readonly<Record<string, string>>): Promise<StepResult> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', command], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const add = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on('data', add);
    child.stderr.on('data', add);
    child.once('error', reject);
    child.once('close', (exitCode) => resolve({ output, exitCode }));
  });
}
