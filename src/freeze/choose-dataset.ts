import type { DatasetUuid } from '../ecs/dtool/keys.ts';
import { isCommit } from './committed-dataset.ts';
import type { FreezeOptions } from './freeze.ts';
import { hashItems, type ItemMd5s } from './item-md5.ts';
import type { JournalEntry } from './journal.ts';
import { contentDigest, type FreezePlan } from './plan.ts';
import { type FreezeProgress, ProgressCounter } from './progress.ts';
import { alreadyFrozen, findDataset, type RegisteredDataset } from './registration.ts';

export interface Choice {
  /** Undefined where one is to be drawn. */
  readonly uuid: DatasetUuid | undefined;
  readonly registered: RegisteredDataset | undefined;
  /** Whether what the bucket has of the dataset can only come from a freeze of this directory by us. */
  readonly trusted: boolean;
  /** Of the commit, where an earlier freeze has committed what the directory has now. */
  readonly committed?: {
    readonly at: number;
    readonly registered: RegisteredDataset;
    readonly uuid: DatasetUuid;
    readonly md5s: ItemMd5s;
  };
}

/** Which dataset the directory becomes: the one that was begun, that of its own uuid, or a new one. */
export async function chooseDataset(
  plan: FreezePlan,
  entry: JournalEntry | undefined,
  { store, hasher, signal }: FreezeOptions,
  onProgress: (progress: FreezeProgress) => void,
): Promise<Choice> {
  const earlier = plan.uuid === undefined || plan.uuid === entry?.uuid ? entry : undefined;
  const uuid = plan.uuid ?? earlier?.uuid;
  const registered = uuid && (await findDataset(store, uuid, signal));
  const fresh = { uuid: plan.uuid, registered: undefined, trusted: true };
  if (uuid === undefined) return fresh;
  if (registered?.admin?.type === 'dataset') {
    const at = earlier?.frozenAt;
    if (at !== undefined && isCommit(registered.admin, at)) {
      const { items } = plan.source;
      const checked = new ProgressCounter('checking', items.length, plan.totalBytes, onProgress);
      const md5s =
        plan.source.kind === 'frozen'
          ? plan.md5s
          : await hashItems(items, hasher, signal, ({ size }) => checked.add({ items: 1, bytes: size }));
      if ((await contentDigest(plan, md5s)) === earlier?.content)
        return { uuid, registered, trusted: true, committed: { at, registered, uuid, md5s } };
    }
    // The directory has changed since: what it has now is another dataset.
    if (plan.uuid === undefined && earlier?.content !== undefined) return fresh;
    throw alreadyFrozen(store.bucket, uuid);
  }
  // One that was frozen and is no more was deleted on purpose, as was one that is not registered any more.
  const begun = earlier?.state === 'frozen' ? undefined : earlier;
  if (plan.uuid === undefined && !(begun && registered)) return fresh;
  return { uuid, registered, trusted: begun !== undefined };
}
