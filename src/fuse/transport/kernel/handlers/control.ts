import { UserError } from '../../../../errors.ts';
import { KERNEL_BACKGROUND_REQUESTS_MAX, KERNEL_REQUEST_MAX_BYTES } from '../../../../limits.ts';
import { InitFlag, InitFlag2, PROTOCOL } from '../abi/flags.ts';
import { InitOut } from '../abi/replies.ts';
import { InitIn, InitInMore, InterruptIn, NotifyReplyIn } from '../abi/requests.ts';
import { REPLY_BODY, replyBytes, replyView } from '../reply-buffer.ts';
import { BODY, type Request } from '../request.ts';
import { errnoOfCode } from '../../../errno.ts';
import type { Handler } from './handler.ts';

/** The kernel's unit for `max_pages`. */
const PAGE_BYTES = 4096;
/** At this part of the background requests in use the kernel takes the mount for congested; libfuse's figure. */
const CONGESTION = 0.75;

/**
 * HANDLE_KILLPRIV_V2: we take set-user-id away where the kernel says so; without it the kernel asks for the attribute
 * `security.capability` before every write.
 *
 * Not ASYNC_DIO: it lets O_DIRECT readers wait where no signal reaches them, SIGKILL included. Not DONT_MASK: modes come
 * with the caller's umask applied. Not WRITEBACK_CACHE: a write that was answered is one that was done, and its error was
 * told to who wrote. Not NO_OPEN_SUPPORT and NO_OPENDIR_SUPPORT: they hold for the whole mount, and a part of it changes.
 * Not PASSTHROUGH: it serves whole files from local disk, which nothing that is cached here is.
 */
const WANTED =
  InitFlag.ASYNC_READ |
  InitFlag.ATOMIC_O_TRUNC |
  InitFlag.BIG_WRITES |
  InitFlag.DO_READDIRPLUS |
  InitFlag.READDIRPLUS_AUTO |
  InitFlag.PARALLEL_DIROPS |
  InitFlag.MAX_PAGES |
  InitFlag.CACHE_SYMLINKS |
  InitFlag.EXPLICIT_INVAL_DATA |
  InitFlag.HANDLE_KILLPRIV_V2 |
  InitFlag.INIT_EXT;

/**
 * NO_EXPORT_SUPPORT: name_to_handle_at(2) is EOPNOTSUPP. Else the kernel (before 6.9 in any case) gives out handles by our
 * numbers of nodes, which mean nothing any more once it has forgotten the node: ESTALE. EXPORT_SUPPORT would have it ask us
 * for nodes by such numbers.
 */
const WANTED_2 = InitFlag2.NO_EXPORT_SUPPORT;

/** INIT: the first request. The older of both versions is spoken, with what both sides know of what we want. */
export const init: Handler = {
  input: InitIn,
  handle(connection, request) {
    const { major, minor, maxReadahead, flags } = request.fields(InitIn);
    const tooOld = major < PROTOCOL.MAJOR || (major === PROTOCOL.MAJOR && minor < PROTOCOL.MINOR_MIN);
    if (tooOld) {
      request.error(errnoOfCode('EIO'));
      connection.onInit(
        new UserError(
          `this kernel speaks version ${major}.${minor} of the FUSE protocol, which is older than ${PROTOCOL.MAJOR}.${PROTOCOL.MINOR_MIN}`,
          'Use Linux 5.4 or newer, or --transport fuse-native.',
        ),
      );
      return;
    }
    replyBytes.fill(0, REPLY_BODY, REPLY_BODY + InitOut.size);
    const { set } = InitOut;
    set.major(replyView, REPLY_BODY, PROTOCOL.MAJOR);
    set.minor(replyView, REPLY_BODY, Math.min(minor, PROTOCOL.MINOR_MAX));
    // A newer major version: the kernel asks again in ours.
    if (major === PROTOCOL.MAJOR) {
      set.maxReadahead(replyView, REPLY_BODY, maxReadahead);
      set.flags(replyView, REPLY_BODY, WANTED & flags);
      set.flags2(replyView, REPLY_BODY, WANTED_2 & flags2Of(request));
      set.maxBackground(replyView, REPLY_BODY, KERNEL_BACKGROUND_REQUESTS_MAX);
      set.congestionThreshold(replyView, REPLY_BODY, KERNEL_BACKGROUND_REQUESTS_MAX * CONGESTION);
      set.maxWrite(replyView, REPLY_BODY, KERNEL_REQUEST_MAX_BYTES);
      set.timeGran(replyView, REPLY_BODY, 1);
      set.maxPages(replyView, REPLY_BODY, KERNEL_REQUEST_MAX_BYTES / PAGE_BYTES);
    }
    request.reply(InitOut.size);
    if (major === PROTOCOL.MAJOR) connection.onInit(undefined);
  },
};

/** The flags from 32 on that the kernel offers; older ones have none. */
function flags2Of(request: Request): number {
  const length = InitIn.size + InitInMore.size;
  return request.bodyLength < length ? 0 : InitInMore.get.flags2(request.view, BODY + InitIn.size);
}

/**
 * INTERRUPT: the caller of another request has been sent a signal, whichever it is. The other request is answered if the
 * caller is about to leave; this one never is.
 */
export const interrupt: Handler = {
  input: InterruptIn,
  silent: true,
  handle(connection, request) {
    connection.signalled(InterruptIn.get.unique(request.view, BODY));
  },
};

/** NOTIFY_REPLY: our RETRIEVE, which only serves to wake a reader. */
export const notifyReply: Handler = { input: NotifyReplyIn, silent: true, handle() {} };

/** DESTROY: the last request, which only some mounts get. */
export const destroy: Handler = {
  handle(_connection, request) {
    request.reply();
  },
};

/** For requests that the kernel does better without; the table says why. */
export const notImplemented: Handler = {
  handle(_connection, request) {
    request.error(errnoOfCode('ENOSYS'));
  },
};
