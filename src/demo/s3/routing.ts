import type { S3Request } from './request.ts';
import { S3Error } from './s3-error.ts';

/** Every operation that the server knows, by its name in the S3 API reference. */
export type Operation =
  | 'AbortMultipartUpload'
  | 'CompleteMultipartUpload'
  | 'CopyObject'
  | 'CreateBucket'
  | 'CreateMultipartUpload'
  | 'DeleteBucket'
  | 'DeleteBucketPolicy'
  | 'DeleteObject'
  | 'DeleteObjects'
  | 'GetBucketLocation'
  | 'GetBucketPolicy'
  | 'GetObject'
  | 'HeadBucket'
  | 'HeadObject'
  | 'ListBuckets'
  | 'ListMultipartUploads'
  | 'ListObjects'
  | 'ListObjectsV2'
  | 'ListParts'
  | 'PutBucketPolicy'
  | 'PutObject'
  | 'UploadPart';

/** Query parameters that ask for another operation than the plain one, of those that the server does not know. */
const OTHER_SUBRESOURCES = (
  'accelerate acl analytics attributes cors encryption intelligent-tiering inventory legal-hold lifecycle logging ' +
  'metadataTable metrics notification object-lock ownershipControls policyStatus publicAccessBlock renameObject ' +
  'replication requestPayment restore retention select session tagging torrent versioning versions website'
).split(' ');

/** Headers whose meaning the server does not have, so that it would lie if it took them. */
const OTHER_HEADERS =
  /^x-amz-(tagging|grant-|server-side-encryption|object-lock-|website-redirect-location|write-offset-bytes|copy-source-server-side)/;

/**
 * Tells which operation a request asks for, by its method, what it addresses, and its query.
 *
 * @throws S3Error NotImplemented for an operation, parameter or header that is left out; MethodNotAllowed
 */
export function operationOf(request: S3Request): Operation {
  const has = (name: string): boolean => request.param(name) !== undefined;
  const left =
    OTHER_SUBRESOURCES.find(has) ??
    (has('versionId') && request.param('versionId') !== 'null' ? 'versionId' : undefined) ??
    request.headerNames().find((name) => OTHER_HEADERS.test(name));
  if (left !== undefined) throw new S3Error('NotImplemented', `${left} is not implemented`);
  const acl = request.header('x-amz-acl') ?? 'private';
  if (acl !== 'private') throw new S3Error('NotImplemented', 'Access control lists are not implemented');
  if (request.bucket === '') return serviceOperation(request.method);
  return request.key === '' ? bucketOperation(request.method, has) : objectOperation(request, has);
}

function serviceOperation(method: string): Operation {
  if (method === 'GET') return 'ListBuckets';
  throw new S3Error('MethodNotAllowed');
}

function bucketOperation(method: string, has: (name: string) => boolean): Operation {
  switch (method) {
    case 'GET':
      if (has('location')) return 'GetBucketLocation';
      if (has('policy')) return 'GetBucketPolicy';
      if (has('uploads')) return 'ListMultipartUploads';
      return has('list-type') ? 'ListObjectsV2' : 'ListObjects';
    case 'HEAD':
      return 'HeadBucket';
    case 'PUT':
      return has('policy') ? 'PutBucketPolicy' : 'CreateBucket';
    case 'DELETE':
      return has('policy') ? 'DeleteBucketPolicy' : 'DeleteBucket';
    case 'POST':
      if (has('delete')) return 'DeleteObjects';
      throw new S3Error('NotImplemented', 'Uploads of HTML forms are not implemented');
    default:
      throw new S3Error('MethodNotAllowed');
  }
}

function objectOperation(request: S3Request, has: (name: string) => boolean): Operation {
  const copies = request.header('x-amz-copy-source') !== undefined;
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      if (request.method === 'GET' && has('uploadId')) return 'ListParts';
      if (has('partNumber')) throw new S3Error('NotImplemented', 'Reading by partNumber is not implemented');
      return request.method === 'GET' ? 'GetObject' : 'HeadObject';
    case 'PUT':
      if (!has('uploadId') && !has('partNumber')) return copies ? 'CopyObject' : 'PutObject';
      if (copies) throw new S3Error('NotImplemented', 'UploadPartCopy is not implemented');
      return 'UploadPart';
    case 'DELETE':
      return has('uploadId') ? 'AbortMultipartUpload' : 'DeleteObject';
    case 'POST':
      if (has('uploads')) return 'CreateMultipartUpload';
      if (has('uploadId')) return 'CompleteMultipartUpload';
      throw new S3Error('MethodNotAllowed');
    default:
      throw new S3Error('MethodNotAllowed');
  }
}
