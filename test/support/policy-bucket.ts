import { randomUUID } from 'node:crypto';
import { DeleteBucketPolicyCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3';
import { onTestFinished, type TestContext } from 'vitest';
import { startS3Server } from '../../src/demo/s3/server.ts';
import { externalS3, makeBucket } from './s3-bucket.ts';
import { configurationOf } from './test-bucket.ts';

/** A bucket with the access policy that dtool-ecs documents: all may read, and write below `u/<name>/` of their own. */
export interface PolicyBucket {
  readonly bucket: string;
  /** The configuration of a user, with a prefix for what is written. */
  readonly configuration: (who: 'alice' | 'bob', prefix: string) => Readonly<Record<string, string>>;
}

const READ = ['s3:ListBucket', 's3:GetObject'];
const WRITE = ['s3:PutObject', 's3:DeleteObject', 's3:PutObjectAcl'];

/**
 * The bucket, on the embedded server or on the real store that the environment names. That one needs the users: their
 * keys are in DTOOL_ECS_TEST_ALICE and DTOOL_ECS_TEST_BOB, as `ACCESS_KEY_ID:SECRET_ACCESS_KEY`.
 *
 * @param context of the test, which is skipped where the real store has no such users
 */
export async function policyBucket(context: TestContext): Promise<PolicyBucket> {
  const external = externalS3();
  const keys = {
    alice: keysOf(process.env['DTOOL_ECS_TEST_ALICE'] ?? (external ? undefined : `alice:${randomUUID()}`)),
    bob: keysOf(process.env['DTOOL_ECS_TEST_BOB'] ?? (external ? undefined : `bob:${randomUUID()}`)),
  };
  const { alice, bob } = keys;
  if (!alice || !bob) return context.skip('DTOOL_ECS_TEST_ALICE and DTOOL_ECS_TEST_BOB are not set');
  const configuration =
    (bucket: string, endpoint: string): PolicyBucket['configuration'] =>
    (who, prefix) => ({
      ...configurationOf(bucket, endpoint, who === 'alice' ? alice : bob),
      [`DTOOL_ECS_DATASET_PREFIX_${bucket}`]: prefix,
      LOGNAME: who,
    });
  if (!external) {
    const bucket = 'policy-bucket';
    const Statement = (['alice', 'bob'] as const).map((who) => ({
      who,
      statements: statementsFor(bucket, who),
    }));
    const server = await startS3Server({
      buckets: [bucket],
      users: Statement.map(({ who, statements }) => ({
        name: who,
        ...(who === 'alice' ? alice : bob),
        policy: { Statement: statements },
      })),
    });
    onTestFinished(() => server.close());
    return { bucket, configuration: configuration(bucket, server.endpoint) };
  }
  const made = await makeBucket(external);
  const { bucket } = made;
  const client = new S3Client({ ...external, region: 'us-east-1', forcePathStyle: true });
  const Policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: (['alice', 'bob'] as const).flatMap((who) =>
      statementsFor(bucket, who).map((statement) => ({
        ...statement,
        Principal: { AWS: [`arn:aws:iam:::user/${who}`] },
      })),
    ),
  });
  await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }));
  onTestFinished(async () => {
    await client.send(new DeleteBucketPolicyCommand({ Bucket: bucket }));
    client.destroy();
    await made.remove();
  });
  return { bucket, configuration: configuration(bucket, external.endpoint) };
}

function statementsFor(
  bucket: string,
  who: string,
): { Effect: 'Allow'; Action: string[]; Resource: string[] }[] {
  const arn = `arn:aws:s3:::${bucket}`;
  return [
    { Effect: 'Allow', Action: READ, Resource: [arn, `${arn}/*`] },
    { Effect: 'Allow', Action: WRITE, Resource: [`${arn}/dtool-*`, `${arn}/u/${who}/*`] },
  ];
}

function keysOf(
  text: string | undefined,
): { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined {
  const [accessKeyId, secretAccessKey] = text?.split(':') ?? [];
  return accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey } : undefined;
}
