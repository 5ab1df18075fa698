import {
  createBucket,
  deleteBucket,
  deleteBucketPolicy,
  getBucketLocation,
  getBucketPolicy,
  headBucket,
  listBuckets,
  putBucketPolicy,
} from './bucket-handlers.ts';
import type { Handler } from './handler.ts';
import { listObjects, listObjectsV2 } from './list-handlers.ts';
import {
  abortMultipartUpload,
  completeMultipartUpload,
  createMultipartUpload,
  listMultipartUploads,
  listParts,
  uploadPart,
} from './multipart-handlers.ts';
import { copyObject, deleteObject, deleteObjects, putObject, readObject } from './object-handlers.ts';
import type { Operation } from './routing.ts';

/**
 * What each operation does, and the action of the policy language that a user needs for it on what the request
 * addresses; without an action the handler asks for itself.
 */
export const OPERATIONS: Readonly<
  Record<Operation, { readonly action?: string; readonly handler: Handler }>
> = {
  AbortMultipartUpload: { action: 's3:AbortMultipartUpload', handler: abortMultipartUpload },
  CompleteMultipartUpload: { action: 's3:PutObject', handler: completeMultipartUpload },
  CopyObject: { action: 's3:PutObject', handler: copyObject },
  CreateBucket: { action: 's3:CreateBucket', handler: createBucket },
  CreateMultipartUpload: { action: 's3:PutObject', handler: createMultipartUpload },
  DeleteBucket: { action: 's3:DeleteBucket', handler: deleteBucket },
  DeleteBucketPolicy: { action: 's3:DeleteBucketPolicy', handler: deleteBucketPolicy },
  DeleteObject: { action: 's3:DeleteObject', handler: deleteObject },
  DeleteObjects: { handler: deleteObjects },
  GetBucketLocation: { action: 's3:GetBucketLocation', handler: getBucketLocation },
  GetBucketPolicy: { action: 's3:GetBucketPolicy', handler: getBucketPolicy },
  GetObject: { action: 's3:GetObject', handler: readObject },
  HeadBucket: { action: 's3:ListBucket', handler: headBucket },
  HeadObject: { action: 's3:GetObject', handler: readObject },
  ListBuckets: { action: 's3:ListAllMyBuckets', handler: listBuckets },
  ListMultipartUploads: { action: 's3:ListBucketMultipartUploads', handler: listMultipartUploads },
  ListObjects: { action: 's3:ListBucket', handler: listObjects },
  ListObjectsV2: { action: 's3:ListBucket', handler: listObjectsV2 },
  ListParts: { action: 's3:ListMultipartUploadParts', handler: listParts },
  PutBucketPolicy: { action: 's3:PutBucketPolicy', handler: putBucketPolicy },
  PutObject: { action: 's3:PutObject', handler: putObject },
  UploadPart: { action: 's3:PutObject', handler: uploadPart },
};
