import { MESSAGE_MAX_BYTES } from './receiver.ts';

/**
 * The memory that the reader thread and the main thread share: slots that messages are read into, used in turn, and a
 * word for each that says whose it is. One more word tells the reader to stop.
 */

/** Messages read ahead of the main thread. */
export const SLOTS = 4;
/** Values of a slot's word. */
export const FREE = 0;
export const FULL = 1;
/** The word that is not zero when the reader is to stop. */
export const STOP_WORD = SLOTS;

export interface SlotMemory {
  readonly messages: SharedArrayBuffer;
  /** Int32Array of {@link SLOTS} words and the stop word. */
  readonly words: SharedArrayBuffer;
}

export function createSlotMemory(): SlotMemory {
  return {
    messages: new SharedArrayBuffer(SLOTS * MESSAGE_MAX_BYTES),
    words: new SharedArrayBuffer((SLOTS + 1) * Int32Array.BYTES_PER_ELEMENT),
  };
}

/** What the reader thread is started with. */
export interface ReaderData extends SlotMemory {
  readonly fd: number;
}
