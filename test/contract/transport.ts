import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, test } from 'vitest';
import type { ReceiveMode } from '../../src/fuse/transport/kernel/receive/receiver.ts';
import type { TransportName } from '../../src/fuse/transport/transport.ts';
import type { CompiledProgram } from '../support/run-typescript.ts';
import { mountObstacle } from '../support/test-mounts.ts';
import { compileTransportProgram, TransportMount } from '../support/transport-mount.ts';
import { describeAttributes } from './transport/attributes.ts';
import { describeContent } from './transport/content.ts';
import { describeDirectories } from './transport/directories.ts';
import { describeErrors } from './transport/errors.ts';
import { describeNames } from './transport/names.ts';
import type { Place } from './transport/place.ts';
import { describePrograms } from './transport/programs.ts';
import { describeSignals } from './transport/signals.ts';
import type { Deviation } from './transport-deviations.ts';
import { describeLikeness } from './transport-property.ts';

export interface TransportContract {
  readonly transport: TransportName;
  readonly receive: ReceiveMode;
  /** What changes are made to. */
  readonly tree: 'memory' | 'staging';
  readonly slowDisk?: boolean;
  /** What the transport is known not to do right. */
  readonly deviations: ReadonlySet<Deviation>;
}

const obstacle = mountObstacle();

/** Compiled once for all suites of a file. */
let compiled: Promise<CompiledProgram> | undefined;
afterAll(async () => (await compiled)?.remove());

/** What a transport has to do on a real mount: of a tree that everything can be done to, and of one nothing can. */
export function describeTransport(name: string, contract: TransportContract): void {
  const deviates = (deviation: Deviation): boolean => contract.deviations.has(deviation);

  describe.skipIf(obstacle !== '')(`${name}${obstacle}`, () => {
    let mount: TransportMount;
    let readOnly: TransportMount;
    let stagingDirectory: string;
    let directories = 0;
    /** A new directory of the mount for each test. */
    let root: string;
    const at = (path: string): string => join(root, path);

    beforeAll(async () => {
      compiled ??= compileTransportProgram();
      const program = await compiled;
      stagingDirectory = await fs.mkdtemp(join(tmpdir(), 'transport-staging-'));
      mount = await TransportMount.start(program.path, { ...contract, stagingDirectory });
      readOnly = await TransportMount.start(program.path, { ...contract, tree: 'synthetic' });
    });
    afterAll(async () => {
      try {
        await Promise.all([mount.stop(), readOnly.stop()]);
      } finally {
        await fs.rm(stagingDirectory, { recursive: true });
      }
    });
    beforeEach(async () => {
      directories += 1;
      root = join(mount.path, `test-${directories}`);
      await fs.mkdir(root);
    });

    const place: Place = {
      contract,
      deviates,
      at,
      get root() {
        return root;
      },
      get mount() {
        return mount;
      },
      get readOnly() {
        return readOnly;
      },
    };
    describeContent(place);
    describeNames(place);
    describeDirectories(place);
    describeAttributes(place);
    describeErrors(place);
    describePrograms(place);
    describeSignals(place);
    describeLikeness(() => root, deviates);

    test('in the end nothing is open', async () => {
      await mount.until(({ openHandles }) => openHandles === 0);
    });
  });
}
