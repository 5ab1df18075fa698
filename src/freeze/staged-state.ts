import type { JournalEntry } from './journal.ts';
import type { FreezeProgress } from './progress.ts';

/**
 * How far a staged folder is: open → sealing → uploading → committing → frozen, or failed, whence a further freeze
 * goes on. All of it but `open` is in the journal, so whatever ends the process, the next one knows.
 */
export type StagedState =
  | { readonly state: 'open' }
  | {
      readonly state: 'sealing' | 'uploading' | 'committing';
      readonly progress: FreezeProgress | undefined;
      readonly uuid: string | undefined;
    }
  | { readonly state: 'frozen'; readonly uuid: string | undefined }
  | {
      readonly state: 'failed';
      readonly reason: string;
      readonly advice: string | undefined;
      /** Undefined where nothing was uploaded. */
      readonly uuid: string | undefined;
    };

/** What a journal says of a folder that no freeze of this process is busy with. */
export function stateOf(entry: JournalEntry | undefined): StagedState {
  if (!entry) return { state: 'open' };
  const { uuid } = entry;
  if (entry.state === 'frozen') return { state: 'frozen', uuid };
  const { reason = 'it was interrupted', advice = 'Freeze it again: it goes on from there.' } = entry;
  return { state: 'failed', reason, advice, uuid };
}
