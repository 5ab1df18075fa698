import {
  KERNEL_CACHE_SECONDS,
  KERNEL_CHANGING_SECONDS_MAX,
  KERNEL_NEGATIVE_SECONDS,
} from '../../../limits.ts';
import type { Lifetime, Node } from '../../tree/node.ts';

/** Seconds that the kernel may keep what is said of a node. */
export function cacheSeconds(lifetime: Lifetime, refreshSeconds: number): number {
  switch (lifetime) {
    case 'forever':
      return KERNEL_CACHE_SECONDS;
    case 'refresh':
      return Math.min(refreshSeconds, KERNEL_CHANGING_SECONDS_MAX);
    case 'none':
    default:
      return 0;
  }
}

/** Seconds that a name may stand for a node: no longer than either the directory or the node is good for. */
export function entrySeconds(parent: Node, node: Node, refreshSeconds: number): number {
  return Math.min(cacheSeconds(parent.lifetime, refreshSeconds), cacheSeconds(node.lifetime, refreshSeconds));
}

/** Seconds that a name may be taken for missing: new names are expected wherever the directory is not frozen. */
export function negativeSeconds(parent: Node, refreshSeconds: number): number {
  const seconds = cacheSeconds(parent.lifetime, refreshSeconds);
  return parent.lifetime === 'forever' ? seconds : Math.min(seconds, KERNEL_NEGATIVE_SECONDS);
}
