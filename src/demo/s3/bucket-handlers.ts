import { z } from 'zod';
import { numberParam, xmlAnswer, type Answer, type Context } from './handler.ts';
import { POLICY_MAX_BYTES, XML_MAX_BYTES } from './limits.ts';
import { receiveBuffer } from './payload.ts';
import { S3Error } from './s3-error.ts';
import { parseXml, xmlDocument } from './xml.ts';

const BUCKETS_MAX = 10_000;

export function listBuckets({ store, request, user }: Context): Answer {
  const page = store.listBuckets({
    prefix: request.param('prefix') ?? '',
    delimiter: '',
    after: request.param('continuation-token') ?? '',
    max: numberParam(request, 'max-buckets', BUCKETS_MAX, 1, BUCKETS_MAX),
  });
  return xmlAnswer(
    xmlDocument('ListAllMyBucketsResult', {
      Owner: { ID: user, DisplayName: user },
      Buckets: {
        Bucket: page.entries.map(({ name, created }) => ({
          Name: name,
          CreationDate: new Date(created).toISOString(),
        })),
      },
      ContinuationToken: page.next,
      Prefix: request.param('prefix'),
    }),
  );
}

const createSchema = z.object({
  CreateBucketConfiguration: z.union([
    z.object({ LocationConstraint: z.string().optional() }),
    z.string().transform(() => ({ LocationConstraint: undefined })),
  ]),
});

export async function createBucket({ store, clock, region, request, payload }: Context): Promise<Answer> {
  const { body } = await receiveBuffer(request, payload, XML_MAX_BYTES);
  if (body.length > 0) {
    const { LocationConstraint } = parseXml(body, createSchema).CreateBucketConfiguration;
    if ((LocationConstraint ?? region) !== region) throw new S3Error('IllegalLocationConstraintException');
  }
  store.createBucket(request.bucket, clock.now());
  return { status: 200, headers: { Location: `/${request.bucket}` } };
}

export function headBucket({ store, region, request }: Context): Answer {
  store.bucket(request.bucket);
  return { status: 200, headers: { 'x-amz-bucket-region': region } };
}

export function deleteBucket({ store, request }: Context): Answer {
  store.deleteBucket(request.bucket);
  return { status: 204 };
}

export function getBucketLocation({ store, region, request }: Context): Answer {
  store.bucket(request.bucket);
  return xmlAnswer(xmlDocument('LocationConstraint', region === 'us-east-1' ? '' : region));
}

export function getBucketPolicy({ store, request }: Context): Answer {
  const { policy } = store.bucket(request.bucket);
  if (!policy) throw new S3Error('NoSuchBucketPolicy');
  return { status: 200, headers: { 'Content-Type': 'application/json' }, body: Buffer.from(policy.text) };
}

export async function putBucketPolicy({ store, request, payload }: Context): Promise<Answer> {
  const { body } = await receiveBuffer(request, payload, POLICY_MAX_BYTES);
  store.setPolicy(request.bucket, body.toString('utf8'));
  return { status: 204 };
}

export function deleteBucketPolicy({ store, request }: Context): Answer {
  store.setPolicy(request.bucket, undefined);
  return { status: 204 };
}
