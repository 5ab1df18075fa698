import { randomUUID } from 'node:crypto';
import { onTestFinished } from 'vitest';
import type { Fault, InterceptedRequest } from '../../src/demo/s3/fault.ts';
import { type S3Server, startS3Server, type S3User } from '../../src/demo/s3/server.ts';
import type { ObjectStore } from '../../src/ecs/object-store.ts';
import { createS3ObjectStore } from '../../src/ecs/s3-object-store.ts';
import { User } from './mounted.ts';
import { configurationOf } from './test-bucket.ts';

export const BUCKET = 'freeze-bucket';
export const OWNER = { name: 'owner', accessKeyId: 'owner', secretAccessKey: randomUUID() };
/** May do all that the owner may; tells requests of one process from those of another. */
export const OTHER = { name: 'other', accessKeyId: 'other', secretAccessKey: randomUUID() };

/** A server with one bucket, which ends with the test. */
export interface Stage {
  readonly server: S3Server;
  readonly store: ObjectStore;
  /** Sees every request from when it is set on. */
  intercept: (request: InterceptedRequest) => Promise<Fault | undefined>;
  readonly environment: (who?: S3User, prefix?: string) => Readonly<Record<string, string>>;
  readonly user: (who?: S3User, prefix?: string) => Promise<User>;
}

export async function stage(...users: readonly S3User[]): Promise<Stage> {
  const made: { intercept: Stage['intercept'] } = { intercept: async () => undefined };
  const server = await startS3Server({
    users: [OWNER, OTHER, ...users],
    buckets: [BUCKET],
    intercept: async (request) => made.intercept(request),
  });
  const store = createS3ObjectStore({
    bucket: BUCKET,
    endpoint: server.endpoint,
    credentials: async () => OTHER,
  });
  onTestFinished(async () => {
    store.close();
    await server.close();
  });
  const environment = (who: S3User = OWNER, prefix = ''): Readonly<Record<string, string>> => ({
    ...configurationOf(BUCKET, server.endpoint, who),
    [`DTOOL_ECS_DATASET_PREFIX_${BUCKET}`]: prefix,
    LOGNAME: who.name,
  });
  return Object.assign(made, {
    server,
    store,
    environment,
    user: async (who?: S3User, prefix?: string) => {
      const user = await User.create(environment(who, prefix));
      onTestFinished(() => user.remove());
      return user;
    },
  });
}
