import { KERNEL_REQUEST_MAX_BYTES } from '../../../limits.ts';
import { OutHeader } from './abi/replies.ts';

/**
 * The one buffer in which replies are made: header, then body. It is filled and written without a wait in between, so
 * requests can share it.
 */
export const replyBytes: Buffer = Buffer.from(new ArrayBuffer(OutHeader.size + KERNEL_REQUEST_MAX_BYTES));
export const replyView = new DataView(replyBytes.buffer);
/** Its header alone. */
export const replyHead: Buffer = replyBytes.subarray(0, OutHeader.size);
/** Where the body starts. */
export const REPLY_BODY = OutHeader.size;
/** The longest body. */
export const REPLY_BODY_MAX_BYTES = KERNEL_REQUEST_MAX_BYTES;
