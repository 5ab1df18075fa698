import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../clock.ts';
import { messageOf } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { Fault, Intercept } from './fault.ts';
import type { Answer, Context } from './handler.ts';
import { OPERATIONS } from './operations.ts';
import { isAllowed, type Policy } from './policy.ts';
import { parseTarget, toS3Request, type S3Request } from './request.ts';
import { operationOf, type Operation } from './routing.ts';
import { S3Error } from './s3-error.ts';
import { errorAnswer, sendAnswer, type Cut } from './send-answer.ts';
import { authenticate, type Credentials } from './sigv4.ts';
import type { Store } from './store.ts';

export interface ServiceUser extends Credentials {
  readonly name: string;
  /** Undefined for a user who may do everything. */
  readonly policy: Policy | undefined;
}

export interface ServiceOptions {
  readonly store: Store;
  readonly users: readonly ServiceUser[];
  readonly region: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly intercept: Intercept | undefined;
}

/** The way of a request: parse, count, intercept, authenticate, authorise, handle, answer. */
export class S3Service {
  readonly #options: ServiceOptions;
  readonly #users: ReadonlyMap<string, ServiceUser>;
  readonly #counts = new Map<Operation, number>();

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#users = new Map(options.users.map((user) => [user.accessKeyId, user]));
  }

  requestCounts(): Readonly<Partial<Record<Operation, number>>> {
    return Object.fromEntries(this.#counts);
  }

  resetRequestCounts(): void {
    this.#counts.clear();
  }

  /**
   * Answers a request. Never rejects: what goes wrong becomes an answer or, once one is under way, the end of the
   * connection.
   *
   * @param expectsContinue whether the client waits for `100 Continue` before it sends the body
   */
  async handle(message: IncomingMessage, response: ServerResponse, expectsContinue: boolean): Promise<void> {
    const requestId = randomUUID();
    response.setHeader('x-amz-request-id', requestId);
    // Node's own would not be that of the clock in use.
    response.setHeader('Date', new Date(this.#options.clock.now()).toUTCString());
    // Somebody who hung up is no fault of this server; whoever writes notices by himself.
    response.on('error', (error) =>
      this.#options.logger.debug({ err: error, requestId }, 'S3 server: client gone'),
    );
    let waitsForContinue = expectsContinue;
    let resource = '';
    try {
      const target = parseTarget(message.url ?? '');
      ({ resource } = target);
      const request = toS3Request(message, target, () => {
        if (waitsForContinue) response.writeContinue();
        waitsForContinue = false;
      });
      const { bucket, key, method, headers } = request;
      const operation = operationOf(request);
      this.#counts.set(operation, (this.#counts.get(operation) ?? 0) + 1);
      const fault = await this.#options.intercept?.({ operation, bucket, key, method, headers });
      if (fault) await this.#handleFaulty(operation, request, response, fault);
      else await sendAnswer(response, await this.#answer(operation, request));
    } catch (error) {
      await this.#fail(error, resource, requestId, response, waitsForContinue);
    } finally {
      // What is left of a body would be taken for the next request of the connection.
      message.resume();
    }
  }

  async #answer(operation: Operation, request: S3Request): Promise<Answer> {
    const { store, region, clock } = this.#options;
    const { user, payload } = authenticate(request, region, clock.now(), (id) => this.#users.get(id));
    const context: Context = {
      store,
      region,
      clock,
      request,
      payload,
      user: user.name,
      isAllowed: (action, bucket, key = '') =>
        user.policy === undefined ||
        isAllowed(
          { user: user.name, action, resource: key === '' ? bucket : `${bucket}/${key}` },
          user.policy,
          store.hasBucket(bucket) ? store.bucket(bucket).policy?.parsed : undefined,
        ),
    };
    const { action, handler } = OPERATIONS[operation];
    if (request.bucket !== '' && operation !== 'CreateBucket') store.bucket(request.bucket);
    if (action !== undefined && !context.isAllowed(action, request.bucket || '*', request.key)) {
      throw new S3Error('AccessDenied');
    }
    return await handler(context);
  }

  async #handleFaulty(
    operation: Operation,
    request: S3Request,
    response: ServerResponse,
    fault: Fault,
  ): Promise<void> {
    switch (fault.kind) {
      case 'no-answer':
        if (!response.destroyed) await once(response, 'close');
        return;
      case 'reset':
        response.socket?.resetAndDestroy();
        return;
      case 'status': {
        const {
          status,
          code = 'InternalError',
          message = 'A fault that was asked for.',
          headers = {},
        } = fault;
        const requestId = String(response.getHeader('x-amz-request-id'));
        const answer = errorAnswer({ status, code, message, headers }, request.resource, requestId);
        return await sendAnswer(response, answer);
      }
      case 'truncate':
      case 'stall':
        return await sendAnswer(response, await this.#answer(operation, request), fault satisfies Cut);
    }
  }

  async #fail(
    error: unknown,
    resource: string,
    requestId: string,
    response: ServerResponse,
    waitsForContinue: boolean,
  ): Promise<void> {
    // The client is gone: the body broke off, or nobody waits for the answer.
    if (response.destroyed || response.socket?.destroyed) return;
    const known = error instanceof S3Error ? error : new S3Error('InternalError');
    if (known !== error) {
      this.#options.logger.error({ err: error, resource, requestId }, `S3 server: ${messageOf(error)}`);
    }
    if (response.headersSent) {
      response.destroy();
      return;
    }
    // A body that was never asked for may come or not, so this connection can't go on.
    if (waitsForContinue) response.setHeader('Connection', 'close');
    await sendAnswer(response, errorAnswer(known, resource, requestId));
  }
}
