import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sampleDatasets } from '../../src/demo/sample-datasets.ts';
import { type Mounted, mount, mountObstacle } from '../support/mounted.ts';
import { type TestBucket, createTestBucket } from '../support/test-bucket.ts';

interface Example {
  readonly command: string;
  readonly output: string;
}

/** The commands of every ```console block, each with the lines up to the next one. */
function examplesOf(document: string): readonly Example[] {
  const blocks = Array.from(document.matchAll(/```console\n(.*?)```/gs), ([, block = '']) => block);
  return blocks.flatMap((block) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((example) => {
        const [command = '', ...output] = example.split('\n');
        return { command, output: output.join('\n') };
      }),
  );
}

const examples = examplesOf(readFileSync(resolve(import.meta.dirname, '../../SEMANTICS.md'), 'utf8'));

test('SEMANTICS.md has examples', () => {
  expect(examples.length).toBeGreaterThanOrEqual(10);
});

describe.skipIf(mountObstacle !== undefined)('the examples in SEMANTICS.md', () => {
  let bucket: TestBucket;
  let mounted: Mounted;
  beforeAll(async () => {
    bucket = await createTestBucket();
    for (const dataset of sampleDatasets()) await bucket.putDataset(dataset);
    mounted = await mount(bucket.env, [bucket.bucket]);
  });
  afterAll(async () => {
    await mounted?.close();
    await bucket?.close();
  });

  for (const { command, output } of examples) {
    test(command, async () => {
      const result = await mounted.user.exec(
        'bash',
        '-c',
        `cd ${mounted.path} && export LC_ALL=C; ${command}`,
      );
      expect((result.stdout + result.stderr).trimEnd()).toBe(output.trimEnd());
    });
  }
});
