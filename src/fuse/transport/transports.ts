import { fuseNativeTransport } from './fuse-native.ts';
import { KernelTransport } from './kernel/kernel-transport.ts';
import type { ReceiveMode } from './kernel/receive/receiver.ts';
import type { Transport, TransportName } from './transport.ts';

/**
 * The transport of a name.
 *
 * @param receive how the kernel transport waits for requests; no other has a choice
 */
export function transportNamed(name: TransportName, receive: ReceiveMode = 'auto'): Transport {
  return name === 'kernel' ? new KernelTransport({ receive }) : fuseNativeTransport;
}
