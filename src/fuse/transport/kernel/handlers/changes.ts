import {
  CopyFileRangeIn,
  CreateIn,
  FallocateIn,
  LinkIn,
  MkdirIn,
  MknodIn,
  Rename2In,
  RenameIn,
  SetattrIn,
  SetxattrIn,
  WriteIn,
} from '../abi/requests.ts';
import type { Request } from '../request.ts';
import type { Handler } from './handler.ts';

/** The opcodes of requests that change something. */
export type ChangeName = keyof typeof decodeChange;

/** What each change asks for, in the words of the ABI; `node` is the number of the node that the request names. */
export const decodeChange = {
  SETATTR: (request: Request) => ({ node: request.nodeId, ...request.fields(SetattrIn) }),
  SYMLINK: (request: Request) => {
    const [name = '', target = ''] = request.strings(undefined, 2);
    request.names(undefined);
    return { parent: request.nodeId, name, target };
  },
  MKNOD: (request: Request) => ({ ...named(request, MknodIn), ...request.fields(MknodIn) }),
  MKDIR: (request: Request) => ({ ...named(request, MkdirIn), ...request.fields(MkdirIn) }),
  UNLINK: (request: Request) => named(request, undefined),
  RMDIR: (request: Request) => named(request, undefined),
  RENAME: (request: Request) => ({ ...renamed(request, RenameIn), ...request.fields(RenameIn), flags: 0 }),
  RENAME2: (request: Request) => ({ ...renamed(request, Rename2In), ...request.fields(Rename2In) }),
  LINK: (request: Request) => ({ ...named(request, LinkIn), ...request.fields(LinkIn) }),
  CREATE: (request: Request) => ({ ...named(request, CreateIn), ...request.fields(CreateIn) }),
  TMPFILE: (request: Request) => ({ parent: request.nodeId, ...request.fields(CreateIn) }),
  /** `data` is shared with the message: it must be used before the handler first awaits. */
  WRITE: (request: Request) => {
    const fields = request.fields(WriteIn);
    return { node: request.nodeId, ...fields, data: request.data(WriteIn.size, fields.size) };
  },
  FALLOCATE: (request: Request) => ({ node: request.nodeId, ...request.fields(FallocateIn) }),
  COPY_FILE_RANGE: (request: Request) => ({ node: request.nodeId, ...request.fields(CopyFileRangeIn) }),
  COPY_FILE_RANGE_64: (request: Request) => ({ node: request.nodeId, ...request.fields(CopyFileRangeIn) }),
  /** `value` is shared with the message. */
  SETXATTR: (request: Request) => {
    const { size, flags } = request.fields(SetxattrIn);
    const [name = ''] = request.strings(SetxattrIn, 1);
    const value = request.data(SetxattrIn.size + Buffer.byteLength(name) + 1, size);
    return { node: request.nodeId, name, flags, value };
  },
  REMOVEXATTR: (request: Request) => {
    const [name = ''] = request.strings(undefined, 1);
    return { node: request.nodeId, name };
  },
};

/** The structure after the header of each; absent where a name follows at once. */
const INPUT: Readonly<Partial<Record<ChangeName, { readonly size: number }>>> = {
  SETATTR: SetattrIn,
  MKNOD: MknodIn,
  MKDIR: MkdirIn,
  RENAME: RenameIn,
  RENAME2: Rename2In,
  LINK: LinkIn,
  CREATE: CreateIn,
  TMPFILE: CreateIn,
  WRITE: WriteIn,
  FALLOCATE: FallocateIn,
  COPY_FILE_RANGE: CopyFileRangeIn,
  COPY_FILE_RANGE_64: CopyFileRangeIn,
  SETXATTR: SetxattrIn,
};

/** A request that would change what can't be changed: nonsense is refused as such, the rest by the tree. */
export function refuseChange(name: ChangeName): Handler {
  const input = INPUT[name];
  return {
    ...(input && { input }),
    handle(connection, request) {
      decodeChange[name](request);
      connection.operations.change();
    },
  };
}

type Input = { readonly size: number } | undefined;

function named(request: Request, input: Input): { parent: number; name: string } {
  const [name = ''] = request.names(input);
  return { parent: request.nodeId, name };
}

function renamed(request: Request, input: Input): { parent: number; from: string; to: string } {
  const [from = '', to = ''] = request.names(input, 2);
  return { parent: request.nodeId, from, to };
}
