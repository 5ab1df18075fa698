/** What is read, to be looked at after the call that has its parts. */
export const copied = (parts: readonly Uint8Array[]): Buffer => Buffer.concat(parts);
