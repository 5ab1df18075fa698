import { messageOf, UserError } from '../errors.ts';
import { StoreError } from '../ecs/object-store.ts';
import { adviceFor } from '../ecs/store-advice.ts';
import type { FreezeResult } from './freeze.ts';
import type { FreezeProblem, FreezeRefused } from './problems.ts';

/** How a freeze ended. Plain data that survives JSON. */
export type StagedResult =
  | FreezeResult
  | {
      readonly outcome: 'refused';
      readonly message: string;
      /** The first of them. */
      readonly problems: readonly FreezeProblem[];
      readonly count: number;
    };

/** A folder by the name that the user knows, and by its path on the local disk, which is not to be shown. */
interface FolderShown {
  readonly name: string;
  readonly path: string;
}

type Refusal = Extract<StagedResult, { outcome: 'refused' }>;

/** A refusal of a directory that the user has named by its path. */
export function refusedResult({ message, problems, count }: FreezeRefused): Refusal {
  return { outcome: 'refused', message, problems, count };
}

/** A refusal in terms of what the user sees: where the folder is on the local disk is not among them. */
export function refusedTo(folder: FolderShown, error: FreezeRefused): Refusal {
  const shown = (text: string): string => text.replaceAll(folder.path, folder.name);
  return {
    outcome: 'refused',
    message: shown(error.message),
    problems: error.problems.map(({ path, reason }) => ({ path: shown(path), reason: shown(reason) })),
    count: error.count,
  };
}

/** For who did not see the problems one by one: `status`, and whoever renamed the folder. */
export function summaryOf({ message, problems: [first], count }: Refusal): UserError {
  return new UserError(
    first
      ? `${message}: ${first.path} ${first.reason}${count > 1 ? `; and ${count - 1} more` : ''}`
      : message,
    'dtool-ecs-mount freeze --dry-run tells all that is wrong with it.',
  );
}

/** An error in terms of what the user sees: the folder by its name, and what to do. */
export function toldTo(folder: FolderShown, error: unknown): UserError {
  const message = messageOf(error).replaceAll(folder.path, folder.name);
  const goOn = 'Freeze it again: it goes on from there.';
  if (error instanceof StoreError) {
    const advice = `${adviceFor(error.reason, error.bucket) ?? ''} ${goOn}`.trim();
    return new UserError(`freezing ${folder.name} did not come to its end: ${message}`, advice, {
      cause: error,
    });
  }
  return new UserError(message, error instanceof UserError ? error.advice : goOn, { cause: error });
}
