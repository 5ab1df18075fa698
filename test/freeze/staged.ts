import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pino } from 'pino';
import { systemClock } from '../../src/clock.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import {
  StagedFreezes,
  type StagedFreezesOptions,
  type StagedFolder,
} from '../../src/freeze/staged-freezes.ts';
import { inlineHasher, USER } from './support.ts';

/** A staged folder whose changes are made by the test, which is told whether they may be. */
export class FakeFolder implements StagedFolder {
  name: string;
  readonly path: string;
  open: string[] = [];
  readonly failures = new Map<string, string>();
  sealed = false;
  /** All that was asked of it. */
  readonly calls: string[] = [];

  constructor(path: string) {
    this.path = path;
    this.name = basename(path);
  }

  writers(): readonly string[] {
    return this.open;
  }

  async failed(): Promise<ReadonlyMap<string, string>> {
    return this.failures;
  }

  async seal(): Promise<void> {
    this.calls.push('seal');
    this.sealed = true;
  }

  unseal(): void {
    this.calls.push('unseal');
    this.sealed = false;
  }

  async remove(): Promise<void> {
    if (!this.sealed) throw new Error('removed without a seal');
    this.calls.push('remove');
    await rm(this.path, { recursive: true });
  }
}

export const journalsOf = (folder: StagedFolder): string => join(dirname(folder.path), 'journals');

export async function journalNames(folder: StagedFolder): Promise<readonly string[]> {
  return readdir(journalsOf(folder)).catch(() => []);
}

/** The freezes of one process. */
export function freezesOf(
  store: ObjectStore,
  folder: StagedFolder,
  more: Partial<StagedFreezesOptions> = {},
): StagedFreezes {
  return new StagedFreezes({
    store,
    endpoint: 'http://store.example',
    writePrefix: '',
    journals: journalsOf(folder),
    user: USER,
    hasher: inlineHasher,
    clock: systemClock,
    log: pino({ level: 'silent' }),
    onLanded: async () => {},
    ...more,
  });
}
