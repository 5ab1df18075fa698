import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemClock, type Clock } from '../../clock.ts';
import { silentLogger, type Logger } from '../../log.ts';
import { DirectoryStorage } from './directory-storage.ts';
import type { Intercept } from './fault.ts';
import { MemoryStorage } from './memory-storage.ts';
import { parsePolicy, type PolicyDocument } from './policy.ts';
import type { Operation } from './routing.ts';
import { S3Error } from './s3-error.ts';
import { seedObject, type SeedOptions } from './seed.ts';
import { errorAnswer } from './send-answer.ts';
import { S3Service } from './service.ts';
import { Store } from './store.ts';

export interface S3User {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** What policies call the user, and `${aws:username}` stands for. */
  readonly name: string;
  /**
   * Absent: the user owns everything, and no policy restricts that. Present, if only with no statements: the user may do
   * what this policy and the policies of the buckets allow, and none of them denies.
   */
  readonly policy?: PolicyDocument;
}

export interface S3ServerOptions {
  /** Default 0: any free port. */
  readonly port?: number;
  /** Directory that buckets and objects are kept in; in memory when absent. */
  readonly data?: string;
  readonly users: readonly S3User[];
  /** Default `us-east-1`. */
  readonly region?: string;
  readonly clock?: Clock;
  /** Is told of errors that are the server's own fault. Default: nobody is. */
  readonly logger?: Logger;
  /** Buckets to create where they are missing. */
  readonly buckets?: readonly string[];
  /** For tests: sees every request and may delay it or let it fail. */
  readonly intercept?: Intercept;
}

/**
 * An S3 server in this process, for the demo and for tests. It checks signatures (Signature Version 4, in headers,
 * presigned, and of every chunk), digests and access policies, and answers as Amazon S3 does, in path style, over plain
 * HTTP on 127.0.0.1.
 *
 * Left out, and answered with 501 NotImplemented: versions, tags, access control lists (an ACL of `private` is taken),
 * encryption, locks, lifecycles, notifications, static websites, CORS and all other configuration of buckets except
 * their policy; uploads of HTML forms, UploadPartCopy, reading by part number, checksums of type FULL_OBJECT for multipart
 * uploads, delimiters in ListMultipartUploads, and elements of policies beyond Effect, Principal, Action and Resource
 * (MalformedPolicy).
 *
 * Other differences: anonymous requests are refused whatever a policy says, as are session tokens; Signature Version 4A,
 * virtual-host style and TLS are missing; CRC32C and CRC64NVME are taken without a check and not kept; creating a bucket
 * that exists is an error in every region; NextMarker of ListObjects comes without a delimiter, too; responses have
 * metadata in the bytes that came, where Amazon encodes what is not ASCII; a multipart upload ends with the process.
 */
export interface S3Server {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string;
  readonly port: number;
  /** Requests since the start or the last reset, by operation; those that asked for no known operation don't count. */
  requestCounts(): Readonly<Partial<Record<Operation, number>>>;
  resetRequestCounts(): void;
  /** @throws S3Error BucketAlreadyOwnedByYou, InvalidBucketName */
  createBucket(bucket: string): void;
  /**
   * Stores an object without HTTP and without limits: metadata may be what no client could send.
   *
   * @throws S3Error NoSuchBucket
   */
  putObject(bucket: string, key: string, body: Uint8Array | string, options?: SeedOptions): Promise<void>;
  /**
   * Removes an object without HTTP; one that does not exist is no error.
   *
   * @throws S3Error NoSuchBucket
   */
  deleteObject(bucket: string, key: string): void;
  /** Ends every connection and resolves when no request is under way any more. May be called again. */
  close(): Promise<void>;
}

/**
 * Starts a server.
 *
 * @throws the system's error when the port is taken, UserError when the directory has files of somebody else, S3Error
 *   for a user's policy or a bucket's name that is not valid
 */
export async function startS3Server(options: S3ServerOptions): Promise<S3Server> {
  const { clock = systemClock, logger = silentLogger, region = 'us-east-1' } = options;
  const users = options.users.map((user) => ({
    ...user,
    policy: user.policy === undefined ? undefined : parsePolicy(user.policy),
  }));
  const store = new Store(
    options.data === undefined ? new MemoryStorage() : new DirectoryStorage(options.data),
  );
  for (const bucket of options.buckets ?? []) {
    if (!store.hasBucket(bucket)) store.createBucket(bucket, clock.now());
  }
  const service = new S3Service({ store, users, region, clock, logger, intercept: options.intercept });
  const underWay = new Set<Promise<void>>();
  const handle =
    (expectsContinue: boolean) =>
    (message: IncomingMessage, response: ServerResponse): void => {
      const handled = service
        .handle(message, response, expectsContinue)
        .finally(() => underWay.delete(handled));
      underWay.add(handled);
    };

  // Idle connections stay open: a server that closes them races with clients that use them again.
  const http = createServer({ keepAliveTimeout: 0, requestTimeout: 0 });
  const sockets = new Set<Socket>();
  http.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  http.on('request', handle(false));
  http.on('checkContinue', handle(true));
  http.on('checkExpectation', handle(false));
  http.on('connect', (_message, socket: Duplex) => {
    refuse(socket.resume(), new S3Error('MethodNotAllowed'));
  });
  http.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    refuse(
      socket,
      new S3Error(error.code === 'HPE_HEADER_OVERFLOW' ? 'RequestHeaderSectionTooLarge' : 'BadRequest'),
    );
  });
  http.listen(options.port ?? 0, '127.0.0.1');
  await once(http, 'listening');
  const address = http.address();
  if (address === null || typeof address === 'string') throw new TypeError('The server listens on no port');
  const { port } = address;

  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    const ended = once(http, 'close');
    http.close();
    for (const socket of sockets) socket.destroy();
    await ended;
    await Promise.all(underWay);
    store.close();
  };
  return {
    endpoint: `http://127.0.0.1:${port}`,
    port,
    requestCounts: () => service.requestCounts(),
    resetRequestCounts: () => service.resetRequestCounts(),
    createBucket: (bucket) => store.createBucket(bucket, clock.now()),
    putObject: (bucket, key, body, seed = {}) => seedObject(store, clock, bucket, key, body, seed),
    deleteObject: (bucket, key) => store.deleteObject(bucket, key),
    close: () => (closed ??= close()),
  };
}

/** Answers what is no HTTP request that Node makes a message of, and ends the connection. */
function refuse(socket: Duplex, error: S3Error): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  socket.on('error', () => socket.destroy());
  const { status, headers, body } = errorAnswer(error, '', randomUUID());
  const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
  const lines = Object.entries({ ...headers, 'Content-Length': bytes.length, Connection: 'close' });
  socket.end(
    Buffer.concat([
      Buffer.from(
        `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
      ),
      bytes,
    ]),
  );
}
