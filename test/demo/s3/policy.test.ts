import {
  AbortMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketPolicyCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketPolicyCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutBucketPolicyCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { expect, onTestFinished, test } from 'vitest';
import { isAllowed, parsePolicy } from '../../../src/demo/s3/policy.ts';
import type { S3Server } from '../../../src/demo/s3/server.ts';
import { ADMIN, ALICE, BOB, client, errorOf, start } from './support.ts';

const Bucket = 'bucket';
const all = ['arn:aws:s3:::bucket', 'arn:aws:s3:::bucket/*'];
/** The access policy that dtool-ecs documents: everybody reads, and writes registration keys and own datasets. */
const DOCUMENTED = {
  Version: '2012-10-17',
  Statement: [
    {
      Sid: 'Read',
      Effect: 'Allow',
      Principal: { AWS: ['*'] },
      Action: ['s3:ListBucket', 's3:GetObject'],
      Resource: all,
    },
    {
      Sid: 'Write',
      Effect: 'Allow',
      Principal: { AWS: ['arn:aws:iam:::user/alice', 'bob'] },
      Action: ['s3:PutObject', 's3:DeleteObject', 's3:PutObjectAcl'],
      Resource: ['arn:aws:s3:::bucket/dtool-*', 'arn:aws:s3:::bucket/u/${aws:username}/*'],
    },
    { Effect: 'Deny', Principal: '*', Action: 's3:AbortMultipartUpload', Resource: 'arn:aws:s3:::bucket/*' },
  ],
};

function clients(server: S3Server): { admin: S3Client; alice: S3Client; bob: S3Client } {
  const made = { admin: client(server, ADMIN), alice: client(server, ALICE), bob: client(server, BOB) };
  onTestFinished(() => {
    for (const s3 of Object.values(made)) s3.destroy();
  });
  return made;
}

test('the policy that dtool-ecs documents lets users do what it says and no more', async () => {
  const server = await start();
  const { admin, alice, bob } = clients(server);
  const put = (s3: S3Client, Key: string) =>
    errorOf(s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x' })));
  const denied = 'AccessDenied 403';
  await server.putObject(Bucket, 'm/1', 'x');
  expect(await errorOf(alice.send(new GetObjectCommand({ Bucket, Key: 'm/1' })))).toBe(denied);
  // Without s3:ListBucket nobody learns whether a key exists.
  expect(await errorOf(alice.send(new GetObjectCommand({ Bucket, Key: 'none' })))).toBe(denied);
  expect(await errorOf(alice.send(new ListObjectsV2Command({ Bucket })))).toBe(denied);

  const Policy = JSON.stringify(DOCUMENTED);
  expect(await errorOf(alice.send(new PutBucketPolicyCommand({ Bucket, Policy })))).toBe(denied);
  await admin.send(new PutBucketPolicyCommand({ Bucket, Policy }));
  expect((await admin.send(new GetBucketPolicyCommand({ Bucket }))).Policy).toBe(Policy);

  expect(await errorOf(alice.send(new GetObjectCommand({ Bucket, Key: 'none' })))).toBe('NoSuchKey 404');
  expect(await errorOf(alice.send(new HeadObjectCommand({ Bucket, Key: 'm/1' })))).toBe('no error');
  expect(await errorOf(alice.send(new ListObjectsV2Command({ Bucket })))).toBe('no error');
  expect(await errorOf(alice.send(new ListBucketsCommand({})))).toBe(denied);
  expect(await errorOf(alice.send(new CreateBucketCommand({ Bucket: 'of-alice' })))).toBe(denied);
  expect(await put(alice, 'dtool-1')).toBe('no error');
  expect(await put(alice, 'u/alice/f')).toBe('no error');
  expect(await put(alice, 'u/bob/f')).toBe(denied);
  expect(await put(alice, 'u/${aws:username}/f')).toBe(denied);
  expect(await put(alice, 'other')).toBe(denied);
  expect(await put(bob, 'u/bob/f')).toBe('no error');
  expect(await put(bob, 'u/alice/f')).toBe(denied);
  expect(await errorOf(alice.send(new DeleteObjectCommand({ Bucket, Key: 'm/1' })))).toBe(denied);
  const copy = (Key: string) => new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/m/1` });
  expect(await errorOf(alice.send(copy('u/alice/copy')))).toBe('no error');
  expect(await errorOf(alice.send(copy('u/bob/copy')))).toBe(denied);
  const Objects = [{ Key: 'u/alice/f' }, { Key: 'u/bob/f' }, { Key: 'm/1' }];
  const several = await alice.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  expect(several.Deleted).toEqual([{ Key: 'u/alice/f' }]);
  expect(several.Errors?.map(({ Key, Code }) => [Key, Code])).toEqual([
    ['u/bob/f', 'AccessDenied'],
    ['m/1', 'AccessDenied'],
  ]);
  const upload = { Bucket, Key: 'dtool-mp' };
  const { UploadId } = await alice.send(new CreateMultipartUploadCommand(upload));
  expect(await errorOf(alice.send(new AbortMultipartUploadCommand({ ...upload, UploadId })))).toBe(denied);
  expect(await errorOf(admin.send(new AbortMultipartUploadCommand({ ...upload, UploadId })))).toBe(
    'no error',
  );

  await admin.send(new DeleteBucketPolicyCommand({ Bucket }));
  expect(await errorOf(admin.send(new GetBucketPolicyCommand({ Bucket })))).toBe('NoSuchBucketPolicy 404');
  expect(await put(alice, 'dtool-2')).toBe(denied);
});

const putInto = (s3: S3Client, to: string) =>
  errorOf(s3.send(new PutObjectCommand({ Bucket: to, Key: 'k', Body: 'x' })));

test("a user's own policy counts beside the bucket's", async () => {
  const own = { Statement: [{ Effect: 'Allow' as const, Action: 's3:*', Resource: 'arn:aws:s3:::own-*' }] };
  const server = await start({ users: [{ ...ALICE, policy: own }, BOB], buckets: ['own-data', 'bucket'] });
  const { alice, bob } = clients(server);
  expect(await putInto(alice, 'own-data')).toBe('no error');
  expect(await putInto(alice, 'bucket')).toBe('AccessDenied 403');
  expect(await putInto(bob, 'own-data')).toBe('AccessDenied 403');
});

test('policies that the server would not keep to are refused', async () => {
  const server = await start();
  const { admin } = clients(server);
  const statement = {
    Effect: 'Allow',
    Principal: '*',
    Action: 's3:GetObject',
    Resource: 'arn:aws:s3:::bucket/*',
  };
  const set = (policy: unknown) =>
    errorOf(
      admin.send(
        new PutBucketPolicyCommand({
          Bucket,
          Policy: typeof policy === 'string' ? policy : JSON.stringify(policy),
        }),
      ),
    );
  expect(await set({ Statement: statement })).toBe('no error');
  const malformed = 'MalformedPolicy 400';
  expect(await set('{')).toBe(malformed);
  expect(await set({ Statement: [{ ...statement, Condition: {} }] })).toBe(malformed);
  expect(await set({ Statement: [{ ...statement, Principal: undefined }] })).toBe(malformed);
  expect(await set({ Statement: [{ ...statement, Effect: 'Maybe' }] })).toBe(malformed);
  expect(await set({ Statement: [{ ...statement, Resource: 'arn:aws:s3:::other/*' }] })).toBe(malformed);
  expect(await set(' '.repeat(30_000))).toBe('MaxMessageLengthExceeded 400');
});

const allows = (Action: string, Resource: string, user: string, action: string, resource: string): boolean =>
  isAllowed(
    { user, action, resource },
    parsePolicy({ Statement: { Effect: 'Allow', Action, Resource } }),
    undefined,
  );

test('patterns: wildcards match anything, other characters only themselves', () => {
  const any = '*';
  expect(allows(any, any, 'a', 's3:GetObject', 'b/k')).toBe(true);
  expect(allows('s3:get*', any, 'a', 's3:GetObject', 'b/k')).toBe(true);
  expect(allows('s3:GetObject', any, 'a', 's3:GetObjectAcl', 'b/k')).toBe(false);
  expect(allows(any, 'arn:aws:s3:::b/a.c', 'a', 's3:GetObject', 'b/abc')).toBe(false);
  expect(allows(any, 'arn:aws:s3:::b/a?c', 'a', 's3:GetObject', 'b/abc')).toBe(true);
  expect(allows(any, 'arn:aws:s3:::b/x*z', 'a', 's3:GetObject', 'b/x/\n/z')).toBe(true);
  expect(allows(any, 'arn:aws:s3:::b/${aws:username}', '.*', 's3:GetObject', 'b/abc')).toBe(false);
  expect(allows(any, 'arn:aws:s3:::b/${aws:username}', '.*', 's3:GetObject', 'b/.*')).toBe(true);
});
