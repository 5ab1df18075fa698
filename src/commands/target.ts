import { resolve } from 'node:path';
import { UserError } from '../errors.ts';
import { findPlace } from './running-mounts.ts';

/** A bucket, or one dataset in it by name or uuid. */
export interface Target {
  readonly bucket: string;
  readonly dataset?: string;
  /** What of the dataset's directory is meant, such as `data/reads`; absent: all of it. Only of a path in a mount. */
  readonly path?: string;
}

/**
 * What a user means by `BUCKET`, `BUCKET/DATASET`, `ecs://BUCKET/UUID`, `s3://BUCKET/UUID`, or a path in a mount: the
 * mount itself, a bucket's directory, or anything in a dataset.
 *
 * @throws UserError for a path that is in no mount
 */
export async function parseTarget(text: string): Promise<Target> {
  const uri = /^(?:ecs|s3):\/\/([^/]+)\/?(.*)$/.exec(text);
  if (uri) return target(uri[1] ?? '', uri[2]);
  if (/^[./]/.test(text)) return targetOfPath(resolve(text));
  const slash = text.indexOf('/');
  return slash < 0 ? { bucket: text } : target(text.slice(0, slash), text.slice(slash + 1));
}

/** @param dataset may have slashes at its end, as a shell's completion adds them */
function target(bucket: string, dataset = ''): Target {
  const name = dataset.replace(/\/+$/, '');
  return name === '' ? { bucket } : { bucket, dataset: name };
}

async function targetOfPath(path: string): Promise<Target> {
  const place = await findPlace(path);
  if (!place) throw new UserError(`${path} is in no mount`, '"dtool-ecs-mount status" lists the mounts.');
  const { bucket, names } = place;
  if (bucket === undefined)
    throw new UserError(`${path} has several buckets`, 'Name one of its directories.');
  // Below .uuid and .proto the dataset is one level further down; a proto dataset's name ends with ~uuid there.
  const [dataset, ...rest] = names[0] === '.uuid' || names[0] === '.proto' ? names.slice(1) : names;
  return { ...target(bucket, dataset), ...(rest.length > 0 && { path: rest.join('/') }) };
}
